"""Tokens of a connector on the disk: captured from tower and connector alone, read back in the model's stead."""
