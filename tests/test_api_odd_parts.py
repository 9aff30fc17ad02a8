"""Parts that give something else than one tensor, and an encoder that says the same of every picture."""

from __future__ import annotations

import warnings
from collections import namedtuple
from collections.abc import Callable
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling

import connector_bench as cb
from tests.bare_modules import KS, SMALL, Patches, pixels

torch.set_num_threads(1)
PICTURES = [np.random.default_rng(n).integers(0, 255, (32, 32, 3), np.uint8) for n in range(30)]
Named = namedtuple("Named", "tokens weights")
Held = make_dataclass("Held", ["tokens", "loss"])


class Giving(torch.nn.Module):
    """A linear map of tokens whose output is wrapped."""

    def __init__(self, wrap: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer, self.wrap = torch.nn.Linear(24, 12), wrap

    def forward(self, tokens: torch.Tensor) -> Any:
        return self.wrap(self.layer(tokens))


class Same(torch.nn.Module):
    """An encoder whose input never reaches its output."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = torch.nn.Parameter(torch.linspace(-1, 1, 24).expand(16, 24).clone())

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return self.tokens.expand(len(given), -1, -1)


UNDERSTOOD: dict[str, Callable[[torch.Tensor], Any]] = {
    "one of a dict": lambda t: {"tokens": t, "loss": t.mean(), "pooled": t.mean(1)},
    "named as transformers does": lambda t: {"other": t * 2, "last_hidden_state": t},
    "an output of transformers": lambda t: BaseModelOutput(last_hidden_state=t, hidden_states=(t, t)),
    "pooled beside it": lambda t: BaseModelOutputWithPooling(last_hidden_state=t, pooler_output=t.mean(1)),
    "pooled alone": lambda t: BaseModelOutputWithPooling(pooler_output=t),
    "first of a tuple": lambda t: (t, t.softmax(2)),
    "after a loss": lambda t: (t.mean(), t),
    "after nothing": lambda t: (None, t),
    "a named tuple": lambda t: Named(t, t.softmax(1)),
    "a dataclass": lambda t: Held(t, t.mean()),
    "a list of each picture's": list,
    "a tuple of each picture's": lambda t: t.unbind(0),
}
REFUSED: dict[str, tuple[Callable[[torch.Tensor], Any], str]] = {
    "two of a dict": (
        lambda t: {"a": t, "b": t * 2},
        r"gave dict of a \[\d, 16, 12\], b \[\d, 16, 12\], and 2 of these could be its tokens; return that one",
    ),
    "before and behind": (
        lambda t: BaseModelOutputWithPooling(last_hidden_state=t, pooler_output=t * 2),
        "gave BaseModelOutputWithPooling of last_hidden_state .*, pooler_output .*, and 2 of these could be its",
    ),
    "an empty dict": (lambda t: {}, r"gave an empty dict; \[batch, tokens, width\] is needed"),
    "one vector a picture": (
        lambda t: {"pooled": t.mean(1)},
        r"gave dict of pooled \[\d, 12\]; \[batch, tokens",
    ),
    "nothing": (lambda t: None, r"gave NoneType; \[batch, tokens, width\] is needed"),
    "an array": (lambda t: t.detach().numpy(), r"gave ndarray \[\d, 16, 12\]; .* as a tensor of torch"),
    "a list of arrays": (
        lambda t: list(t.detach().numpy()),
        r"gave list of \[16, 12\].* as a tensor of torch, not an array",
    ),
    "pooled": (lambda t: t.mean(1), r"gave \[\d, 12\]; .* one token a picture, \[:, None\] makes it"),
    "complex numbers": (lambda t: t.to(torch.complex64), "gave complex numbers; tokens are floating numbers"),
    "whole numbers": (lambda t: t.long(), "gave whole numbers; tokens are floating numbers"),
    "a map": (lambda t: t[:, None], r"gave \[\d, 1, 16, 12\]; .* makes tokens of a map"),
}


def captured(wrap: Callable[[torch.Tensor], Any]) -> cb.Tokens:
    return cb.capture((Patches().eval(), Giving(wrap).eval()), PICTURES[:4], pixels, grid=(4, 4))


def curve(encoder: torch.nn.Module, connector: torch.nn.Module, folder: Path) -> dict[str, Any]:
    """The last line of a probe that has measured once."""
    given = pixels([Image.fromarray(one) for one in PICTURES])
    probe = cb.ConnectorProbe(given, (encoder, connector), folder=folder, grid=(4, 4))
    probe.begin()
    lines: list[dict[str, Any]] = probe._curve.lines
    return lines[-1] if lines else {}


@pytest.mark.parametrize("what", UNDERSTOOD)
def test_the_one_tensor_of_an_output_is_measured(what: str) -> None:
    plain, wrapped = captured(lambda t: t), captured(UNDERSTOOD[what])
    for one, other in zip(plain.post, wrapped.post, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("what", REFUSED)
def test_an_output_that_could_be_several_things_is_named(what: str) -> None:
    wrap, says = REFUSED[what]
    with pytest.raises(ValueError, match=f"the connector {says}") as refused:
        captured(wrap)
    assert "\n" not in str(refused.value)


def test_a_part_that_fails_is_named_with_what_it_was_given() -> None:
    for parts, processor, says in (
        (
            (Patches().eval(), torch.nn.Linear(23, 12).eval()),
            pixels,
            r"connector failed on \[\d, 16, 24\]: Runtime",
        ),
        (
            (Patches().eval(), Giving(lambda t: t)),
            lambda _: torch.zeros(1, 2, 8, 8),
            r"encoder failed on \[1, 2, 8",
        ),
        (
            (lambda given: Patches()(given), Giving(lambda t: t)),
            None,
            r"encoder failed on a list of \d .*processor=",
        ),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(ValueError, match=says) as failed:
                cb.capture(parts, PICTURES[:2], processor)
        assert "\n" not in str(failed.value)
        assert failed.value.__cause__ is not None


def test_a_probe_reads_outputs_alike(tmp_path: Path) -> None:
    plain = curve(Patches(), Giving(lambda t: t), tmp_path / "plain")
    wrapped = curve(Patches(), Giving(UNDERSTOOD["one of a dict"]), tmp_path / "wrapped")
    assert plain["knor_10"] == wrapped["knor_10"]
    with pytest.warns(UserWarning, match="step 0 was not measured.*and 2 of these could be its tokens"):
        curve(Patches(), Giving(REFUSED["two of a dict"][0]), tmp_path / "two")


def test_an_encoder_that_says_the_same_of_every_picture_is_named(tmp_path: Path) -> None:
    """Else every neighbour would seem to be kept, and a share of no variance be lost."""
    bare = Same().eval(), torch.nn.Linear(24, 12).eval()
    for measure, says in (
        ("knn_preservation", "the encoder's side is the same for all 30 images, .* no neighbours to keep"),
        ("patch_reconstruction", "the encoder gives the same numbers for all .* nothing to rebuild"),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(ValueError, match=says) as refused:
                cb.measure(bare, PICTURES, pixels, grid=(4, 4), options=KS, probes=SMALL, measures=measure)
        assert "\n" not in str(refused.value)
    tokens = cb.capture(bare, PICTURES, pixels, grid=(4, 4))
    tokens.save(tmp_path / "tokens")
    again = cb.Tokens.load(tmp_path / "tokens")
    with pytest.raises(ValueError, match="no neighbours to keep"):
        cb.measure(again, measures="knn_preservation", options=KS)
    with pytest.raises(ValueError, match="no neighbours to keep"):
        cb.knn_preservation(again)
    same, test = torch.ones(40, 16, 24), torch.randn(9, 16, 24)
    sides = [
        cb.Tokens.of(
            pre, torch.randn(len(pre), 16, 12), names=[f"{pre[0, 0, 0]} {n}" for n in range(len(pre))]
        )
        for pre in (same, test)
    ]
    with pytest.raises(ValueError, match="nothing to rebuild"):
        cb.reconstruct(*sides, probes=SMALL)
    with pytest.warns(UserWarning, match="step 0 was not measured.*nothing to rebuild"):
        curve(Same(), torch.nn.Linear(24, 12), tmp_path / "curve")


def test_a_connector_that_begins_at_zero_is_measured(tmp_path: Path) -> None:
    """Its first output has no neighbours that later ones could keep, and everything else has its figures."""
    connector = torch.nn.Linear(24, 12)
    torch.nn.init.zeros_(connector.weight)
    line = curve(Patches(), connector, tmp_path)
    assert line["lost"]["value"] == pytest.approx(1.0, abs=1e-3)
    assert "knor_10" in line
    assert "knor_10_first" not in line
