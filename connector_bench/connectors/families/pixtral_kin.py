"""Mistral Large 4 and LightOnOCR: Pixtral's tower and the patch merger of Mistral 3."""

from dataclasses import replace

from connector_bench.connectors.families.mistral3 import MISTRAL3

MISTRAL_LARGE4 = replace(MISTRAL3, model_types=("mistral_large4",))

LIGHTON_OCR = replace(MISTRAL3, model_types=("lighton_ocr",), modules=("model.vision_projection",))

FAMILIES = (MISTRAL_LARGE4, LIGHTON_OCR)
