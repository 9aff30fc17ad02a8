"""The size of pictures in words, read from the image processors of real classes."""

import pytest

from connector_bench.connectors.feeding import image_half
from connector_bench.connectors.resolution import resolution_of
from tests import tiny_vlms

SAID = {
    "llava": "56x56",
    "llava_next": "56x56 tiles",
    "llava_pixtral": "longest edge 112",
    "idefics2": "shortest edge 56, longest edge 112",
    "idefics3": "longest edge 112 in tiles of 56",
    "qwen2_5_vl": "3136 to 12544 pixels",
    "internvl": "56x56 tiles",
    "aria": "490x490",
}


@pytest.mark.parametrize("name", SAID)
def test_a_processor_says_what_size_pictures_get(name: str) -> None:
    _, processor = tiny_vlms.make(name)
    assert resolution_of(image_half(processor), {}) == SAID[name]


def test_what_a_wrapper_passes_goes_before_the_processors_own() -> None:
    processor = image_half(tiny_vlms.make("internvl")[1])
    larger = {"size": {"height": 448, "width": 448}, "crop_to_patches": False}
    assert resolution_of(processor, larger) == "448x448"


def test_a_wrapper_without_a_processor_says_nothing() -> None:
    assert resolution_of(None, {}) is None
