"""Reference spaces, independent of the connector that is measured: content, a file of embeddings, an image encoder."""
