"""What is written: vectors, the payload beside them, and the formats that hold both."""
