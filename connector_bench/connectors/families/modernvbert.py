"""ModernVBERT: the tiles and pixel shuffle of Idefics3 before a bidirectional text encoder."""

from dataclasses import replace

from connector_bench.connectors.families.idefics3 import IDEFICS3

MODERNVBERT = replace(IDEFICS3, model_types=("modernvbert",))

FAMILIES = (MODERNVBERT,)
