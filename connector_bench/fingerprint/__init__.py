"""What a model makes of twelve known pictures at every stage up to the connector's end, to compare runtimes by."""
