"""Changes of tokens against what numpy and scikit-learn make of the same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from connector_bench.interventions import changes
from connector_bench.interventions.intervention import Mask, asked_intervention
from connector_bench.interventions.token_losses import by_token, under_mask
from connector_bench.interventions.token_statistics import TokenStatistics
from connector_bench.types import Tile, TokenLayout

EVERY = torch.arange(12)


def tokens(count: int = 12, width: int = 6, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=random) * torch.arange(1, width + 1) + 40


def statistics(*pictures: torch.Tensor) -> TokenStatistics:
    found = TokenStatistics(pictures[0].shape[1], directions=True)
    for picture in pictures:
        found.add(picture)
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_nothing_asked_changes_no_bit(dtype: torch.dtype) -> None:
    own = tokens().to(dtype)
    over = statistics(own, tokens(seed=1))
    nothing = [
        changes.Projected(over.mean, over.directions_behind(6)),
        changes.Projected(over.mean, over.directions_behind(600)),
        changes.Noisy(torch.randn(12, 6, dtype=torch.float64) * (0.0 * over.spread)),
        changes.Masked(changes.hidden_tokens(0, EVERY, None), over.mean),
        changes.Reordered(EVERY, own),
    ]
    for change in nothing:
        assert torch.equal(change(own, EVERY), own), change


@pytest.mark.parametrize("rank", [0, 1, 3, 5])
def test_a_rank_is_that_of_scikit_learns_pca(rank: int) -> None:
    data = [tokens(seed=seed).double() for seed in range(5)]
    over = statistics(*data)
    everything = torch.cat(data).numpy()
    found = torch.cat(
        [changes.Projected(over.mean, over.directions_behind(rank))(one, EVERY) for one in data]
    ).numpy()
    if rank == 0:
        expected = np.broadcast_to(everything.mean(0), everything.shape)
    else:
        pca = PCA(rank, svd_solver="full").fit(everything)
        expected = pca.inverse_transform(pca.transform(everything))
    assert found == pytest.approx(expected, abs=1e-9)


def test_statistics_of_processes_add_up_to_numpys() -> None:
    data = [tokens(7 + seed, seed=seed) for seed in range(4)]
    over = statistics(*data[:1])
    over.absorb(statistics(*data[1:]))
    everything = torch.cat(data).double().numpy()
    assert over.pictures == 4
    assert over.mean.numpy() == pytest.approx(everything.mean(0))
    assert over.spread == pytest.approx(np.sqrt(everything.var(0).mean()))


def test_parts_of_a_picture_get_what_the_whole_gets() -> None:
    own = tokens()
    random = changes.random_of(0, "picture")
    noise = torch.randn(own.shape, generator=random, dtype=torch.float64)
    order = changes.random_order(12, random)
    over = statistics(own)
    for change in (
        changes.Noisy(noise),
        changes.Reordered(order, own),
        changes.Projected(over.mean, over.directions_behind(2)),
        changes.Replaced(tokens(seed=5)),
        changes.Masked(changes.hidden_tokens(0.5, order, None), over.mean),
    ):
        parts = [change(own[part], EVERY[part]) for part in (slice(0, 5), slice(5, 12))]
        assert torch.equal(torch.cat(parts), change(own, EVERY)), change
    shuffled = changes.Reordered(order, own)(own, EVERY)
    assert not torch.equal(shuffled, own)
    assert torch.equal(shuffled.sort(0).values, own.sort(0).values)


def test_masks_follow_the_loss_and_lie_within_each_other() -> None:
    loss = torch.tensor([3.0, 1, 2, 9, 9, 9, 9, 0, 5, 6, 7, 8])
    order = changes.random_order(12, changes.random_of(0, "picture"))
    hidden = {
        (share, falling): changes.hidden_tokens(share, order, loss, falling=falling)
        for share in (0, 0.25, 1 / 3, 0.5, 1)
        for falling in (True, False)
    }
    assert [int(hidden[share, True].sum()) for share in (0, 0.25, 1 / 3, 0.5, 1)] == [0, 3, 4, 6, 12]
    assert hidden[1 / 3, True].nonzero().ravel().tolist() == [3, 4, 5, 6]
    assert hidden[0.25, False].nonzero().ravel().tolist() == [1, 2, 7]
    assert (hidden[0.25, True] <= hidden[0.5, True]).all()
    ties = {
        tuple(
            changes.hidden_tokens(0.25, changes.random_order(12, changes.random_of(0, str(n))), loss).tolist()
        )
        for n in range(50)
    }
    assert len(ties) == 4, "which of four equal ones stays is drawn by picture"


def test_random_numbers_are_a_pictures_own() -> None:
    drawn = [
        changes.random_order(100, changes.random_of(seed, name)).tolist()
        for seed, name in ((0, "a"), (0, "a"))
    ]
    assert drawn[0] == drawn[1]
    others = [
        changes.random_order(100, changes.random_of(seed, name)).tolist()
        for seed, name in ((0, "b"), (1, "a"))
    ]
    assert drawn[0] not in others


def test_a_tokens_loss_is_the_mean_of_its_cell() -> None:
    layout = TokenLayout((Tile((4, 4), (2, 2)), Tile((2, 2), (2, 2))), 8)
    by_patch = torch.arange(20.0)
    found = by_token(layout, by_patch)
    assert found.tolist() == [2.5, 4.5, 10.5, 12.5, 16, 17, 18, 19]
    mask = np.zeros((8, 8), dtype=bool)
    mask[0, 0] = True
    assert under_mask(layout, mask).tolist() == [True, False, False, False, True, False, False, False]
    with pytest.raises(ValueError, match="have no place in the picture"):
        by_token(TokenLayout((Tile((4, 4), None),), 8), torch.ones(16))


def test_another_pictures_tokens_are_spread_over_this_ones() -> None:
    own = tokens(4)
    assert torch.equal(changes.stretched(own, 4), own)
    assert torch.equal(changes.stretched(own, 8), own.repeat_interleave(2, 0))
    assert torch.equal(changes.stretched(own, 2), own[[0, 2]])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{kind: mask, order: loss, share: .5}", "the falling order of loss needs `from`"),
        ("{kind: mask, order: random, share: 1.5}", "share is 1.5"),
        ("{kind: mask, order: random, share: .5, from: x}", "a random order needs no loss"),
        ("{kind: mask, order: sideways, share: .5}", "order is 'sideways'"),
        ("{kind: blur}", "kind"),
        ("{kind: rank}", "rank"),
        ("{kind: rank, rank: -1}", "rank is -1"),
        ("{kind: noise, size: .nan}", "size"),
        ("{kind: swap, share: .5}", "share"),
        ("{kind: cells, where: inside, mask: nowhere}", "mask is 'nowhere'"),
        ("half", "needed is a mapping"),
        ("{kind: [", "is no YAML"),
        ("", "needed is a mapping"),
    ],
)
def test_what_is_wrong_is_named(given: str, said: str) -> None:
    with pytest.raises(ValueError, match="THERE") as refused:
        asked_intervention(given, "THERE")
    assert said in str(refused.value)
    assert len(str(refused.value)) < 300


def test_yaml_and_json_ask_for_the_same() -> None:
    asked = asked_intervention("{kind: mask, order: loss, share: .5, from: /somewhere/results}", "x")
    assert asked == Mask(kind="mask", order="falling", share=0.5, earlier=Path("/somewhere/results"))
    assert asked_intervention(asked.as_json(), "x") == asked
    record: dict[str, Any] = json.loads(json.dumps(asked.as_record()))
    assert record == {"seed": 0, "kind": "mask", "order": "falling", "share": 0.5, "from": "results"}
    assert asked.said == "0.5 of the tokens masked by falling loss"
