"""EXAONE 4.5: Qwen2.5-VL's tower with grouped queries, merged in window order by the same patch merger."""

from dataclasses import replace

from connector_bench.connectors.families.qwen import QWEN2_5_VL

EXAONE4_5 = replace(QWEN2_5_VL, model_types=("exaone4_5",))

FAMILIES = (EXAONE4_5,)
