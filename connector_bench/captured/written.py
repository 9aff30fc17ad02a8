"""What the files of a capture hold, checked once when they are read; anybody may have written them.

A folder has `manifest.json` (whose tokens), `pictures.json` (which pictures), and a safetensors file for every 512 of
them, whose metadata names its pictures and where their tokens lie.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, ValidationError

from connector_bench.atomic_files import write_atomically
from connector_bench.environment import environment
from connector_bench.foreign_files import file_inside, first_error, parsed, read_json
from connector_bench.types import ConnectorInfo, Tile, TokenLayout

SCHEMA = 1
MANIFEST, PICTURES, PRECISION = "manifest.json", "pictures.json", "precision.json"
SHARD_KEY = "connector_bench"
"""Of a shard's metadata."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Text = Annotated[str, StringConstraints(max_length=10_000)]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=2**31)]
Side = Annotated[int, Field(ge=1, le=2**16)]


class WrittenPart(BaseModel):
    """Nothing but the fields that are named, and no value turned into another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class WrittenConnector(WrittenPart):
    """A `ConnectorInfo`."""

    model: Name
    family: Name
    connector: Name
    modules: list[Name]
    parameters: Annotated[int, Field(ge=0, le=2**53)]
    dtype: Name
    weights_sha256: Hash | None
    resolution: Name | None
    assumptions: list[Text]
    remarks: Text
    places: Text | None
    planted_found: Annotated[float, Field(ge=0, le=1)] | None

    @classmethod
    def of(cls, info: ConnectorInfo) -> WrittenConnector:
        """As it is written."""
        return cls.model_validate(
            {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(info).items()}
        )

    def info(self) -> ConnectorInfo:
        """As it is worked with."""
        values: dict[str, Any] = self.model_dump()
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return ConnectorInfo(**(values | lists))


class Manifest(WrittenPart):
    """Whose tokens lie in a folder, and with what they were made."""

    schema_version: Literal[1]
    connector: WrittenConnector
    untrained_seeds: list[Count]
    versions: dict[Name, Name | None]
    hardware: Name


def manifest_of(info: ConnectorInfo, untrained_seeds: Sequence[int]) -> Manifest:
    """Whose tokens, and with what they were made here."""
    made_with = environment()
    return Manifest(
        schema_version=1,
        connector=WrittenConnector.of(info),
        untrained_seeds=list(untrained_seeds),
        versions=made_with["versions"],
        hardware=made_with["hardware"],
    )


def write_manifest(out: Path, manifest: Manifest) -> None:
    """Write whose tokens a folder holds."""
    write_atomically(out / MANIFEST, manifest.model_dump_json(indent=1).encode())


class WrittenTile(WrittenPart):
    """A `Tile`."""

    pre: tuple[Side, Side]
    post: tuple[Side, Side] | None
    box: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]


class WrittenLayout(WrittenPart):
    """A `TokenLayout`."""

    tiles: Annotated[list[WrittenTile], Field(max_length=10_000)]
    n_post: Count
    unplaced: Count = 0

    @classmethod
    def of(cls, layout: TokenLayout) -> WrittenLayout:
        """As it is written."""
        tiles = [
            WrittenTile(pre=t.pre_grid, post=t.post_grid, box=tuple(map(float, t.box)))  # type: ignore[arg-type]
            for t in layout.tiles
        ]
        return cls(tiles=tiles, n_post=layout.n_post, unplaced=layout.unplaced)

    def layout(self) -> TokenLayout:
        """As it is worked with. ValueError where tiles and number of tokens do not fit."""
        tiles = tuple(Tile(tile.pre, tile.post, tile.box) for tile in self.tiles)
        found = TokenLayout(tiles, self.n_post, self.unplaced)
        if not found.n_pre:
            raise ValueError("a layout has neither tiles nor tokens without a place")
        covered = sum(tile.post[0] * tile.post[1] for tile in self.tiles if tile.post is not None)
        if found.has_places and covered != self.n_post:
            raise ValueError(
                f"a layout has {self.n_post} tokens behind the connector and places for {covered}"
            )
        return found


class ShardPicture(WrittenPart):
    """One picture of a shard: its name, and which of the shard's layouts is its."""

    image: Hash
    layout: Count


class ShardContent(WrittenPart):
    """Metadata of a shard. Tensors are `NUMBER.pre`, `NUMBER.post` and so on, NUMBER counting its pictures."""

    pictures: Annotated[list[ShardPicture], Field(min_length=1, max_length=100_000)]
    layouts: Annotated[list[WrittenLayout], Field(min_length=1)]


class CapturedDocument(WrittenPart):
    """One file of the folder of pictures."""

    path: Text
    """Below the folder."""
    file_sha256: Hash | None
    """Of its bytes; None where they could not be read."""
    label: Text | None
    image: Hash | None
    entropy: FiniteFloat | None
    unreadable: Text | None
    """Why it has no picture, or its picture no tokens."""


class CapturedPictures(WrittenPart):
    """The folder that was captured, and its documents in order."""

    folder: Text
    complete: bool
    documents: list[CapturedDocument]


class FigureChange(WrittenPart):
    """One figure in float32, eight pictures at a time, and by how much it is higher otherwise."""

    value: FiniteFloat
    bfloat16: FiniteFloat
    one_at_a_time: FiniteFloat


class OwnChange(WrittenPart):
    """How much precision and size of batches alone change a model's figures."""

    schema_version: Literal[1]
    weights_sha256: Hash | None
    """Of the connector in bfloat16, and in float32."""
    in_float32: Hash | None
    n_images: Count
    images_sha256: Hash
    figures: dict[Name, FigureChange]


W = TypeVar("W", bound=WrittenPart)


def checked(kind: type[W], content: Any, where: str) -> W:
    """A part out of parsed JSON. ValueError naming the first place that does not hold what it should."""
    if "schema_version" in kind.model_fields and isinstance(content, Mapping):
        version = content.get("schema_version")
        if version != SCHEMA:
            raise ValueError(f"{where} is of schema {version!r:.40}; this version reads schema {SCHEMA}")
    try:
        return kind.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise ValueError(f"{where}: {first_error(error)}") from None


def read_part(kind: type[W], folder: Path, name: str) -> W:
    """A part out of a JSON file of a capture. ValueError as `checked`, OSError as reading does."""
    path = file_inside(folder, name)
    try:
        content = read_json(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return checked(kind, content, str(path))


def read_metadata(text: str, where: str) -> ShardContent:
    """A shard's metadata. ValueError as `checked`, and for a layout that is not among them."""
    try:
        content = parsed(text)
    except ValueError as error:
        raise ValueError(f"{where}: its metadata: {error}") from error
    found = checked(ShardContent, content, where)
    if any(picture.layout >= len(found.layouts) for picture in found.pictures):
        raise ValueError(f"{where}: a picture has a layout that is not among its {len(found.layouts)}")
    return found


def write_documents(out: Path, documents: Sequence[CapturedDocument], folder: str) -> None:
    """Write which pictures a folder holds, last of all: that it is there means that all is."""
    pictures = CapturedPictures(folder=folder, complete=True, documents=list(documents))
    write_atomically(out / PICTURES, pictures.model_dump_json(indent=1).encode())
