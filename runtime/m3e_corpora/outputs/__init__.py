"""What is written: vectors, the payload beside them, and the files that hold both."""
