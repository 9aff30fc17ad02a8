"""From any picture to the RGB that is measured; names and statistics of pictures, however many documents show them."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from connector_bench.foreign_files import without_colours

if TYPE_CHECKING:
    from PIL.Image import Image

READS = "reads_column"
KNOWS = "knows_facts"

WHITE: dict[str, float] = {"I;16": 65535, "I;16B": 65535, "I;16L": 65535, "I;16N": 65535, "I": 65535, "F": 1}
"""By mode: the value that is white, where 0 is black. Pillow holds 16-bit files as `I` where it has no other mode."""


class _Strict:
    """The blocks of all threads in which decoding is strict, and what held before the first."""

    lock = Lock()
    blocks = 0
    before = False
    warnings: warnings.catch_warnings[Any]


_strict = _Strict()


@contextmanager
def strict_decoding() -> Iterator[None]:
    """While the block runs, Pillow refuses truncated files, whatever it was told before, and gives no warnings.

    lmms-eval has it fill what is missing with grey. Pillow's error for decompression bombs stays; what it only warns
    of, such as half that size, is decoded. Both hold for the process, so the first block of any thread that begins
    sets them and the last one that ends puts them back.
    """
    from PIL import ImageFile

    with _strict.lock:
        if _strict.blocks == 0:
            _strict.before = ImageFile.LOAD_TRUNCATED_IMAGES
            _strict.warnings = warnings.catch_warnings()
            _strict.warnings.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _strict.blocks += 1
        ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        with _strict.lock:
            _strict.blocks -= 1
            if _strict.blocks == 0:
                _strict.warnings.__exit__(None, None, None)
                ImageFile.LOAD_TRUNCATED_IMAGES = _strict.before


def as_rgb(picture: Image) -> Image:
    """The RGB picture that is measured: turned as its EXIF says, 16-bit and float values scaled by their range.

    A picture that is RGB already and carries no turn is given back as it is. Decodes strictly.

    Raises:
        ValueError: values outside the range of the mode (`I` and 16 bit: 0 to 65535, `F`: 0 to 1), so that no scale
            can be told, or a mode that has no RGB.
        OSError, SyntaxError: a file that is truncated or damaged.
    """
    from PIL import ExifTags, ImageOps

    with strict_decoding():
        picture.load()
        if picture.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            picture = ImageOps.exif_transpose(picture)
        if picture.mode in WHITE:
            picture = _as_grey(picture)
        return picture if picture.mode == "RGB" else picture.convert("RGB")


def _as_grey(picture: Image) -> Image:
    from PIL import Image

    values, white = np.asarray(picture), WHITE[picture.mode]
    low, high = float(values.min()), float(values.max())
    if not 0 <= low <= high <= white:
        raise ValueError(
            f"a picture of mode {picture.mode} holds values from {low:g} to {high:g}; they can be scaled from 0 to "
            f"{white:g} only: save it with 8 or 16 bits a channel"
        )
    return Image.fromarray(np.rint(values.astype(np.float64) * (255 / white)).astype(np.uint8))


def picture_hash(picture: Image) -> str:
    """SHA-256 of a picture's size and RGB pixels: the same picture has the same name in every data set."""
    rgb = as_rgb(picture)
    digest = hashlib.sha256(f"{rgb.width}x{rgb.height}".encode())
    digest.update(rgb.tobytes())
    return digest.hexdigest()


def reason(error: Exception) -> str:
    """Why a picture is left out: the error on one line of at most 300 characters, without addresses and folders."""
    said = re.sub(r" <[\w.]+ object at 0x[0-9a-f]+>", "", " ".join(without_colours(str(error)).split()))
    said = without_folders(said)
    return f"{type(error).__name__}: {said}"[:300]


def without_folders(text: str) -> str:
    """A text whose quoted absolute paths are reduced to the names of their files."""
    return re.sub(r"'(?:[/~]|[A-Za-z]:)[^':]*[/\\]([^'/\\]+)'", r"'\1'", text)


def images_fingerprint(images: Iterable[str]) -> str:
    """One hash for a set of images, whatever their order: figures of other sets must not be compared."""
    return hashlib.sha256("\n".join(sorted(images)).encode()).hexdigest()


def draw_names(images: Iterable[str], size: int, seed: int = 0) -> set[str]:
    """The `size` images whose SHA-256 of seed and name is smallest: a draw that depends on nothing but the images.

    Neither their order nor the number of processes matters, and of two sets that share images, the same ones come
    first.

    Raises:
        ValueError: fewer different images than `size`.
    """
    names = set(images)
    if len(names) < size:
        raise ValueError(f"a gallery of {size} needs as many different images, got {len(names)}")
    return set(sorted(names, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())[:size])


def for_controls(images: Collection[str], most: int) -> set[str]:
    """The images that controls are learnt from or measured on: the same ones for every model, order and process."""
    return draw_names(images, most) if len(set(images)) > most else set(images)


@dataclass(frozen=True)
class PictureFacts:
    """What is known of a document's picture without any model."""

    name: str
    """`picture_hash`."""
    entropy: float
    """Shannon entropy of its histogram of greys, in bits: 0 for one grey, 8 for all of them equally."""
    pictures: int = 1
    """How many pictures the document has; this is the first."""


KEPT_BYTES = 2**30
"""RGB bytes of decoded pictures that a process keeps for the pass that follows; others are decoded a second time."""


class PictureReader:
    """Facts about documents' pictures, for several threads; equal encoded files are decoded once.

    Decoded pictures are kept, up to `KEPT_BYTES`, until they are taken.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Future[PictureFacts]] = {}
        self._kept: dict[str, Image] = {}
        self._kept_bytes = 0
        self._lock = Lock()

    def facts(
        self,
        shown: Callable[[], tuple[Image, int]],
        encoded: Callable[[], bytes | None] | None = None,
    ) -> PictureFacts:
        """Facts about the picture that `shown` gives as RGB, beside the number of the document's pictures.

        `encoded` gives the bytes that `shown` decodes and nothing else, so that equal bytes are equal pictures; None
        where there are none. Raises what `shown` raises.
        """
        content = encoded() if encoded is not None else None
        if content is None:
            return self._looked_at(shown)
        key = hashlib.sha256(content).digest()
        with self._lock:
            known = self._known.get(key)
            mine = self._known.setdefault(key, Future())
        if known is not None:
            try:
                return known.result()
            except Exception:  # each document has its own say on what stands against it
                return self._looked_at(shown)
        try:
            mine.set_result(self._looked_at(shown))
        except BaseException as error:
            mine.set_exception(error)
            raise
        return mine.result()

    def _looked_at(self, shown: Callable[[], tuple[Image, int]]) -> PictureFacts:
        picture, pictures = shown()
        facts = picture_facts(picture, pictures)
        size = 3 * picture.width * picture.height
        with self._lock:
            if facts.name not in self._kept and self._kept_bytes + size <= KEPT_BYTES:
                self._kept[facts.name] = picture
                self._kept_bytes += size
        return facts

    def take(self, name: str) -> Image | None:
        """The picture of this name, once, where it was kept."""
        with self._lock:
            picture = self._kept.pop(name, None)
            if picture is not None:
                self._kept_bytes -= 3 * picture.width * picture.height
        return picture

    def forget(self, names: Iterable[str]) -> None:
        """These pictures are not wanted, or no longer."""
        for name in names:
            self.take(name)


F = TypeVar("F", bound=Callable[..., Any])


def reads_column(column: str) -> Callable[[F], F]:
    """Declare of a `doc_to_visual` that it gives the picture in this column of a document, and nothing else."""

    def declared(to_visual: F) -> F:
        setattr(to_visual, READS, column)
        return to_visual

    return declared


def knows_facts(facts_of: Callable[[Any], PictureFacts]) -> Callable[[F], F]:
    """Declare of a `doc_to_visual` that this function gives a picture's facts from its row, without the picture."""

    def declared(to_visual: F) -> F:
        setattr(to_visual, KNOWS, facts_of)
        return to_visual

    return declared


def encoded_picture(rows: Any, number: int, to_visual: Callable[..., Any]) -> bytes | None:
    """The encoded file behind what `to_visual` gives for this row of a `datasets.Dataset`, without decoding it.

    None where `to_visual` does not declare its column, or the column holds no file.
    """
    return _stored(rows, number, to_visual).get("bytes")


def file_of_picture(rows: Any, number: int, to_visual: Callable[..., Any]) -> str | None:
    """Name, without its folder, of the file behind what `to_visual` gives; None where it is not known."""
    path = _stored(rows, number, to_visual).get("path")
    return str(path).replace("\\", "/").rsplit("/", 1)[-1] if path else None


def _stored(rows: Any, number: int, to_visual: Callable[..., Any]) -> dict[str, Any]:
    column = getattr(to_visual, READS, None)
    if column is None or column not in rows.column_names:
        return {}
    stored = (
        (rows if rows.format["type"] == "arrow" else rows.with_format("arrow"))[number]
        .column(column)[0]
        .as_py()
    )
    return stored if isinstance(stored, dict) else {}


def picture_facts(picture: Image, pictures: int = 1) -> PictureFacts:
    """Facts about an RGB picture, the first of so many that a document has."""
    return PictureFacts(picture_hash(picture), float(picture.convert("L").entropy()), pictures)
