"""What is asked for, and what is known of it on disk while it is under way."""
