"""The probes: what they learn from, how each is fitted, and the controls that are fitted beside them."""
