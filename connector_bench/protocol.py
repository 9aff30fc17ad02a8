"""The version of what is measured, and the places where it is read off: the same words in every task."""

from __future__ import annotations

PROTOCOL_VERSION = "1"
"""Raised whenever the same model on the same images would get another figure. Versions never merge."""

TAPS = ("pre", "pre_normed")
"""Where the encoder's side is read: at the connector's input, or behind its leading norm."""

PROTOCOLS = ("connector_bench", "paper")
"""Whose procedure is followed: ours, or the published one, whose figures have names of their own."""
