"""Untrained copies run beside the connector, whatever lies between its modules."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from connector_bench.connectors import adapter_for_model
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.connectors.hooks import Tapped, recording
from connector_bench.connectors.untrained import CannotRepeat, UntrainedCopy, untrained_copy
from tests.tiny_vlms import NAMES

Tiny = Callable[[str], tuple[Any, Any]]


@pytest.mark.parametrize("name", NAMES)
def test_copies_with_the_models_own_weights_give_what_the_model_gives(name: str, tiny: Tiny) -> None:
    adapter = adapter_for_model(*tiny(name), name)
    adapter._tapped = [
        replace(tap, copies=(UntrainedCopy(deepcopy(tap.modules), 0),)) for tap in adapter._tapped
    ]
    for pair in adapter.capture([coloured_picture(112, 80), coloured_picture(70, 140)]):
        (same,) = pair.untrained
        assert torch.equal(same, pair.post)


@pytest.mark.parametrize("name", NAMES)
def test_every_family_has_untrained_copies(name: str, tiny: Tiny) -> None:
    adapter = adapter_for_model(*tiny(name), name)
    assert adapter.add_untrained((0, 1)) is None
    pictures = [coloured_picture(112, 112, seed) for seed in range(2)]
    first, second = (adapter.capture([picture])[0] for picture in pictures)
    for tokens, other in zip(first.untrained, second.untrained, strict=True):
        assert tokens.shape == first.post.shape
        assert torch.isfinite(tokens).all()
        assert not torch.equal(tokens, first.post)
        assert not torch.equal(tokens, other), "an untrained connector must tell pictures apart"
    assert not torch.equal(*first.untrained)
    again = adapter_for_model(*tiny(name), name)
    again.add_untrained((0,))
    assert torch.equal(again.capture([pictures[0]])[0].untrained[0], first.untrained[0])


def test_learnt_queries_are_drawn_anew(tiny: Tiny) -> None:
    adapter = adapter_for_model(*tiny("blip_2"), "blip_2")
    copy = UntrainedCopy.of(adapter._tapped[0].modules, 0, ("query_embeds",))
    asked: list[torch.Tensor] = []
    handle = copy.modules[0].register_forward_pre_hook(
        lambda module, args, kwargs: asked.append(kwargs["query_embeds"]), with_kwargs=True
    )
    queries = torch.zeros(3, 8, 40)
    copy.begin((), {"query_embeds": queries, "encoder_hidden_states": torch.zeros(3, 17, 32)})
    handle.remove()
    assert asked[0].shape == queries.shape
    assert torch.equal(asked[0][0], asked[0][2])
    assert 0.8 < asked[0][0].std() < 1.2


class Between(nn.Module):
    """Two maps, and something between them."""

    def __init__(self, between: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.one, self.two, self.between = nn.Linear(3, 4), nn.Linear(4, 5), between

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.two(self.between(self.one(tokens)))


def followed(
    model: Between, between_modules: Callable[..., torch.Tensor] | None = None
) -> list[torch.Tensor]:
    modules = (model.one, model.two)
    tapped = Tapped(modules, copies=(UntrainedCopy.of(modules, 0),), between_modules=between_modules)
    with torch.inference_mode(), recording([tapped]) as (calls,):
        model(torch.ones(2, 6, 3))
    return calls.untrained[0]


def test_what_is_unknown_between_modules_is_refused_unless_declared() -> None:
    (cut,) = followed(Between(lambda tokens: tokens[:, :2]))
    (flat,) = followed(Between(lambda tokens: tokens.reshape(-1, 4)))
    assert (cut.shape, flat.shape) == ((2, 2, 5), (12, 5))
    with pytest.raises(CannotRepeat, match=r"\(2, 6, 4\) become \(2, 6, 4\) in a way not known"):
        followed(Between(torch.sigmoid))
    model = Between(torch.sigmoid)
    (through,) = followed(model, between_modules=lambda tokens, given: tokens.sigmoid())
    one, two = (untrained_copy(module, 0) for module in (model.one, model.two))
    assert torch.equal(through, two(one(torch.ones(2, 6, 3)).sigmoid()))


def test_a_model_whose_way_is_unknown_is_measured_without_copies(tiny: Tiny) -> None:
    adapter = adapter_for_model(*tiny("ovis2"), "ovis2")
    adapter.family = replace(adapter.family, between_modules=None)
    adapter._tapped = [replace(tap, between_modules=None) for tap in adapter._tapped]
    assert "in a way not known" in (adapter.add_untrained((0,)) or "")
    assert adapter.capture([coloured_picture(112, 112)])[0].untrained == ()
