"""From rows to vectors: windows, and the pipeline that computes them."""
