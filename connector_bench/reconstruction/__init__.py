"""`patch_reconstruction`: how well, and where in the image, pre tokens can be told from post tokens."""
