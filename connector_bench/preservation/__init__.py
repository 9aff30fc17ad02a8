"""`knn_preservation`: how far images keep their nearest neighbours across the connector."""
