"""Models with code of their own, through the wrappers of lmms-eval that load them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lmms_eval.api.model import lmms
from lmms_eval.models import get_model

from connector_bench.connectors import UnsupportedModel, adapter_for, adapter_for_model
from connector_bench.connectors.base import ConnectorAdapter
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.connectors.planted import Side, planted_patches, sides_of
from connector_bench.connectors.through_wrapper import asked
from connector_bench.connectors.tilings import nearest_grid
from connector_bench.connectors.transformers_adapter import TransformersAdapter
from tests.connectors.test_planted_patch import as_stored
from tests.harness import run_here
from tests.remote_code import internvl_chat, llava_original, minicpm_v
from tests.tiny_vlms.building import make
from tests.tiny_vlms.parts import image_processor

EXACT = "donot_use_mm_for_euclid_dist"


def on_the_cpu(kind: type, model: Any, tokenizer: Any, **more: Any) -> Any:
    """A wrapper with its own `generate_until` around this model; its `__init__` asks for a graphics card."""

    class OnTheCpu(kind):  # type: ignore[misc]
        def __init__(self) -> None:
            lmms.__init__(self)
            self._model, self._tokenizer, self._config = model, tokenizer, model.config
            self._device, self.batch_size_per_gpu = torch.device("cpu"), 1
            vars(self).update(more)

    return OnTheCpu()


class Chatting(lmms):
    """A wrapper as MiniCPM-o's: the picture goes to `chat` among the messages."""

    def loglikelihood(self, requests: list[Any]) -> Any:
        raise NotImplementedError

    def generate_until_multi_round(self, requests: list[Any]) -> Any:
        raise NotImplementedError

    def generate_until(self, requests: list[Any]) -> list[str]:
        answers = []
        for request in requests:
            text, settings, visual, index, task, split = request.args
            (picture,) = visual(self.task_dict[task][split][index])
            messages = [{"role": "user", "content": [picture, text]}]
            answers.append(
                self._model.chat(
                    msgs=messages,
                    tokenizer=self._tokenizer,
                    sampling=False,
                    max_new_tokens=settings["max_new_tokens"],
                )
            )
        return answers


def internvl(name: str, **settings: Any) -> Any:
    model, tokenizer = make(lambda: internvl_chat.build(**settings))
    more = {"modality": "image", "max_num": 12, "total_max_num": 64}
    return on_the_cpu(get_model(name, force_simple=True), model.bfloat16(), tokenizer, **more)


def llava(wrapper: str = "llava", **settings: Any) -> Any:
    kind = get_model(wrapper, force_simple=True)
    model, (tokenizer, processor) = make(lambda: llava_original.build(**settings))
    more = {"_image_processor": processor, "conv_template": "vicuna_v1", "use_cache": True}
    return on_the_cpu(kind, model.half(), tokenizer, **more)


def minicpm(build: Callable[[], Any], kind: type) -> Any:
    return on_the_cpu(kind, *make(build))


WRAPPED: dict[str, Callable[[], Any]] = {
    "InternVL 2": lambda: internvl("internvl2"),
    "InternVL 3": lambda: internvl("internvl3", select_layer=-2),
    "InternVL 3.5": lambda: internvl("internvl3_5"),
    "InternVL 1.2": lambda: internvl("internvl2", ps_version="v1"),
    "LLaVA 1.5": llava,
    "LLaVA 1.5, cropped": lambda: llava(image_aspect_ratio=None),
    "LLaVA 1.5 with CLS": lambda: llava(mm_vision_select_feature="cls_patch"),
    "LLaVA 1.6": lambda: llava(image_aspect_ratio="anyres", mm_patch_merge_type="spatial_unpad"),
    "LLaVA 1.6, padding kept": lambda: llava(image_aspect_ratio="anyres", mm_patch_merge_type="spatial"),
    "LLaVA 1.6, flat": lambda: llava(image_aspect_ratio="anyres"),
    "LLaVA-NeXT": lambda: llava("llava_onevision", **llava_original.NEXT),
    "MiniCPM-V 2.0": lambda: minicpm(minicpm_v.build_2_0, get_model("minicpm_v", force_simple=True)),
    "MiniCPM-V 2.6": lambda: minicpm(minicpm_v.build_2_6, Chatting),
}
TILES: dict[str, tuple[int, int, int]] = {
    "InternVL 2": (1, 3, 7),
    "InternVL 3": (1, 9, 7),
    "InternVL 3.5": (1, 9, 7),
    "InternVL 1.2": (1, 3, 7),
    "MiniCPM-V 2.0": (10, 9, 9),
    "MiniCPM-V 2.6": (10, 9, 9),
}
SHAPES = ((336, 336), (448, 224), (280, 448))
CANVAS_RASTER = ("LLaVA 1.6", "LLaVA 1.6, padding kept", "LLaVA-NeXT")
"""The language model gets the rows of a canvas across its tiles; what is measured is ordered tile by tile."""


@pytest.fixture(scope="module", params=WRAPPED)
def wrapped(request: pytest.FixtureRequest) -> tuple[str, Any, ConnectorAdapter]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in llava_original.NAMES.items():
            for wrapper in ("llava", "llava_onevision"):
                module = get_model(wrapper, force_simple=True).__module__
                patch.setattr(f"{module}.{name}", value, raising=False)
        lm = WRAPPED[request.param]()
        yield request.param, lm, adapter_for(lm)  # type: ignore[misc]


def received(lm: Any, picture: Any) -> torch.Tensor:
    """All that the language model is given for one picture and the question, row by row."""
    seen: list[torch.Tensor] = []
    owner = getattr(lm._model, "language_model", getattr(lm._model, "llm", lm._model))

    def before(module: Any, args: Any, inputs: dict[str, Any]) -> None:
        seen.append(inputs["inputs_embeds"][0].detach().float())

    handle = owner.model.register_forward_pre_hook(before, with_kwargs=True)
    try:
        with asked(lm, [picture]) as requests:
            lm.generate_until(requests)
    finally:
        handle.remove()
    return seen[0]


def test_planted_patches_are_found(wrapped: tuple[str, Any, ConnectorAdapter]) -> None:
    name, _, adapter = wrapped
    assert adapter.info.knows_places
    assert adapter.info.planted_found == 1
    for number, size in enumerate(SHAPES):
        picture = coloured_picture(*size, seed=size[1])
        layout = adapter.capture([picture])[0].layout
        if name in TILES:
            assert len(layout.tiles) == TILES[name][number]
        assert layout.has_places == (not name.startswith("MiniCPM"))
        for side in sides_of(layout):
            result = planted_patches(adapter, picture, side, limit=12)
            assert result.share == 1, (size, side, result)


@pytest.mark.parametrize("size", SHAPES)
def test_the_language_model_receives_these_tokens_in_this_order(
    wrapped: tuple[str, Any, ConnectorAdapter], size: tuple[int, int]
) -> None:
    name, lm, adapter = wrapped
    picture = coloured_picture(*size, seed=1)
    (pair,) = adapter.capture([picture])
    theirs = received(lm, picture)
    distances, found = torch.cdist(pair.post, theirs, compute_mode=EXACT).min(dim=1)
    assert float(distances.max()) < 1e-4
    places = found.tolist()
    assert len(set(places)) == len(places)
    if name == "InternVL 1.2":  # its shuffle swaps the axes of each tile
        by_tile = torch.arange(len(places)).reshape(-1, 4, 4).transpose(1, 2).reshape(-1)
        places = [places[number] for number in by_tile.tolist()]
    if name in CANVAS_RASTER:
        assert max(places[:16]) < min(places[16:])
        places = places[:16]
    assert places == sorted(places)
    other = received(lm, coloured_picture(*size, seed=2))
    rest = sorted(set(range(len(theirs))) - set(found.tolist()))
    moved = [row for row in rest if not torch.equal(theirs[row], other[row])]
    assert len(moved) == (name == "LLaVA 1.5 with CLS"), "what is left out tells of the picture"


@pytest.mark.parametrize(("version", "side"), [("v2", "pre"), ("v1", "pre"), ("v1", "post")])
def test_the_check_refutes_the_order_of_the_module_itself(version: str, side: Side) -> None:
    adapter = adapter_for(internvl("internvl2", ps_version=version))
    assert isinstance(adapter, TransformersAdapter)
    family = replace(adapter.family, place=as_stored(adapter.family))
    wrong = TransformersAdapter(adapter.model, family, adapter.feed, adapter.name).claiming
    picture = coloured_picture(336, 336)
    assert planted_patches(adapter, picture, side, limit=16).share == 1
    assert planted_patches(wrong, picture, side, limit=16).share < 0.7


@pytest.mark.parametrize(("name", "most"), [("internvl2", 6), ("internvl3", 12)])
def test_the_number_of_tiles_tells_the_grid_that_the_wrapper_cut(name: str, most: int) -> None:
    import sys

    module = sys.modules[get_model(name, force_simple=True).__module__]
    random = np.random.default_rng(0)
    for _ in range(150):
        width, height = (int(n) for n in random.integers(40, 900, 2))
        picture = coloured_picture(width, height)
        cut = module.dynamic_preprocess(picture, max_num=most, image_size=28, use_thumbnail=True)
        if len(cut) == 1:
            continue
        rows, columns = nearest_grid(
            len(cut) - 1, lambda one, w=width, h=height: abs(w / h - one[1] / one[0])
        )
        stretched = picture.resize((columns * 28, rows * 28))
        assert (
            stretched.crop((28 * (columns - 1), 0, 28 * columns, 28)).tobytes() == cut[columns - 1].tobytes()
        )


def test_minicpm_slices_have_the_grid_that_their_number_tells() -> None:
    random = np.random.default_rng(1)
    for _ in range(150):
        width, height = (int(n) for n in random.integers(60, 700, 2))
        picture = coloured_picture(width, height)
        slices = minicpm_v.slices_of(picture)[1:]
        if not slices:
            continue
        shape = math.log(width / height)
        rows, columns = nearest_grid(len(slices), lambda one, s=shape: abs(s - math.log(one[1] / one[0])))
        wide, tall = slices[0].size
        refined = picture.resize((columns * wide, rows * tall))
        corner = refined.crop(((columns - 1) * wide, (rows - 1) * tall, columns * wide, rows * tall))
        assert corner.tobytes() == slices[-1].tobytes()


def test_llava_without_its_own_preprocessing_is_refused() -> None:
    model, (_, processor) = make(llava_original.build)
    with pytest.raises(UnsupportedModel, match=r"process_images makes of a picture.*pixel_values"):
        adapter_for_model(model, processor).capture([coloured_picture(56, 56)])


def test_untrained_copies_run_beside_it(wrapped: tuple[str, Any, ConnectorAdapter]) -> None:
    _, lm, _ = wrapped
    adapter = adapter_for(lm)
    assert adapter.add_untrained([0]) is None
    (pair,) = adapter.capture([coloured_picture(112, 168)])
    (untrained,) = pair.untrained
    assert untrained.shape == pair.post.shape
    assert not torch.allclose(untrained, pair.post, atol=0.1)


def test_the_command_line_on_a_checkpoint_with_its_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """lmms-eval's own wrapper loads the code beside the checkpoint; of these wrappers it alone runs on a CPU."""
    modules = tmp_path / "modules"
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(modules))
    monkeypatch.syspath_prepend(modules)
    for part, automatic in ((minicpm_v.MiniCPMVConfig, "AutoConfig"), (minicpm_v.MiniCPMV2, "AutoModel")):
        monkeypatch.setattr(part, "_auto_class", automatic)
    checkpoint = tmp_path / "checkpoint"
    for part in make(minicpm_v.build_2_0):
        part.save_pretrained(checkpoint)
    arguments = f"pretrained={checkpoint},device=cpu"
    outcome = run_here(
        tmp_path / "run",
        *("--model", "minicpm_v", "--model_args", arguments, "--batch_size", "1"),
        *("--tasks", "knn_preservation", "--limit", "12"),
    )
    record = outcome.record("knn_preservation")
    assert "error" not in record, record
    assert outcome.figures("knn_preservation")["n_images"] == 12
    connector = record["connector"]
    assert (connector["family"], connector["connector"]) == ("minicpmv", "resampler")
    assert connector["places"] == "planted patch found in 100 %"
    assert not connector["assumptions"]
    assert connector["dtype"] == "bfloat16"


def test_internvl_with_a_processor_that_cuts_alike() -> None:
    model, _ = make(internvl_chat.build)
    cutting = {"crop_to_patches": True, "min_patches": 1, "max_patches": 6}
    processor = image_processor("GotOcr2", size={"height": 448, "width": 448}, **cutting)
    pictures = [coloured_picture(*size) for size in SHAPES]
    ours = adapter_for_model(model, processor).capture(pictures)
    theirs = adapter_for(internvl("internvl2")).capture(pictures)
    assert [pair.layout for pair in ours] == [pair.layout for pair in theirs]
