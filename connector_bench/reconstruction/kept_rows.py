"""Figures by image in little memory: a long run keeps a row of them for every picture until its end."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, MutableMapping


class KeptRows(MutableMapping[str, dict[str, float]]):
    """By image, figures by name. Rows of equal names share them, and a figure takes eight bytes instead of sixty.

    A row that is read is a copy.
    """

    def __init__(self, rows: Mapping[str, Mapping[str, float]] | None = None) -> None:
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._rows: dict[str, tuple[tuple[str, ...], array[float]]] = {}
        for image, row in (rows or {}).items():
            self[image] = row

    def __getitem__(self, image: str) -> dict[str, float]:
        names, values = self._rows[image]
        return dict(zip(names, values, strict=True))

    def __setitem__(self, image: str, row: Mapping[str, float]) -> None:
        names = tuple(row)
        self._rows[image] = self._names.setdefault(names, names), array("d", row.values())

    def __delitem__(self, image: str) -> None:
        del self._rows[image]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, image: object) -> bool:
        return image in self._rows
