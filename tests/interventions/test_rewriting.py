"""Tokens of real model classes changed in their own vision pass: all of them or none, and no hook stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from connector_bench.connectors import adapter_for_model
from connector_bench.connectors.base import ConnectorAdapter, UnsupportedModel
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.connectors.rewriting import Rewritten
from connector_bench.interventions.changes import Masked, Reordered
from connector_bench.types import TokenBatch
from connector_bench.zoo import load
from tests import tiny_vlms

PICTURES = [coloured_picture(112, 80), coloured_picture(112, 80, 1)]
KINDS = ("llava", "llava_next", "llava_pixtral", "qwen2_5_vl", "qwen3_vl", "idefics2", "idefics3", "internvl", "gemma3",
         "blip_2", "got_ocr2", "ovis2", "aria", "deepseek_vl", "zoo")  # fmt: skip


def hooks_of(model: Any) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def adapter_of(name: str) -> tuple[ConnectorAdapter, Any]:
    """An adapter that tries no places, and its module."""
    if name == "zoo":
        model = load("pixel_shuffle")
        return adapter_for_model(model), model.connector
    model, processor = tiny_vlms.make(name)
    return adapter_for_model(model, processor).claiming, model


def passed(adapter: ConnectorAdapter) -> TokenBatch:
    """What the hooks of a recording see, which stand behind those of an intervention."""
    batches = [adapter.run(adapter.prepare([("a", picture)]), untrained=False) for picture in PICTURES]
    return TokenBatch.end_to_end(batches)


@pytest.mark.parametrize("name", KINDS)
def test_every_token_or_none_is_changed(name: str) -> None:
    adapter, model = adapter_of(name)
    plain = passed(adapter)
    before = hooks_of(model)  # transformers keeps some of its own from the first pass on
    located = [adapter.located(picture) for picture in PICTURES]
    counts = [len(one.tokens.post) for one in located]
    width = plain.post.shape[1]
    for own, rows in zip(located, plain.post_rows, strict=True):
        assert torch.equal(own.tokens.post, plain.post[rows])
    nothing = [Rewritten(one, behind=Masked(torch.zeros(n, dtype=torch.bool), torch.ones(width))) for one, n in
               zip(located, counts, strict=True)]  # fmt: skip
    with adapter.rewriting(nothing) as found:
        untouched = passed(adapter)
    assert (found.tokens, found.changed) == (sum(counts), 0)
    assert torch.equal(untouched.post, plain.post)
    fill = torch.arange(width, dtype=torch.float64) / 7
    hidden = [torch.arange(n) % 3 == 1 for n in counts]
    some = [Rewritten(one, behind=Masked(which, fill)) for one, which in zip(located, hidden, strict=True)]
    with adapter.rewriting(some) as found:
        changed = passed(adapter)
    expected = torch.where(torch.cat(hidden)[:, None], fill.to(plain.post), plain.post)
    assert torch.equal(changed.post, expected)
    assert found.changed == sum(int(which.sum()) for which in hidden)
    order = torch.arange(counts[0] - 1, -1, -1)
    turned = [Rewritten(located[0], behind=Reordered(order, located[0].tokens.post)), nothing[1]]
    with adapter.rewriting(turned):
        changed = passed(adapter)
    assert torch.equal(changed.post[changed.post_rows[0]], plain.post[plain.post_rows[0]].flip(0))
    assert torch.equal(changed.post[changed.post_rows[1]], plain.post[plain.post_rows[1]])
    assert hooks_of(model) == before


@pytest.mark.parametrize(
    "name", ["llava", "qwen2_5_vl", "qwen3_vl", "internvl", "idefics2", "blip_2", "got_ocr2", "zoo"]
)
def test_other_patches_are_what_the_connector_is_given(name: str) -> None:
    adapter, _ = adapter_of(name)
    located = [adapter.located(picture) for picture in PICTURES]
    plain = passed(adapter)
    same = [Rewritten(one, before=Masked(torch.zeros(len(one.tokens.pre), dtype=torch.bool), torch.zeros(1))) for one in
            located]  # fmt: skip
    with adapter.rewriting(same):
        assert torch.equal(passed(adapter).post, plain.post)
    other = adapter.located(coloured_picture(112, 80, 2)).tokens
    given = [
        Rewritten(one, before=lambda tokens, positions: other.pre[positions].to(tokens)) for one in located
    ]
    with adapter.rewriting(given):
        changed = passed(adapter)
    if name != "zoo":  # whose adapter does not look at what its connector is given
        assert torch.equal(changed.pre, torch.cat([other.pre, other.pre]))
    if name not in ("got_ocr2", "blip_2", "idefics2"):  # which also read what is no patch: padding, CLS
        assert changed.post == pytest.approx(torch.cat([other.post, other.post]), abs=1e-4)
    assert not torch.equal(changed.post, plain.post)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_hooks_are_gone_after_failure_and_interrupt(error: type[BaseException]) -> None:
    adapter, model = adapter_of("llava")
    located = adapter.located(PICTURES[0])
    before = hooks_of(model)

    def fail(tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        raise error("stop")

    with pytest.raises(error, match="stop"), adapter.rewriting([Rewritten(located, behind=fail)]):
        adapter.located(PICTURES[0])
    assert hooks_of(model) == before


def test_a_failure_that_is_swallowed_comes_to_light() -> None:
    """lmms-eval's wrappers answer whatever `generate` raises with an empty text."""
    adapter, _ = adapter_of("llava")
    located = adapter.located(PICTURES[0])

    def fail(tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("stop")

    def answering() -> None:
        try:
            adapter.located(PICTURES[0])
        except RuntimeError:
            return

    with pytest.raises(RuntimeError, match="stop"), adapter.rewriting([Rewritten(located, behind=fail)]):
        answering()
    said = "0 tokens passed the connector while the model answered"
    with pytest.raises(ValueError, match=said), adapter.rewriting([Rewritten(located, behind=fail)]):
        pass
    tokens = len(located.tokens.post)
    said = (
        f"{tokens} tokens passed the connector while the model answered, and its pictures have {2 * tokens}"
    )
    with pytest.raises(ValueError, match=said), adapter.rewriting([Rewritten(located), Rewritten(located)]):
        adapter.located(PICTURES[0])


def test_what_was_captured_has_no_connector() -> None:
    from connector_bench.captured.replayed import CapturedAdapter

    bare = object.__new__(CapturedAdapter)
    with pytest.raises(UnsupportedModel, match="there is no connector to change"):
        bare.located(PICTURES[0])
