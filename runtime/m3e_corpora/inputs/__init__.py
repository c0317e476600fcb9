"""What is read: files, their formats, byte and row ranges of them, and rows."""
