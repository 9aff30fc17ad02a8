"""All settings, by family. Below the floors nothing is given, and the table says that it is refused."""

from __future__ import annotations

from benchmarks.coverage import answers, connectors, galleries, paired_images, reconstruction, stages
from benchmarks.coverage.reconstruction import HEAVIER, HEAVY, LEANING, LEANING_UP, ORDINARY

ALIKE = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.8), (0.5, 0.5, 0.5), (0.8, 0.8, 0.8))
UNLIKE = ((0.8, 0.3, 0.3), (-0.8, -0.4, 0.7), (0.95, 0.0, 0.0), (0.9, -0.3, -0.2))
"""Correlations of two losses with the score, and with each other."""

SETTINGS = (
    *(galleries.of_overlap(n, noise) for n in (60, 150) for noise in (0.3, 1.0, None)),
    *(galleries.of_two_connectors(n, (1, 10)) for n in (60, 100, 150)),
    galleries.of_gallery(120, 1.0, connectors=2),
    galleries.of_gallery(120, 0.3),
    *(galleries.of_views(n) for n in (152, 512, 1024)),
    *(connectors.of_connectors(n, rho) for n in (8, 9, 10, 13) for rho in (0.0, -0.5, -0.8, -0.95)),
    *(connectors.of_contrast(n, *one) for n in (8, 10) for one in (*ALIKE, *UNLIKE)),
    *(connectors.of_connectors(21, rho) for rho in (0.0, -0.8)),
    *(connectors.of_contrast(n, *one) for n in (13, 21) for one in (ALIKE[1], UNLIKE[1])),
    *(
        answers.of_failures(n, failing)
        for n, failing in ((60, 0.05), (60, 0.1), (60, 0.2), (60, 0.5), (150, 0.1), (400, 0.03), (20, 0.5))
    ),
    answers.of_failures(60, 0.2, questions=3),
    *(answers.of_failures(n, failing, effect=0.5) for n, failing in ((60, 0.2), (150, 0.1), (300, 0.5))),
    answers.of_failures(60, 0.2, effect=0.95),
    *(paired_images.of_lost(60, one) for one in (HEAVY, HEAVIER, LEANING)),
    *(paired_images.of_lost(n, ORDINARY) for n in (20, 60, 300)),
    *(paired_images.of_accuracy(n, apart) for n, apart in ((60, 0.2), (150, 0.1), (300, 0.2))),
    paired_images.of_accuracy(60, 0.2, questions=3),
    *(reconstruction.of_board(n, ORDINARY) for n in (19, 20, 60, 150, 300)),
    *(reconstruction.of_board(60, one) for one in (HEAVY, HEAVIER, LEANING, LEANING_UP)),
    *(reconstruction.of_board(n, HEAVY) for n in (20, 150)),
    *(stages.of_stages(n, 0.97, 0.94, 0.96) for n in (20, 60)),
    stages.of_stages(100, 0.98, 0.96, 0.98),
    stages.of_stages(300, 0.7, 0.5, 0.9),
    stages.of_stages(1000, 0.998, 0.996, 0.998),
    *(stages.of_mask(n, spread) for n, spread in ((20, 1.0), (60, 1.5), (60, 2.0), (300, 1.0))),
)
