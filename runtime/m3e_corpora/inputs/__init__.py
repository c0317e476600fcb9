"""What is read: files, their formats, slices of them, and rows."""
