"""From rows to vectors: windows, and what happens at the same time."""
