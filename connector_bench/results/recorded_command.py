"""The command line that gives a run's figures again, built from arguments that are known to be harmless."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connector_bench.results.names import without_folders
from connector_bench.results.scrub import secret_in

MODEL_ARGUMENTS = frozenset(
    [
        "attn_implementation",
        "connector",
        "conv_template",
        "device",
        "device_map",
        "do_image_splitting",
        "dtype",
        "force_sample",
        "load_in_4bit",
        "load_in_8bit",
        "max_frames_num",
        "max_length",
        "max_num",
        "max_num_frames",
        "max_patches",
        "max_pixels",
        "min_pixels",
        "model",
        "model_name",
        "model_version",
        "num_crops",
        "pretrained",
        "revision",
        "seed",
        "torch_dtype",
        "truncation",
        "trust_remote_code",
        "use_flash_attention_2",
        "use_cache",
    ]
)
"""An argument that is not here may hold a key or an address, and is left out."""

_YES_OR_NO = re.compile("true|false|0|1|none", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d{1,12}|none", re.IGNORECASE)
_PRECISION = re.compile(
    r"(torch\.)?(auto|float64|float32|float16|bfloat16|half|float8_\w{1,12})|fp32|fp16|bf16|none", re.I
)
_DEVICE = re.compile(
    r"(auto|cpu|cuda|mps|xpu|npu|balanced|balanced_low_0|sequential|disk|meta|none)(:\d{1,3})?", re.I
)
VALUES = {
    **dict.fromkeys(("dtype", "torch_dtype"), _PRECISION),
    **dict.fromkeys(("device", "device_map"), _DEVICE),
    **dict.fromkeys(
        (
            "do_image_splitting",
            "force_sample",
            "load_in_4bit",
            "load_in_8bit",
            "truncation",
            "trust_remote_code",
            "use_cache",
            "use_flash_attention_2",
        ),
        _YES_OR_NO,
    ),
    **dict.fromkeys(
        (
            "max_frames_num",
            "max_length",
            "max_num",
            "max_num_frames",
            "max_patches",
            "max_pixels",
            "min_pixels",
            "num_crops",
            "seed",
        ),
        _NUMBER,
    ),
    "attn_implementation": re.compile(
        r"eager|sdpa|flash_attention_[23]|flex_attention|xformers|none", re.IGNORECASE
    ),
}
"""What an argument may be where it is one of few: anything else is left out, since it may be a key or a folder."""

GENERATION_ARGUMENTS = frozenset(
    ["do_sample", "max_new_tokens", "num_beams", "temperature", "top_k", "top_p"]
)
CHECKPOINT = ("pretrained", "model", "model_version", "model_name")
HARMLESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@+-]{0,199}")
DEFAULT_SEEDS = (0, 1234, 1234, 1234)


@dataclass(frozen=True)
class ModelArguments:
    """`--model_args`, read: what may be shown, and how many arguments were left out."""

    shown: Mapping[str, str]
    left_out: int

    @property
    def checkpoint(self) -> str | None:
        """The checkpoint that the arguments name, under whichever key the wrapper wants it."""
        return next((self.shown[key] for key in CHECKPOINT if key in self.shown), None)


def model_arguments(given: object) -> ModelArguments:
    """From the `model_args` of a result file, a text or a mapping."""
    pairs = list(argument_pairs(given))
    shown = {}
    for key, value in pairs:
        text = without_folders(str(value)) if key in CHECKPOINT else str(value)
        known = VALUES.get(str(key))
        if key in MODEL_ARGUMENTS and _is_harmless(text) and (known is None or known.fullmatch(text)):
            shown[str(key)] = text
    return ModelArguments(shown, len(pairs) - len(shown))


def argument_pairs(given: object) -> Iterator[tuple[str, Any]]:
    """Names and values of `--model_args` or `--gen_kwargs`, given as a text or as a mapping."""
    if isinstance(given, Mapping):
        yield from given.items()
        return
    for part in filter(None, (part.strip() for part in str(given or "").split(","))):
        key, _, value = part.partition("=")
        yield key.strip(), value.strip()


def command_line(config: Mapping[str, Any], tasks: Sequence[str]) -> str:
    """`lmms-eval ...` for a shell; what is not harmless is left out of it."""
    arguments = model_arguments(config.get("model_args"))
    parts = ["lmms-eval", "--model", _shown(config.get("model"))]
    if arguments.shown:
        parts += ["--model_args", ",".join(f"{key}={value}" for key, value in arguments.shown.items())]
    parts += ["--tasks", ",".join(_shown(task) for task in tasks)]
    if _is_harmless(batch_size := str(config.get("batch_size", ""))):
        parts += ["--batch_size", batch_size]
    if generation := _generation(config.get("gen_kwargs")):
        parts += ["--gen_kwargs", generation]
    given = config.get("resolved_cli_args")
    if isinstance(given, Mapping) and given.get("force_simple") is True:
        parts.append("--force_simple")
    parts += [*_seeds(config), "--output_path", "results", "--log_samples"]
    return shlex.join(parts)


def _shown(name: object) -> str:
    text = str(name)
    return text if _is_harmless(text) else "NAME"


def _is_harmless(text: str) -> bool:
    return HARMLESS.fullmatch(text) is not None and secret_in(text) is None


def _generation(given: object) -> str:
    known = ((key, value) for key, value in argument_pairs(given) if key in GENERATION_ARGUMENTS)
    return ",".join(f"{key}={value}" for key, value in known if _is_harmless(str(value)))


def _seeds(config: Mapping[str, Any]) -> list[str]:
    seeds = [
        config.get(f"{name}_seed", default)
        for name, default in zip(("random", "numpy", "torch", "fewshot"), DEFAULT_SEEDS, strict=True)
    ]
    if tuple(seeds) == DEFAULT_SEEDS or not all(isinstance(seed, int) for seed in seeds):
        return []
    return ["--seed", ",".join(map(str, seeds))]
