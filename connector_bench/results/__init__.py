"""What lmms-eval wrote, read once for everyone who needs files alone."""
