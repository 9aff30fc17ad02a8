"""What is done to a connector's tokens while the model answers: what is asked for, and tokens in, tokens out."""
