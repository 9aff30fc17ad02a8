"""How many images a verdict or a choice needs; below, there is none, and a sentence says so where one is missed."""

from __future__ import annotations

LEAST_IMAGES = 20
"""Whose shuffled pairs tell a leak from the luck of a few."""
LEAST_VALIDATION_IMAGES = 5
"""That choose penalties and the best probe, stop training, and say whether more data helps."""
