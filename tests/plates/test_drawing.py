"""Neighbour plates: the right pictures, marked right, in a PNG."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from connector_bench.plates.drawing import neighbour_plate, worst

PRE = np.array([[1, 2], [0, 2], [0, 1], [0, 1]])
POST = np.array([[1, 3], [0, 2], [0, 1], [2, 1]])
BLUE, VERMILION, OCHRE = (0, 114, 178), (213, 94, 0), (160, 106, 0)


def shade(index: int) -> np.ndarray:
    return np.full((20, 30, 3), 40 * (index + 1), np.uint8)


def has(path: Path, colour: tuple[int, int, int]) -> bool:
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return int((np.abs(pixels - colour).max(axis=2) < 3).sum()) > 100


def test_kept_lost_and_new_are_marked(tmp_path: Path) -> None:
    asked = []

    def image(index: int) -> np.ndarray:
        asked.append(index)
        return shade(index)

    path = neighbour_plate(tmp_path / "plate.png", image, [0], PRE, POST, columns=2)
    assert asked == [0, 1, 2, 1, 3]
    assert Image.open(path).format == "PNG"
    assert all(has(path, colour) for colour in (BLUE, VERMILION, OCHRE))


def test_a_connector_that_keeps_all_shows_nothing_lost(tmp_path: Path) -> None:
    path = neighbour_plate(
        tmp_path / "plate.png", shade, [1, 2], PRE, PRE, columns=2, captions=list("abcd"), title="t"
    )
    assert has(path, BLUE)
    assert not has(path, VERMILION)
    assert not has(path, OCHRE)


def test_grey_and_transparent_pictures_are_shown(tmp_path: Path) -> None:
    pictures = [np.zeros((8, 8)), Image.new("RGBA", (8, 5)), Image.new("L", (3, 9)), shade(3)]
    assert (
        neighbour_plate(tmp_path / "p.png", pictures.__getitem__, [0, 3], PRE, POST, columns=1).stat().st_size
        > 0
    )


def test_worst_images_come_first() -> None:
    np.testing.assert_array_equal(worst(np.array([0.5, 0.1, 0.9, 0.1]), 3), [1, 3, 0])
    with pytest.raises(ValueError, match="got 0"):
        worst(np.array([0.5]), 0)


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"queries must be indices in 0\.\.3"):
        neighbour_plate(tmp_path / "p.png", shade, [4], PRE, POST, columns=2)
    with pytest.raises(ValueError, match="cannot show 5 neighbours"):
        neighbour_plate(tmp_path / "p.png", shade, [0], PRE, POST)


def test_a_text_is_no_formula(tmp_path: Path) -> None:
    """A label that matplotlib would refuse as a formula, and one that it would set in italics."""
    plain = neighbour_plate(tmp_path / "a.png", shade, [0], PRE, POST, columns=2, captions=["$5", *"bcd"])
    assert plain.is_file()
    for label in (r"$\x$", "$5 or $6", r"\$"):
        path = neighbour_plate(
            tmp_path / "b.png", shade, [0], PRE, POST, columns=2, captions=[label] * 4, title=label
        )
        assert path.read_bytes() != plain.read_bytes()
