"""What is gathered batch by batch: the same bits in any batches, no waiting for the device, sums without float64."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from connector_bench.pictures import for_controls
from connector_bench.reconstruction import gathered_so_far
from connector_bench.reconstruction.gathered_so_far import ResumableSample
from connector_bench.reconstruction.learning import ProbeLearner
from connector_bench.reconstruction.probes import state_size
from connector_bench.reconstruction.probes.attention_batches import PackedImages
from connector_bench.reconstruction.probes.attention_fit import ImageReservoir
from connector_bench.reconstruction.probes.control_probes import ControlSample
from connector_bench.reconstruction.probes.moments import Moments, MomentsStream
from connector_bench.reconstruction.probes.reservoir import Reservoir
from connector_bench.reconstruction.probes.ridge import choose, pooled_r2
from connector_bench.reconstruction.probes.sample import ProbeSample
from connector_bench.reconstruction.store import RunStore
from connector_bench.types import Tile, TokenBatch, TokenLayout, TokenPair

from .planted import patches, small_config

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]
TWO_SHAPES = TokenLayout((Tile((6, 6), (3, 3)), Tile((5, 4), (3, 2))), 15)
LAYOUTS = (TokenLayout((Tile((6, 6), (3, 3)),), 9), TWO_SHAPES)
UNPLACED = TokenLayout((Tile((6, 6), None),), 7)


def pairs(count: int, layouts: tuple[TokenLayout, ...]) -> Iterator[tuple[str, TokenPair]]:
    for number in range(count):
        layout = layouts[number % 3 % len(layouts)]
        pre = patches(number, layout)
        own = pre[: layout.n_post]
        yield f"image-{number}", TokenPair(pre, own.square(), layout, None, (own[:, :8], own[:, 8:]))


def gathered(
    layouts: tuple[TokenLayout, ...], size: int, device: str = "cpu", **changes: Any
) -> ResumableSample:
    sample = ResumableSample(small_config(chunk_rows=100, patch_pairs=150, attention_images=20, **changes))
    given = list(pairs(90, layouts))
    sample.begin([name for name, _ in given], [])
    for first in range(0, len(given), size):
        names, some = zip(*given[first : first + size], strict=True)
        batch = TokenBatch.of(names, some)
        sample.add(batch.mapped(lambda tokens: tokens.to(device)))
    return sample


def state(sample: ResumableSample) -> dict[str, torch.Tensor]:
    return sample.connector.state()[0] | sample.controls.tensors()


@pytest.mark.parametrize("layouts", [LAYOUTS, (UNPLACED,)])
def test_batches_of_any_size_gather_the_same_bits(layouts: tuple[TokenLayout, ...]) -> None:
    expected = state(gathered(layouts, 1))
    for size in (7, 64):
        found = state(gathered(layouts, size))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layouts", [LAYOUTS, (UNPLACED,)])
def test_going_on_from_the_state_changes_no_bit(layouts: tuple[TokenLayout, ...], device: str) -> None:
    whole = gathered(layouts, 1, device)
    sample = ResumableSample(whole.connector.config)
    given = list(pairs(90, layouts))
    sample.begin([name for name, _ in given], [])
    for number, (name, pair) in enumerate(given):
        sample.add(TokenBatch.of([name], [pair]).mapped(lambda tokens: tokens.to(device)))
        if number % 20 == 0:
            sample.connector = ProbeSample.from_state(*sample.connector.state())
            sample.controls = ControlSample.from_tensors(sample.controls.tensors(), whole.connector.config)
    expected = state(whole)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in state(sample).items())
    assert sample.connector.device.type == device
    assert all(part.device.type == device for part in sample.connector.sampled_patches())


@pytest.mark.parametrize("before", ["an image", "another process"])
def test_images_read_back_go_to_the_device_of_new_ones(before: str) -> None:
    """`meta`, which holds no values, stands for a card: nothing on it can be put end to end with what is on the CPU."""
    held, read_back = ImageReservoir(4, 5, None), ImageReservoir(4, 5, None)
    for name, pair in pairs(3, (UNPLACED,)):
        held.add(name, "full", pair.pre, pair.post, pair.layout)
    read_back.load("a", held.tensors("a"))
    (new, pair), *_ = pairs(1, (UNPLACED,))
    on_card = ImageReservoir(4, 5, None) if before == "another process" else read_back
    on_card.add(f"new {new}", "full", pair.pre.to("meta"), pair.post.to("meta"), pair.layout)
    if before == "another process":
        on_card.absorb(read_back)
    assert on_card.device == torch.device("meta")
    assert len(PackedImages.of(on_card.images(), torch.device("meta"))) == 4


def test_patches_of_a_shape_of_cell_that_did_not_come_again_go_with_the_others() -> None:
    sample = gathered(LAYOUTS, 7).connector
    expected = [len(part) for part in sample.sampled_patches()]
    cells = next(iter(sample.cells.values()))
    for reservoir in (cells.training, cells.validation):
        columns = reservoir.rows()[1]
        columns |= {name: columns[name].to("meta") for name in ("x", "y")}
    assert [part.device.type for part in sample.sampled_patches()] == ["meta", "meta"]
    assert [len(part) for part in sample.sampled_patches()] == expected


@pytest.mark.parametrize("layouts", [LAYOUTS, (UNPLACED,)])
def test_state_is_read_back_to_the_models_device(layouts: tuple[TokenLayout, ...], tmp_path: Path) -> None:
    written = gathered(layouts, 7)
    written.store = RunStore(tmp_path, {})
    written.flush()
    found = ResumableSample(written.connector.config, written.store, device=torch.device("meta"))
    assert found.connector.device.type == "meta"
    assert found.connector.seen.fingerprint() == written.connector.seen.fingerprint()
    training, validation = found.connector.sampled_patches()
    assert {training.device.type, validation.device.type} == {"meta"}
    assert found.warning is None
    again = ResumableSample(written.connector.config, written.store, device=torch.device("cpu"))
    assert all(torch.equal(tensor, state(written)[name]) for name, tensor in state(again).items())


def test_state_read_back_without_room_on_the_card_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written = gathered(LAYOUTS, 7)
    written.store = RunStore(tmp_path, {})
    written.flush()
    monkeypatch.setattr(state_size, "free_bytes", lambda device: 1000)
    found = ResumableSample(written.connector.config, written.store, device=torch.device("cuda"))
    assert found.connector.device.type == "cpu"
    assert found.warning is not None
    assert "fitted on the CPU" in found.warning


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("layouts", [LAYOUTS, (UNPLACED,)])
def test_cuda_gathers_what_the_cpu_gathers(layouts: tuple[TokenLayout, ...]) -> None:
    expected, sample = state(gathered(layouts, 7)), gathered(layouts, 7, "cuda")
    assert all(one.moments["full"].value().xx.is_cuda for one in sample.connector.cells.values())
    for name, tensor in state(sample).items():
        assert not tensor.is_cuda
        kept = any(part in name for part in (".column.", "images.", "keys", ".waiting_", "seen"))
        if (
            kept and tensor.dtype != torch.float64
        ):  # means over an image's tokens are sums, in the device's order
            assert torch.equal(tensor, expected[name]), name
        else:
            scale = expected[name].abs().max() if tensor.numel() else 1
            torch.testing.assert_close(tensor, expected[name], rtol=1e-9, atol=1e-11 * float(scale))


class Waiting(TorchDispatchMode):
    """Counts what makes the host wait for a device: reading a number, or a result whose size depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        name = func.name().split(".")[0]
        self.count += name in (
            "aten::_local_scalar_dense",
            "aten::nonzero",
            "aten::masked_select",
            "aten::unique",
        )
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("layouts", [LAYOUTS, (UNPLACED,)])
def test_the_device_is_asked_once_a_batch(layouts: tuple[TokenLayout, ...]) -> None:
    names, some = zip(*pairs(60, layouts), strict=True)
    sample = ResumableSample(small_config(chunk_rows=100, patch_pairs=150))
    sample.begin(names, [])
    sample.add(TokenBatch.of(names[:20], some[:20]))
    with Waiting() as waiting:
        sample.add(TokenBatch.of(names[20:40], some[20:40]))
        sample.add(TokenBatch.of(names[40:], some[40:]))
    assert waiting.count == 2


def test_of_a_batch_with_a_fault_nothing_is_taken() -> None:
    sample = gathered(LAYOUTS, 90)
    before = state(sample)
    names, some = zip(*pairs(93, LAYOUTS), strict=True)
    batch = TokenBatch.of(names[90:], some[90:])
    batch.post[-1, 0] = torch.nan
    with pytest.raises(ValueError, match=r"image image-92 at post \(the connector's output\)"):
        sample.add(batch)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(sample).items())


def test_rows_stay_in_the_precision_they_came_in() -> None:
    names, some = zip(*pairs(30, LAYOUTS[:1]), strict=True)
    half = TokenBatch.of(names, some).mapped(lambda tokens: tokens.bfloat16())
    sample = ResumableSample(small_config())
    sample.add(half)
    (cells,) = sample.connector.cells.values()
    assert cells.rows_up_to("full").x.dtype == torch.bfloat16
    other = ResumableSample(small_config())
    other.add(half.mapped(lambda tokens: tokens.float()))
    (expected,) = other.connector.cells.values()
    assert torch.equal(cells.rows_up_to("full").x.float(), expected.rows_up_to("full").x)
    assert torch.equal(cells.moments["full"].value().xx, expected.moments["full"].value().xx)


def test_controls_learn_from_the_control_images_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered_so_far, "CONTROL_TRAINING_IMAGES", 20)
    given = dict(pairs(60, LAYOUTS[:1]))
    learner = ProbeLearner(small_config(chunk_rows=1))
    learner.begin(given, [])
    chosen = for_controls(given, 20)
    assert {name for name in given if learner.wants_untrained(name)} == chosen
    for name, pair in given.items():
        learner.learn(TokenBatch.of([name], [pair]))
    gathered = learner._gathered
    assert gathered is not None
    tensors = gathered.controls.tensors()
    for side in ("control.patches", "control.untrained.0.2x2"):
        rows = sum(int(tensors[f"{side}.{part}.n"]) for part in ("training", "validation"))
        assert rows == 20 * (36 if "patches" in side else 9)
    assert len(gathered.connector.seen) == 60


def test_a_device_without_room_leaves_the_state_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = TokenLayout((Tile((24, 24), (24, 24)),), 576)
    batch = TokenBatch(
        ("a",), (layout,), torch.zeros(576, 1024).bfloat16(), torch.zeros(576, 4096).bfloat16()
    )
    config = small_config(chunk_rows=None, patch_pairs=200_000, validation_pairs=20_000)
    needed = state_size.state_bytes(batch, config)
    moments = (4 + 6) * 8 * 4096 * 5120
    rows = 1.25 * 220_000 * 5120 * 2
    assert moments + rows < needed < 1.3 * (moments + rows)
    assert state_size.fits(needed, 2 * needed)
    assert not state_size.fits(needed, needed)
    monkeypatch.setattr(state_size, "free_bytes", lambda device: needed)
    device, warning = state_size.state_device(batch, small_config(device="cuda"))
    assert (device.type, warning) == ("cuda", None)
    device, warning = state_size.state_device(batch, small_config(device="cuda", patch_pairs=10**7))
    assert device.type == "cpu"
    assert warning is not None
    assert "gathered on the CPU" in warning


def nasty(rows: int, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(rows, 12, generator=generator, dtype=torch.float64)
    x = y @ torch.randn(12, 24, generator=generator, dtype=torch.float64)
    x += 0.5 * torch.randn(rows, 24, generator=generator, dtype=torch.float64)
    if kind == "mean 1,000 deviations away":
        x, y = x + 1000 * x.std(0), y + 1000
    if kind == "one massive dimension":
        x[:, 3] = 3000 + 500 * x[:, 3]
    if kind == "a tiny dimension beside it":
        x[:, 3], x[:, 4] = 3000 + 500 * x[:, 3], 1e-5 * x[:, 4]
    return x.float(), y.float()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize(
    "kind", ["mean 1,000 deviations away", "one massive dimension", "a tiny dimension beside it"]
)
def test_fp32_sums_lose_nothing_that_counts(kind: str, bfloat16: bool, device: str) -> None:
    """Covariances within 1e-6 of the product of their deviations, R2 of the ridge within 1e-6, of those in float64.

    In bfloat16 a mean 1,000 deviations away leaves a dimension a handful of values, whose roundings do not average.
    """
    x, y = nasty(20_000, kind)
    if bfloat16:
        x, y = x.bfloat16(), y.bfloat16()

    def of(sums: Any, rows: slice) -> Moments:
        stream = MomentsStream(24, 12, 8192, sums)
        stream.add(x[rows].to(device), y[rows].to(device))
        return stream.value()

    exact, found = of("float64", slice(0, 16_000)), of("float32", slice(0, 16_000))
    deviation_x, deviation_y = exact.xx.diagonal().sqrt(), exact.yy.sqrt()
    most = 1e-5 if bfloat16 else 1e-6
    assert float(((found.xx - exact.xx) / deviation_x[:, None] / deviation_x).abs().max()) < most
    assert float(((found.xy - exact.xy) / deviation_x[:, None] / deviation_y).abs().max()) < most
    torch.testing.assert_close(found.mean_x, exact.mean_x, rtol=1e-12, atol=1e-12)
    held_out = of("float64", slice(16_000, None))
    r2 = [pooled_r2(choose(m, held_out).affine, held_out, exact.mean_y) for m in (exact, found)]
    assert r2[1] == pytest.approx(r2[0], abs=1e-6)


def test_fp32_sums_of_inputs_of_deficient_rank_have_a_ridge() -> None:
    _, y = nasty(20_000, "")
    x = y @ torch.randn(12, 64, generator=torch.Generator().manual_seed(3)) + 100
    r2 = []
    for sums in ("float64", "float32"):
        training, validation = MomentsStream(64, 12, sums=sums), MomentsStream(64, 12, sums=sums)
        training.add(x[:16_000], y[:16_000])
        validation.add(x[16_000:], y[16_000:])
        fit = choose(training.value(), validation.value())
        r2.append(pooled_r2(fit.affine, Moments.of(x[16_000:], y[16_000:]), y[:16_000].double().mean(0)))
    assert r2[1] == pytest.approx(r2[0], abs=1e-5)


def test_fp32_sums_are_made_in_fp32_whatever_was_allowed() -> None:
    x, y = nasty(3000, "one massive dimension")
    before = MomentsStream(24, 12, sums="float32")
    before.add(x, y)
    torch.set_float32_matmul_precision("medium")
    try:
        stream = MomentsStream(24, 12, sums="float32")
        stream.add(x, y)
        assert torch.equal(stream.value().xx, before.value().xx)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("sizes", [[1] * 300, [500, 3, 90], [40] * 12, [7, 200, 7, 300]])
def test_a_reservoir_is_the_smallest_keys_of_all(sizes: list[int], device: str) -> None:
    generator = np.random.default_rng(len(sizes))
    keys = generator.integers(0, 2**64 - 1, sum(sizes), dtype=np.uint64)
    x = torch.arange(len(keys), dtype=torch.float32)[:, None]
    order = np.argsort(keys)[:64]
    reservoir, first = Reservoir(64), 0
    for number, size in enumerate(sizes):
        part = slice(first, first + size)
        reservoir.add(keys[part], {"x": x[part].to(device)})
        first += size
        if number % 5 == 0:
            reservoir.tensors("a")
            reservoir.rows()
        assert len(reservoir._columns["x"]) <= 80
    np.testing.assert_array_equal(reservoir.rows()[0], keys[order])
    assert torch.equal(reservoir.rows()[1]["x"].cpu(), x[torch.from_numpy(order)])
    assert reservoir.tensors("a")["a.column.x"].tolist() == x[torch.from_numpy(order)].tolist()


def test_a_reservoir_refuses_another_precision_than_it_holds() -> None:
    reservoir = Reservoir(10)
    reservoir.add(np.array([1], dtype=np.uint64), {"x": torch.zeros(1, 2).bfloat16()})
    with pytest.raises(ValueError, match=r"came in torch\.bfloat16 before"):
        reservoir.add(np.array([2], dtype=np.uint64), {"x": torch.zeros(1, 2)})
