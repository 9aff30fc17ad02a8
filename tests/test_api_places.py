"""A stated grid that does not hold behind bare modules: no place that was not proven, and one warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import connector_bench as cb
from tests.bare_modules import Patches, pixels, projector

torch.set_num_threads(1)
DRAWN = [np.random.default_rng(n).integers(0, 255, (32, 32, 3), np.uint8) for n in range(24)]
PICTURES = [Image.fromarray(one) for one in DRAWN]
ENCODER, MAP = Patches().eval().requires_grad_(False), projector().eval()


class Exchanging(torch.nn.Module):
    """Gives `[batch, width, tokens]`."""

    def __init__(self) -> None:
        super().__init__()
        self.map = projector()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.map(tokens).transpose(1, 2)


def by_content(tokens: torch.Tensor) -> list[torch.Tensor]:
    """The first 3 to 7 patches of each picture, as its content has it."""
    return [MAP(one[: 3 + int(one.sum().abs() * 1000) % 5]) for one in tokens]


def told(connector: Any, grid: Any, encoder: Any = ENCODER) -> tuple[cb.Tokens, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tokens = cb.capture((encoder, connector), PICTURES, pixels, grid=grid)
    return tokens, [str(one.message) for one in caught]


def test_a_count_that_no_trial_showed_has_no_places() -> None:
    tokens, said = told(by_content, (4, 4))
    assert {layout.n_post for layout in tokens.layouts} == {3, 4, 5, 6, 7}
    assert not any(layout.has_places for layout in tokens.layouts)
    assert all(layout.tiles[0].pre_grid == (4, 4) for layout in tokens.layouts)
    (line,) = said
    assert line.startswith(
        "grid=(4, 4) does not hold behind the connector, which made 3 to 7 tokens of 16: no trial"
    )
    assert "no loss maps" in line


def test_what_one_count_showed_is_not_believed_of_another() -> None:
    """The trial's picture keeps all its patches, which lie as stated; of these pictures the first four are kept."""
    from connector_bench.connectors.coloured import coloured_picture

    trial = ENCODER(pixels([coloured_picture(32, 32)]))
    least = min(float(ENCODER(pixels([one])).std()) for one in PICTURES)
    parting = (float(trial.std()) + least) / 2
    above = float(trial.std()) > least

    def connector(tokens: torch.Tensor) -> list[torch.Tensor]:
        return [MAP(one if (float(one.std()) > parting) == above else one[:4]) for one in tokens]

    tokens, said = told(connector, (4, 4))
    assert {(layout.n_post, layout.has_places) for layout in tokens.layouts} <= {(16, True), (4, False)}
    assert any(layout.n_post == 4 for layout in tokens.layouts)
    assert len(said) == 1


@pytest.mark.parametrize(
    ("connector", "grid", "says"),
    [
        (lambda t: MAP(t[:, :9]), (4, 4), "made 9 tokens of 16, neither as many nor r x r times fewer"),
        (
            lambda t: MAP(t[:, :4]),
            (4, 4),
            "made 4 tokens of 16: a changed patch changed the token at its place",
        ),
        (
            lambda t: MAP(t[:, :4]),
            ((4, 4), (4, 1)),
            r"grid=((4, 4), (4, 1)) does not hold behind the connector",
        ),
        (lambda t: MAP(t).flip(1), (4, 4), "in 0 % of the tries, 90 % are needed"),
        (
            Exchanging().eval(),
            (4, 4),
            "12 tokens of 16 numbers for 16 tokens, which looks like [batch, width, tok",
        ),
        (lambda t: MAP(t).transpose(1, 2), (4, 4), ".transpose(1, 2) exchanges them"),
    ],
)
def test_a_grid_that_does_not_hold_is_said_once(connector: Callable[..., Any], grid: Any, says: str) -> None:
    tokens, said = told(connector, grid)
    assert not tokens.layouts[0].has_places
    (line,) = said
    assert says in line
    assert "no loss maps" in line
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = cb.measure(
            (ENCODER, connector), PICTURES, pixels, grid=grid, measures="knn_preservation",
            options=cb.PreservationOptions(ks=(5,)),
        )  # fmt: skip
    assert [str(one.message) for one in caught if "does not hold" in str(one.message)] == [line]
    assert line in result.warnings


def test_tokens_that_look_exchanged_are_named_without_a_grid() -> None:
    _, said = told(Exchanging().eval(), None)
    assert said == [
        "the connector gave 12 tokens of 16 numbers for 16 tokens, which looks like [batch, width, tokens]: if it is, "
        ".transpose(1, 2) exchanges them"
    ]


def test_an_encoder_of_another_order_is_said_once() -> None:
    tokens, (line,) = told(MAP, (4, 4), lambda given: ENCODER(given).flip(1))
    assert tokens.layouts[0].unplaced == 16
    assert line.startswith("grid=(4, 4) does not hold: of the encoder's 16 tokens a changed patch")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cb.measure(tokens, measures="knn_preservation", options=cb.PreservationOptions(ks=(5,)))
    assert not [one for one in caught if "places" in str(one.message)]


@pytest.mark.parametrize(("connector", "grid"), [(MAP, (4, 4)), (MAP, None), (by_content, ((4, 4), None))])
def test_what_holds_or_was_not_claimed_is_not_warned_of(connector: Any, grid: Any) -> None:
    assert told(connector, grid)[1] == []


def test_what_is_known_of_tokens_is_said_once_of_them(tmp_path: Any) -> None:
    tokens = [*PICTURES, tmp_path / "gone.png"]
    with pytest.warns(UserWarning, match="1 picture left out, could not be measured: 24: FileNotFound"):
        captured = cb.capture((ENCODER, MAP), tokens, pixels)
    said = []
    for _ in range(2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = cb.measure(
                captured, measures="knn_preservation", options=cb.PreservationOptions(ks=(5,))
            )
        said.append([str(one.message).split(":")[0] for one in caught])
    assert "untrained control left out" in said[0]
    assert not [line for line in said[0] if "document" in line]
    assert said[1] == []
    assert any(line.startswith("1 document left out, could not be measured: 24") for line in result.warnings)
    assert any(line.startswith("untrained control left out") for line in result.warnings)


def test_one_channel_and_tensors_of_pictures_are_taken() -> None:
    of = lambda given: cb.capture((ENCODER, MAP), given, pixels).pre  # noqa: E731
    grey = DRAWN[0][..., :1]
    assert torch.equal(of([grey])[0], of([grey[..., 0]])[0])
    tensors = torch.from_numpy(np.stack(DRAWN)).permute(0, 3, 1, 2)
    assert all(map(torch.equal, of(tensors), of(PICTURES)))
    assert all(map(torch.equal, of(list(map(torch.from_numpy, DRAWN))), of(PICTURES)))
    for wrong in (tensors / 255, torch.zeros(2, 3, 9, 3, dtype=torch.uint8)):
        with pytest.raises(
            ValueError, match=r"is no picture; \[3, rows, columns\] of uint8 .*bare pair, ConnectorProbe"
        ):
            of(wrong)
    with pytest.raises(ValueError, match=r"one tensor of \[3, 32, 32\]; .* several as \[pictures, 3, rows"):
        of(tensors[0])
    with pytest.raises(ValueError, match=r"also taken are \[rows, columns\] and \[rows, columns, 1\]"):
        of([np.zeros((8, 8, 5), np.uint8)])
