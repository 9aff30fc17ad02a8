"""Qwen4-Exp: the tower and patch merger of Qwen3.5 before another language model."""

from dataclasses import replace

from connector_bench.connectors.families.qwen import QWEN3_5

QWEN4_EXP = replace(QWEN3_5, model_types=("qwen4_exp",))

FAMILIES = (QWEN4_EXP,)
