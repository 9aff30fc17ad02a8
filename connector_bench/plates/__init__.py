"""`connector-bench plates`: a query image with its nearest images before and after the connector."""
