"""One run of the harness: its documents, the pass of their pictures, and what its tasks share."""
