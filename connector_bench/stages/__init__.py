"""What can be read before the connector, behind it, and what the model answers: readers of one size and budget."""
