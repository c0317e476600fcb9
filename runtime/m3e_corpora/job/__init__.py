"""What is to be computed, and the files that record it on disk."""
