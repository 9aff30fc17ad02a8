from io import BytesIO

import numpy as np
from PIL import Image

from connector_bench.reconstruction.lossmaps import LossMap
from connector_bench.report.outline_labels import common, label_boxes
from connector_bench.report.overlays import _layers, render
from connector_bench.types import Tile, TokenLayout

WHOLE = TokenLayout((Tile((6, 8), (6, 8)),), 48)
TILED = TokenLayout(
    (
        Tile((4, 4), None),
        *(Tile((4, 4), None, (x, y, x + 0.5, y + 0.5)) for y in (0.0, 0.5) for x in (0.0, 0.5)),
    ),
    20,
)


def loss_map(layout: TokenLayout = WHOLE, hot: int = 13) -> LossMap:
    loss = np.full(layout.n_pre, 0.1, np.float32)
    loss[hot] = 1.0
    return LossMap("image", layout, loss, np.zeros_like(loss), np.zeros_like(loss))


def picture(width: int = 320, height: int = 240) -> Image.Image:
    return Image.new("RGB", (width, height), (90, 120, 90))


def test_an_overlay_is_a_png_that_is_the_same_every_time() -> None:
    mask = np.zeros((240, 320), dtype=bool)
    mask[60:120, 80:200] = True
    first = render(picture(), loss_map(), masks={"": mask})
    assert first == render(picture(), loss_map(), masks={"": mask})
    assert Image.open(BytesIO(first)).format == "PNG"


def test_the_hot_patch_is_hot_where_it_lies() -> None:
    """Patch 13 of 6 x 8 is in row 1, column 5."""
    plain = np.asarray(Image.open(BytesIO(render(picture(), loss_map(hot=0)))).convert("RGB")).astype(int)
    hot = np.asarray(Image.open(BytesIO(render(picture(), loss_map(hot=13)))).convert("RGB")).astype(int)
    changed = np.abs(hot - plain).sum(2) > 150
    panel = changed[:, changed.shape[1] // 2 :]
    assert panel.any()
    assert not changed[:, : changed.shape[1] // 3].any()


def test_a_patch_that_is_rebuilt_is_not_among_the_worst() -> None:
    nothing = np.zeros(WHOLE.n_pre, np.float32)
    none_lost = LossMap("image", WHOLE, nothing, nothing, nothing)
    drawn = np.asarray(Image.open(BytesIO(render(picture(), none_lost))).convert("RGB")).astype(int)
    panel = drawn[5:-5, drawn.shape[1] // 2 + 20 : -5]
    assert np.ptp(panel.reshape(-1, 3), axis=0).max() < 8, "one colour, without frames and numbers"


def test_tiles_that_overlap_get_panels_of_their_own() -> None:
    layers = _layers(loss_map(TILED))
    assert [len(layer) for layer in layers] == [1, 4]
    assert Image.open(BytesIO(render(picture(), loss_map(TILED)))).width > 1000


def test_masks_of_several_questions_are_told_apart() -> None:
    masks = {name: np.zeros((24, 32), dtype=bool) for name in ("Q1", "Q2", "Q3")}
    masks["Q1"][2:8, 2:8] = masks["Q2"][12:20, 10:20] = masks["Q3"][4:10, 24:30] = True
    pixels = np.asarray(
        Image.open(BytesIO(render(picture(), loss_map(), masks=masks))).convert("RGB")
    ).astype(int)
    for colour in ((0x3F, 0xE0, 0xFF), (0x8C, 0xFF, 0x66)):
        assert (np.abs(pixels - colour).sum(2) < 40).sum() > 100


def disc(row: float, column: float, radius: float = 0.08) -> np.ndarray:
    y, x = (np.mgrid[:120, :160] + 0.5) / np.array([120, 160])[:, None, None]
    return (x - column) ** 2 + (y - row) ** 2 < radius**2


def test_names_of_outlines_hide_neither_each_other_nor_numbers() -> None:
    """Two questions about the same thing, one about a thing just below, and worst patches on and above them."""
    masks = {"Q1": disc(0.4, 0.5), "Q2": disc(0.4, 0.5), "Q3": disc(0.58, 0.5), "Q4": disc(0.02, 0.02)}
    taken = [(x, 0.2, x + 0.1, 0.3) for x in (0.4, 0.5)] + [(0.45, 0.35, 0.55, 0.45)]
    placed = label_boxes(masks, taken, 0.04, 0.75)
    assert list(placed) == list(masks)
    for name, box in placed.items():
        assert min(box) >= 0
        assert max(box) <= 1
        assert not any(common(box, other) for other in taken)
        assert not any(common(box, other) for one, other in placed.items() if one != name)


def test_a_name_stands_beside_a_part_of_its_outline() -> None:
    """Between two things far apart there is nothing that it could name."""
    left, top, right, bottom = label_boxes({"Q1": disc(0.2, 0.8) | disc(0.8, 0.2)}, [], 0.04, 0.75)["Q1"]
    middle = (left + right) / 2, (top + bottom) / 2
    assert min(np.hypot(middle[0] - x, middle[1] - y) for x, y in ((0.8, 0.2), (0.2, 0.8))) < 0.2


def test_frames_are_seen_where_everything_is_pale() -> None:
    """At half its size, as the page shows it."""
    lost = np.full(WHOLE.n_pre, 1.5, np.float32)
    drawn = render(Image.new("RGB", (320, 240), "white"), LossMap("image", WHOLE, lost, lost, lost))
    shown = Image.open(BytesIO(drawn)).convert("L")
    panel = np.asarray(shown.resize((shown.width // 2, shown.height // 2)))[:, shown.width // 4 + 20 :]
    assert np.median(panel) > 220
    assert (panel < 100).sum() > 600


def test_odd_pictures_are_drawn_too() -> None:
    one = TokenLayout((Tile((1, 1), None),), 1)
    for size in ((1, 1), (900, 30), (30, 900)):
        assert render(picture(*size), loss_map(one, hot=0)).startswith(b"\x89PNG")
    full = np.ones((5, 5), dtype=bool)
    assert render(picture(), loss_map(), masks={"1": full})
    assert render(picture(), loss_map(), masks={"1": ~full})
