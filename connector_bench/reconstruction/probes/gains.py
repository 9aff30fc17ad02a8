"""Whether a trained probe beats the linear one that it started from by more than the validation images' noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import stats
from torch import Tensor

CONFIDENCE = 0.975
"""Of the one-sided t test, over images. The fold that stops the training chooses the probe too, hence not less."""


@dataclass(frozen=True, eq=False)
class ImageGains:
    """By validation image: the linear probe's squared error less the trained one's."""

    images: Int[np.ndarray, " n"]
    """Hashes of the images' names."""
    gains: Float[np.ndarray, " n"]

    @classmethod
    def of(cls, images: Int[Tensor, " rows"], gains: Float[Tensor, " rows"]) -> ImageGains:
        """Sums over each image's rows."""
        return cls._summed(images.cpu().numpy(), gains.double().cpu().numpy())

    @classmethod
    def together(cls, parts: Sequence[ImageGains]) -> ImageGains:
        """Sums over parts, such as shapes of cell, in which the same images may stand."""
        return cls._summed(
            np.concatenate([part.images for part in parts]), np.concatenate([part.gains for part in parts])
        )

    @classmethod
    def _summed(cls, images: np.ndarray, gains: np.ndarray) -> ImageGains:
        different, place = np.unique(images, return_inverse=True)
        sums = np.bincount(place, gains, minlength=len(different))
        return cls(different, sums.astype(np.float64))  # of nothing it counts whole numbers

    @property
    def beyond_noise(self) -> bool:
        """Whether their mean lies above 0 by a t test; never with fewer than two images."""
        count = len(self.gains)
        if count < 2:
            return False
        error = float(self.gains.std(ddof=1)) / count**0.5
        return float(self.gains.mean()) > float(stats.t.ppf(CONFIDENCE, count - 1)) * error
