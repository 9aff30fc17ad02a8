"""What connectors of known kinds lose behind somebody's own tower, at that one's widths and number of tokens."""
