"""Two models, or checkpoints of one, on the same documents: what differs, by how much, and whether it is chance."""
