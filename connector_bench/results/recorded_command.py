"""The command line that gives a run's figures again, built from arguments that are known to be harmless."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connector_bench.results.names import without_folders
from connector_bench.results.scrub import secret_in

_SWITCH = re.compile("true|false|0|1|none", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d{1,12}|none", re.IGNORECASE)
_DECIMAL = re.compile(r"\d{1,6}(\.\d{1,12})?(e-?\d{1,2})?|none", re.IGNORECASE)
_PRECISION = re.compile(
    r"(torch\.)?(auto|float64|float32|float16|bfloat16|half|float8_e[45]m[23](fn|fnuz)?)|fp32|fp16|bf16|none",
    re.I,
)
_DEVICE = re.compile(
    r"(auto|cpu|cuda|mps|xpu|npu|balanced|balanced_low_0|sequential|disk|meta|none)(:\d{1,3})?", re.I
)
_ATTENTION = re.compile("eager|sdpa|flash_attention_[23]|flex_attention|xformers|none", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9][\w.+-]{0,99}", re.ASCII)
_CHECKPOINT = re.compile(r"[A-Za-z0-9][\w.-]{0,99}(/[\w.-]{1,99})?([@:]\w[\w.-]{0,39})?", re.ASCII)
_REVISION = re.compile(r"refs/pr/\d{1,6}|[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
_CONNECTOR = re.compile(r"[A-Za-z_]\w{0,99}([.]\w{1,99})*(:[A-Za-z_]\w{0,99})?", re.ASCII)

MODEL_ARGUMENTS = {
    "attn_implementation": _ATTENTION,
    "connector": _CONNECTOR,
    "conv_template": _WORD,
    "device": _DEVICE,
    "device_map": _DEVICE,
    "do_image_splitting": _SWITCH,
    "dtype": _PRECISION,
    "force_sample": _SWITCH,
    "load_in_4bit": _SWITCH,
    "load_in_8bit": _SWITCH,
    "max_frames_num": _NUMBER,
    "max_length": _NUMBER,
    "max_num": _NUMBER,
    "max_num_frames": _NUMBER,
    "max_patches": _NUMBER,
    "max_pixels": _NUMBER,
    "min_pixels": _NUMBER,
    "model": _CHECKPOINT,
    "model_name": _CHECKPOINT,
    "model_version": _CHECKPOINT,
    "num_crops": _NUMBER,
    "pretrained": _CHECKPOINT,
    "revision": _REVISION,
    "seed": _NUMBER,
    "torch_dtype": _PRECISION,
    "truncation": _SWITCH,
    "trust_remote_code": _SWITCH,
    "use_cache": _SWITCH,
    "use_flash_attention_2": _SWITCH,
}
"""What the value of a model's argument may be. Anything else may be a key, an address or a folder: it is left out."""

GENERATION_ARGUMENTS = {
    "do_sample": _SWITCH,
    "max_new_tokens": _NUMBER,
    "num_beams": _NUMBER,
    "temperature": _DECIMAL,
    "top_k": _NUMBER,
    "top_p": _DECIMAL,
}
"""The same for `--gen_kwargs`."""

GIVEN = (
    ("source", "CONNECTOR_BENCH_CONNECTOR_WEIGHTS", _WORD),
    ("module", "CONNECTOR_BENCH_CONNECTOR_MODULE", _CONNECTOR),
)
"""What a record says of a connector in place of the checkpoint's, and the variables that named it."""

IN_PYTHON = {name: f"connector_bench.{name}" for name in ("measure", "reconstruct", "knn_preservation")}
"""What stands for lmms-eval's model in a result that was saved from Python, by the function that made it."""

CHECKPOINT = ("pretrained", "model", "model_version", "model_name")
BATCH_SIZE = re.compile(r"\d{1,6}|auto(:\d{1,6})?")
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
    texts = ((str(key), _checkpoint(str(value)) if key in CHECKPOINT else str(value)) for key, value in pairs)
    shown = _harmless(texts, MODEL_ARGUMENTS)
    return ModelArguments(shown, len(pairs) - len(shown))


def argument_pairs(given: object) -> Iterator[tuple[str, Any]]:
    """Names and values of `--model_args` or `--gen_kwargs`, given as a text or as a mapping."""
    if isinstance(given, Mapping):
        yield from given.items()
        return
    for part in filter(None, (part.strip() for part in str(given or "").split(","))):
        key, _, value = part.partition("=")
        yield key.strip(), value.strip()


def command_line(
    config: Mapping[str, Any], tasks: Sequence[str], given: Mapping[str, Any] | None = None
) -> str:
    """`lmms-eval ...` for a shell; what is not harmless is left out of it. Of a result from Python, its function.

    `given` is what the run says of a connector that its model was given, whose variables then come first.
    """
    if config.get("model") in IN_PYTHON.values():
        return f"{config['model']}(...) in Python"
    arguments = model_arguments(config.get("model_args"))
    parts = [*_variables(given or {}), "lmms-eval", "--model", _shown(config.get("model"))]
    if arguments.shown:
        parts += ["--model_args", ",".join(f"{key}={value}" for key, value in arguments.shown.items())]
    parts += ["--tasks", ",".join(_shown(task) for task in tasks)]
    if BATCH_SIZE.fullmatch(batch_size := str(config.get("batch_size", ""))):
        parts += ["--batch_size", batch_size]
    generation = ((str(key), str(value)) for key, value in argument_pairs(config.get("gen_kwargs")))
    if known := _harmless(generation, GENERATION_ARGUMENTS):
        parts += ["--gen_kwargs", ",".join(f"{key}={value}" for key, value in known.items())]
    given = config.get("resolved_cli_args")
    if isinstance(given, Mapping) and given.get("force_simple") is True:
        parts.append("--force_simple")
    parts += [*_seeds(config), "--output_path", "results", "--log_samples"]
    return shlex.join(parts)


def _variables(given: Mapping[str, Any]) -> list[str]:
    found = []
    for key, variable, allowed in GIVEN:
        if value := given.get(key):
            text = str(value).rsplit(" ", 1)[-1]
            harmless = allowed.fullmatch(text) and secret_in(text) is None
            found.append(f"{variable}={text if harmless else 'NAME'}")
    return found


def _shown(name: object) -> str:
    """The name of a task or wrapper, which is one word."""
    text = str(name)
    return text if _WORD.fullmatch(text) and secret_in(text) is None else "NAME"


def _checkpoint(text: str) -> str:
    """A checkpoint's name; of a folder, also one given from where the command was typed, the last part alone."""
    name = without_folders(text)
    return name.rsplit("/", 1)[-1] if name.count("/") > 1 else name


def _harmless(given: Iterable[tuple[str, str]], known: Mapping[str, re.Pattern[str]]) -> dict[str, str]:
    return {
        key: text
        for key, text in given
        if key in known and known[key].fullmatch(text) and secret_in(text) is None
    }


def _seeds(config: Mapping[str, Any]) -> list[str]:
    seeds = [
        config.get(f"{name}_seed", default)
        for name, default in zip(("random", "numpy", "torch", "fewshot"), DEFAULT_SEEDS, strict=True)
    ]
    if tuple(seeds) == DEFAULT_SEEDS or not all(isinstance(seed, int) for seed in seeds):
        return []
    return ["--seed", ",".join(map(str, seeds))]
