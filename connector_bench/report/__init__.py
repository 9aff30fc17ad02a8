"""One self-contained page of a model's results: read from lmms-eval's files, drawn, written as HTML."""
