"""Qianfan-OCR: InternVL's pixel shuffle and perceptron behind a tower of its own."""

from dataclasses import replace

from connector_bench.connectors.families.internvl import INTERNVL

QIANFAN_OCR = replace(INTERNVL, model_types=("qianfan_ocr",))

FAMILIES = (QIANFAN_OCR,)
