"""UltraVBERT: tiles row by row, the whole picture last; pixel shuffle and a norm inside the connector."""

from dataclasses import replace

from connector_bench.connectors.families.idefics3 import IDEFICS3

ULTRAVBERT = replace(
    IDEFICS3,
    model_types=("ultravbert",),
    connector="pixel shuffle + linear + norm",
    modules=("model.connector",),
)

FAMILIES = (ULTRAVBERT,)
