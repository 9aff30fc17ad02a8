"""Tower and connector alone: the full model's tokens to the bit, and nothing of the language model is read."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from packaging.version import Version
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from connector_bench.connectors import UnsupportedModel, adapter_for_model
from connector_bench.connectors.alone import load_alone
from connector_bench.connectors.cli import load
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.connectors.registry import declared_families
from connector_bench.connectors.transformers_adapter import TransformersAdapter
from tests import tiny_vlms

PICTURES = [coloured_picture(112, 80), coloured_picture(90, 150, 1)]
NEW = Version(transformers.__version__) >= Version("5.0")


def loaded(path: Path, **options: Any) -> TransformersAdapter:
    adapter = load_alone(str(path), **options)
    assert isinstance(adapter, TransformersAdapter)
    return adapter


def same_tokens(one: Any, other: Any) -> bool:
    pairs = zip(one.capture(PICTURES), other.capture(PICTURES), strict=True)
    return all(
        torch.equal(a.pre, b.pre) and torch.equal(a.post, b.post) and a.layout == b.layout for a, b in pairs
    )


WORDS = ("language_model", "text_model", "lm_head", "embed_tokens.", "audio")
"""Parts of the names of parameters that pictures have no use for, wherever they hang."""


class Touched(TorchDispatchMode):
    """Where the values lie that are worked with."""

    def __init__(self) -> None:
        super().__init__()
        self.places: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        leaves = tree_leaves((args, kwargs))
        self.places |= {x.untyped_storage().data_ptr() for x in leaves if isinstance(x, torch.Tensor)}
        return func(*args, **(kwargs or {}))


KEPT = {
    "hunyuan_vl": ({"patch_merger.image_sep"}, "one vector that no version of transformers reads"),
    "gemma3n": (
        {"embed_vision.embedding.weight", "embed_vision.hard_embedding_norm.weight"},
        "the connector's own 128 vectors for words that stand for pictures",
    ),
    "minicpm_ocr": ({"vision_tower.vit_merger."}, "merges between two layers, unless the mode is 4x"),
    "nemotron_h_omni": ({"video_patch_projection.weight"}, "one matrix of the tower, for frames of videos"),
    "deepseek_ocr2": ({"query_1024_resolution.weight"}, "256 queries, for pictures of more than 144 tokens"),
    "granite_docling": (
        {"vision_model.connector.fine."},
        "the connector's other path, by an option of a call",
    ),
}
"""Of tower and connector what pictures do not pass, or only some pictures and modes: small, and part of the module."""
THINKERS = ("qwen2_5_omni:thinker", "qwen3_omni_moe:thinker")
"""Parts of a model that are checkpoints of their own."""


def plain(key: str) -> str:
    """A parameter's name without the shell around the model that ShieldGemma's checkpoints have."""
    return key.removeprefix("model.") if key.startswith("model.model.") else key


def family(name: str) -> tuple[Any, Any]:
    """Model and processor, of a part of a model where the name has a colon."""
    whole, _, part = name.partition(":")
    model, processor = tiny_vlms.make(whole)
    return model.get_submodule(part), processor


@pytest.mark.parametrize("name", [*tiny_vlms.NAMES, *THINKERS])
def test_the_full_models_tokens_from_the_parameters_alone_that_pictures_pass(
    name: str, tmp_path: Path
) -> None:
    """Every family: tokens equal to the bit, and what is loaded is what the full model's vision pass works with."""
    model, processor = family(name)
    model.save_pretrained(tmp_path)
    full = adapter_for_model(model, processor, str(tmp_path))
    part = loaded(tmp_path, processor=processor)
    assert same_tokens(full, part)
    assert part.info == full.info
    assert part.info.planted_found is not None
    prepared = full.prepare([("picture", PICTURES[0])])
    with Touched() as touched:
        full.run(prepared, untrained=False)
    places = {plain(key): p.untyped_storage().data_ptr() for key, p in model.named_parameters()}
    worked_with = {key for key, place in places.items() if place in touched.places}
    kept = {plain(key) for key, _ in part.model.named_parameters()}
    assert worked_with <= kept < set(places)
    assert not {key for key in kept if any(word in key for word in WORDS)}
    if NEW:  # older towers hold heads that run for nobody
        named, _ = KEPT.get(name, (set(), ""))
        more = kept - worked_with
        assert more == {key for key in kept if any(part in key for part in named)}
        assert bool(more) == bool(named)


@pytest.mark.parametrize("name", tiny_vlms.HARNESS)
def test_a_checkpoint_with_its_own_processor(name: str, checkpoint: Callable[[str], Path]) -> None:
    path = checkpoint(name)
    full, part = load(str(path), "cpu"), loaded(path)
    assert same_tokens(full, part)
    assert part.info == full.info


def test_every_declared_family_has_a_model_here() -> None:
    """So that the tests above are tests of all of transformers' own; others have their code beside their weights."""
    kinds = {kind for one in declared_families() for kind in one.model_types} & CONFIG_MAPPING_NAMES.keys()
    names = {*tiny_vlms.NAMES, *THINKERS}
    assert len(kinds) > 60
    assert {re.sub("[-.:]", "_", kind) for kind in kinds} <= {re.sub("[-.:]", "_", name) for name in names}


def test_shards_ties_and_pickled_weights(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    path = checkpoint("qwen2_5_vl")
    whole = loaded(path)
    model = transformers.AutoModelForImageTextToText.from_pretrained(path)
    sharded = shutil.copytree(path, tmp_path / "sharded", ignore=shutil.ignore_patterns("*.safetensors"))
    model.save_pretrained(sharded, max_shard_size="40KB")
    assert len(list(sharded.glob("*.safetensors"))) > 4
    assert same_tokens(whole, loaded(sharded))
    tied = shutil.copytree(path, tmp_path / "tied", ignore=shutil.ignore_patterns("*.safetensors"))
    model.config.text_config.tie_word_embeddings = model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(tied)
    assert same_tokens(whole, loaded(tied))
    pickled = shutil.copytree(path, tmp_path / "pickled", ignore=shutil.ignore_patterns("*.safetensors"))
    torch.save(load_file(path / "model.safetensors"), pickled / "pytorch_model.bin")
    assert same_tokens(whole, loaded(pickled))


def test_what_cannot_be_loaded(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    path = checkpoint("llava")
    with pytest.raises(ValueError, match="dtype is 'int8'; allowed are auto"):
        load_alone(str(path), dtype="int8")
    with pytest.raises(ValueError, match="has no revisions"):
        load_alone(str(path), revision="main")
    with pytest.raises(FileNotFoundError):
        load_alone(str(tmp_path / "nowhere"))
    empty = shutil.copytree(path, tmp_path / "empty", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises((UnsupportedModel, OSError), match=r"no weights that can be read|no file named"):
        load_alone(str(empty))
    cut = shutil.copytree(path, tmp_path / "cut")
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UnsupportedModel, match="cut short"):
        load_alone(str(cut))
    lacking = shutil.copytree(path, tmp_path / "lacking")
    tensors = load_file(path / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if "linear_1" not in k}, lacking / "model.safetensors")
    with pytest.raises(UnsupportedModel, match="lacks weights of the connector"):
        load_alone(str(lacking))


def quantised(path: Path, folder: Path, **options: Any) -> Path:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    config = transformers.BitsAndBytesConfig(**options)
    model = transformers.AutoModelForImageTextToText.from_pretrained(
        path, quantization_config=config, dtype="bfloat16"
    )
    model.save_pretrained(folder)
    transformers.AutoProcessor.from_pretrained(path).save_pretrained(folder)
    return folder


def test_quantised_checkpoints(
    checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tower and connector in 8 bit are read by the quantiser; left as they are, they need no quantiser at all."""
    path = checkpoint("llava")
    eight = quantised(path, tmp_path / "8bit", load_in_8bit=True)
    kept = ["model.vision_tower", "model.multi_modal_projector", "lm_head"]
    four = quantised(path, tmp_path / "4bit", load_in_4bit=True, llm_int8_skip_modules=kept)
    if not NEW:  # whose quantiser looks for all of the model
        for folder in (eight, four):
            with pytest.raises(UnsupportedModel, match=r"is quantised \(bitsandbytes\)"):
                loaded(folder)
        return
    model = transformers.AutoModelForImageTextToText.from_pretrained(eight, device_map="cpu").eval()
    whole = adapter_for_model(model, transformers.AutoProcessor.from_pretrained(eight), str(eight))
    assert same_tokens(whole, part := loaded(eight))
    assert "Linear8bitLt" in part.info.dtype
    full = load(str(four), "cpu")
    monkeypatch.setattr("transformers.quantizers.auto.AUTO_QUANTIZER_MAPPING", {})  # as if there were none
    part = loaded(four)
    assert same_tokens(full, part)
    assert part.info == full.info
    with pytest.raises(UnsupportedModel, match=r"is quantised \(bitsandbytes\)"):
        loaded(eight)
