"""What is known to be in a picture, as counts of features."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from connector_bench.preservation.reference import AskedOf, ReferenceVectors

COLUMN = "content of the picture"
"""Under which a document's content travels beside its labels."""


@dataclass(frozen=True)
class Content:
    """Features that a data set knows of each picture, such as which object is where."""

    features: Callable[[Mapping[str, Any]], Iterable[str]]
    """From a document, without its pictures, to its features; one that is named twice counts twice."""

    @property
    def name(self) -> str:
        """What the record calls it."""
        return f"content by {getattr(self.features, '__name__', 'a function')}"

    def said_of(self, row: Mapping[str, Any]) -> str:
        """A document's features as text."""
        return json.dumps(sorted(map(str, self.features(row))))

    def reference(self, asked: AskedOf) -> ReferenceVectors:
        """Counts of features, images times features."""
        texts = [said.get(COLUMN) for said in asked.said]
        if missing := sum(text is None for text in texts):
            raise ValueError(
                f"the content of {missing} of {len(texts)} images is not known, or said in two ways"
            )
        return counted([json.loads(text or "[]") for text in texts])


def counted(features: Iterable[Iterable[str]]) -> ReferenceVectors:
    """Counts of features of each image. ValueError where no image has any."""
    from scipy import sparse

    counts = [Counter(own) for own in features]
    places = {feature: place for place, feature in enumerate(sorted({f for own in counts for f in own}))}
    if not places:
        raise ValueError("no image has any content")
    rows = np.repeat(np.arange(len(counts)), [len(own) for own in counts])
    columns = [places[feature] for own in counts for feature in own]
    values = [float(count) for own in counts for count in own.values()]
    return ReferenceVectors(sparse.csr_matrix((values, (rows, columns)), shape=(len(counts), len(places))))
