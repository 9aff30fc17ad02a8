"""Synthetic images whose loss is known: correlated patches, far from 0, one dimension loud."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.reconstruction.folds import unit_keys
from connector_bench.reconstruction.image_errors import BatchReconstruction
from connector_bench.reconstruction.probes.fitted import FittedProbes
from connector_bench.reconstruction.probes.linear import LinearControl
from connector_bench.reconstruction.probes.sample import ProbeSample
from connector_bench.reconstruction.probes.training_loop import Schedule
from connector_bench.reconstruction.scored_images import ScoredBatch, ScoredImage
from connector_bench.reconstruction.scores import ScoreBoard
from connector_bench.types import Tile, TokenBatch, TokenLayout, TokenPair

WIDTH = 16
GRID = (6, 6)
LAYOUT = TokenLayout((Tile(GRID, GRID),), 36)

Connector = Callable[[TokenPair], TokenPair]


def mixing(width: int = WIDTH) -> Tensor:
    """A fixed matrix with a spectrum over a factor of 30, as encoders have."""
    generator = torch.Generator().manual_seed(7)
    return torch.randn(width, width, generator=generator) * torch.logspace(0, -1.5, width)


def patches(image: int, layout: TokenLayout = LAYOUT, width: int = WIDTH) -> Tensor:
    """An image's patches: they share something, have a mean far from 0, and one loud dimension."""
    generator = torch.Generator().manual_seed(image)
    own = torch.randn(layout.n_pre, width, generator=generator)
    shared = torch.randn(1, width, generator=generator)
    mean = torch.linspace(-3, 3, width)
    mean[0] = 40.0
    return (own + 0.7 * shared) @ mixing(width).T + mean


def covariance(width: int = WIDTH) -> Tensor:
    """Population covariance of a patch."""
    return (1 + 0.7**2) * mixing(width).double() @ mixing(width).double().T


def images(count: int, start: int = 0, layout: TokenLayout = LAYOUT) -> Iterator[tuple[str, TokenPair]]:
    """Named images whose connector hands patches on."""
    for number in range(start, start + count):
        pre = patches(number, layout)
        yield f"image-{number}", TokenPair(pre, pre, layout)


def through(connector: Connector, pairs: Iterator[tuple[str, TokenPair]]) -> Iterator[tuple[str, TokenPair]]:
    """The same images through a connector."""
    return ((image_id, connector(pair)) for image_id, pair in pairs)


def as_connector(control: LinearControl) -> Connector:
    """A connector that maps every patch on its own, tokens in the patches' places."""

    def connector(pair: TokenPair) -> TokenPair:
        tiles = tuple(replace(tile, post_grid=tile.pre_grid) for tile in pair.layout.tiles)
        post = (pair.pre.double() @ control.matrix).float()
        return replace(pair, post=post, layout=TokenLayout(tiles, pair.layout.n_pre))

    return connector


def small_config(**changes: object) -> ReconstructionConfig:
    """A budget of seconds."""
    options: dict[str, object] = {
        "patch_pairs": 3000,
        "validation_pairs": 500,
        "validation": 0.2,
        "mlp_width": 32,
        "schedule": Schedule(epochs=3, batch_size=128),
        "attention_schedule": Schedule(epochs=3, batch_size=16),
        "attention_images": 200,
        "attention_patches": 36,
        "attention_width": 32,
        "attention_heads": 4,
        "attention_layers": 1,
        "chunk_rows": 512,
        "curve": False,
    }
    return ReconstructionConfig(**{**options, **changes})


def fit(pairs: Iterator[tuple[str, TokenPair]], config: ReconstructionConfig | None = None) -> FittedProbes:
    """The ladder, fitted on these images."""
    sample = ProbeSample(config or small_config())
    for image_id, pair in pairs:
        learn(sample, image_id, pair)
    return sample.fit()


def learn(sample: ProbeSample, image_id: str, pair: TokenPair) -> bool:
    """Take one training image; whether its name was new."""
    return bool(sample.learn(TokenBatch.of([image_id], [pair])))


def board_of(probes: FittedProbes, pairs: Iterator[tuple[str, TokenPair]]) -> ScoreBoard:
    """These images, scored."""
    board = ScoreBoard()
    for image_id, pair in pairs:
        put(board, score(probes, image_id, pair))
    return board


def score(probes: FittedProbes, image_id: str, pair: TokenPair) -> BatchReconstruction:
    """One image, scored alone."""
    return probes.score(TokenBatch.of([image_id], [pair]))


def kept(scored: BatchReconstruction) -> list[ScoredImage]:
    """What is kept of scored images."""
    return ScoredBatch(scored, torch.zeros(len(scored.images), dtype=torch.float64)).images()


def put(board: ScoreBoard, scored: BatchReconstruction) -> None:
    """Add scored images to a board."""
    board.add(scored, kept(scored))


def predict(probes: FittedProbes, pair: TokenPair) -> dict[str, Tensor]:
    """Every trained probe's patches of one image."""
    return probes.predict(TokenBatch.of(["image"], [pair]))


def values(board: ScoreBoard) -> dict[str, float]:
    """The figures without their intervals."""
    return {name: score.value for name, score in board.scores().items()}


def shuffled(pairs: Iterable[tuple[str, TokenPair]]) -> Iterator[tuple[str, TokenPair]]:
    """Each image's patches in random order, with the tokens of the image before (the last's for the first).

    Both are broken, picture and place: patches at the same place of two pictures are alike enough to be
    predicted. ValueError for fewer than two images. An image whose layout differs from the one before it is
    left out.
    """
    first: tuple[str, TokenPair] | None = None
    previous: TokenPair | None = None
    count = 0
    for image_id, pair in pairs:
        count += 1
        if previous is None:
            first = image_id, pair
        elif previous.layout == pair.layout:
            yield image_id, _mismatched(image_id, pair, previous)
        previous = pair
    if first is None or previous is None or count < 2:
        raise ValueError("shuffling takes at least two images")
    if previous.layout == first[1].layout:
        yield first[0], _mismatched(first[0], first[1], previous)


def _mismatched(image_id: str, pair: TokenPair, other: TokenPair) -> TokenPair:
    keys = unit_keys(image_id, len(pair.pre), salt="shuffled")
    order = torch.from_numpy(keys.argsort(kind="stable"))
    normed = None if pair.pre_normed is None else pair.pre_normed[order]
    return replace(pair, pre=pair.pre[order], pre_normed=normed, post=other.post)
