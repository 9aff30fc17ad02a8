"""Cohere Compass: a merger and deepstack mergers of the same design as Qwen3-VL's."""

from dataclasses import replace

from connector_bench.connectors.families.qwen import QWEN3_VL

COHERE_COMPASS = replace(QWEN3_VL, model_types=("cohere_compass",))

FAMILIES = (COHERE_COMPASS,)
