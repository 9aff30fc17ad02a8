"""Fits run where the sample lies: the same code on the CPU and on CUDA, where the step is a captured graph."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from connector_bench.float32 import full_float32
from connector_bench.protocol import respelled
from connector_bench.reconstruction.precision import fit_device, with_room
from connector_bench.reconstruction.probes.attention_batches import ImageSample, PackedImages
from connector_bench.reconstruction.probes.attention_probe import (
    AttentionProbe,
    AttentionShape,
    SampledImage,
    TokenPlaces,
)
from connector_bench.reconstruction.probes.control_probes import ControlSample
from connector_bench.reconstruction.probes.mlp import Rows, RowSample, fit_rows, unwhitening, whitening
from connector_bench.reconstruction.probes.moments import Moments
from connector_bench.reconstruction.probes.ridge import choose
from connector_bench.reconstruction.probes.sample import ProbeSample
from connector_bench.reconstruction.probes.training_loop import Schedule, train
from connector_bench.reconstruction.probes.training_step import OptimizerStep
from connector_bench.types import TokenBatch

from .planted import images, learn, small_config
from .test_attention import config as attention_config
from .test_attention import resampled
from .test_control_probes import narrow
from .test_mlp import rows

CPU = torch.device("cpu")
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.mark.parametrize("ill", [1.0, 300.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_pseudo_inverse_of_a_whitening_needs_no_decomposition(ill: float, dtype: torch.dtype) -> None:
    sample = rows(3000, 0, ill)
    wide = torch.cat([sample.x, 2 * sample.x[:, :2], torch.ones(3000, 1), sample.x[:, :1] * 1e4 + 1e7], 1)
    matrix = whitening(Moments.of(wide, sample.y)).to(dtype).double()
    assert matrix.shape[1] < matrix.shape[0]
    torch.testing.assert_close(unwhitening(matrix), torch.linalg.pinv(matrix), rtol=1e-9, atol=1e-9)


def test_inputs_in_bfloat16_are_what_autocast_makes_of_them() -> None:
    fitted = fit_rows(rows(500, 0), rows(100, 1), small_config(schedule=Schedule(epochs=1)))
    z = fitted.mlp.prepare(rows(64, 2).x)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(fitted.mlp(z), fitted.mlp(z.bfloat16()))


def test_rows_in_half_precision_are_fitted_as_their_values_in_float32() -> None:
    half, held_out = (Rows(r.x.bfloat16(), r.y.bfloat16()) for r in (rows(800, 0), rows(200, 1)))
    exact = [Rows(r.x.float(), r.y.float()) for r in (half, held_out)]
    found, expected = fit_rows(half, held_out, small_config()), fit_rows(*exact, small_config())
    assert found.training == expected.training
    assert torch.equal(found.ridge.affine.weight, expected.ridge.affine.weight)


def sampled_images(counts: list[int]) -> list[SampledImage]:
    generator = torch.Generator().manual_seed(0)

    def image(count: int) -> SampledImage:
        tokens, patches = (torch.randn(n, 4, generator=generator) for n in (count, count + 2))
        index, boxes = torch.arange(count), torch.rand(count, 4, generator=generator)
        return SampledImage(0, tokens, index, boxes, patches, torch.rand(count + 2, 4, generator=generator))

    return [image(count) for count in counts]


def test_images_of_unequal_length_make_batches_whose_padding_counts_for_nothing() -> None:
    batch_of = sampled_images([3, 7, 1, 5])
    probe = AttentionProbe(AttentionShape(4, 4, max_tokens=7, width=16, heads=4, layers=2)).eval()
    packed = PackedImages.of(batch_of, CPU)
    sample = ImageSample(probe, packed, packed, batch=3)
    with torch.no_grad():
        apart = [
            probe(one.tokens[None], places_of(one), one.patch_boxes[None])[0] - one.patches
            for one in batch_of
        ]
        chosen = torch.cat([apart[3], apart[1]]).square().mean()
        torch.testing.assert_close(sample.loss(probe, torch.tensor([3, 1])), chosen)
        expected = float(torch.cat(apart).square().mean())
        assert sample.validation_loss(probe) == pytest.approx(expected, rel=1e-6)


def places_of(image: SampledImage) -> TokenPlaces:
    padding = torch.zeros(1, len(image.tokens), dtype=torch.bool)
    return TokenPlaces(image.token_index[None], image.token_boxes[None], padding)


def test_a_step_has_the_rate_of_its_number_and_counts_an_incomplete_batch() -> None:
    network = nn.Linear(3, 2)
    reference = nn.Linear(3, 2)
    reference.load_state_dict(network.state_dict())
    x, y = torch.randn(20, 3), torch.randn(20, 2)
    groups = [{"params": list(network.parameters()), "lr": 0.1, "weight_decay": 0.01}]

    def loss(probe: nn.Module, index: torch.Tensor) -> torch.Tensor:
        return (probe(x[index]) - y[index]).square().mean()

    step = OptimizerStep(network, loss, groups, lambda number: 1 / (1 + number), 8, 2, CPU, graphed=True)
    optimizer = torch.optim.AdamW(reference.parameters(), lr=0.1, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda number: 1 / (1 + number))
    for part in torch.randperm(20, generator=torch.Generator().manual_seed(0)).split(16):
        step(part)
        optimizer.zero_grad()
        loss(reference, part).backward()
        nn.utils.clip_grad_norm_(reference.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
    assert (step.steps, step.replayed) == (2, 0)
    torch.testing.assert_close(network.weight, reference.weight)


def test_a_device_that_runs_out_of_memory_costs_a_sentence() -> None:
    troubles, asked = [], []

    def fit(device: torch.device) -> str:
        asked.append(device.type)
        if device.type != "cpu":
            raise torch.OutOfMemoryError("out of memory")
        return "fitted"

    assert with_room("the probe", fit, torch.device("meta"), troubles) == "fitted"
    assert asked == ["meta", "cpu"]
    (sentence,) = troubles
    assert "too little free memory to fit the probe: fitted on the CPU" in sentence


def test_fits_run_where_the_sample_lies_unless_another_device_is_named() -> None:
    assert fit_device("auto", torch.device("meta")) == torch.device("meta")
    assert fit_device("cpu", torch.device("meta")) == CPU


def test_tf32_stays_as_the_model_s_wrapper_set_it() -> None:
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    try:
        matmul.allow_tf32 = True
        with full_float32():
            assert not matmul.allow_tf32
        assert matmul.allow_tf32
    finally:
        matmul.allow_tf32 = before


def test_controls_learn_from_few_of_the_sample_s_rows() -> None:
    sample, controls = gathered(small_config(control_pairs=100))
    assert len(sample.sampled_patches()[0]) == 100
    assert controls.fit(sample).failed == {}
    assert respelled({"shuffled_pairs": 100})[0] == {"control_pairs": 100}


def gathered(config, count: int = 40) -> tuple[ProbeSample, ControlSample]:
    sample, controls = ProbeSample(config), ControlSample(config)
    for name, pair in images(count):
        learn(sample, name, narrow(pair))
        controls.update(TokenBatch.of([name], [narrow(pair)]), [sample.fold_of(name)])
    return sample, controls


def trained(device: str, graphed: bool) -> tuple[nn.Module, object, int]:
    """Some 400 steps with an incomplete last batch, two batches a step."""
    config = small_config(mlp_width=64, schedule=Schedule(epochs=12, batch_size=64, accumulate=2))
    at = torch.device(device)
    training, held_out = rows(4200, 0).to(at), rows(400, 1).to(at)
    network = fit_rows(training, held_out, replace(config, schedule=Schedule(epochs=0))).mlp
    sample = RowSample(network, training, held_out, 64)
    return network, train(network, sample, config.schedule, graphed=graphed), 12 * 33


@on_cuda
def test_a_graph_trains_as_single_launches_do() -> None:
    graph, launches = trained("cuda", True), trained("cuda", False)
    assert graph[1].steps == launches[1].steps == graph[2]
    assert graph[1].validation_losses == pytest.approx(launches[1].validation_losses, rel=1e-3)
    for name, weight in graph[0].state_dict().items():
        torch.testing.assert_close(weight, launches[0].state_dict()[name], rtol=1e-2, atol=1e-3)


@on_cuda
def test_all_full_steps_but_the_first_are_replayed() -> None:
    network = nn.Linear(8, 8, device="cuda")
    x = torch.randn(64, 8, device="cuda")
    groups = [{"params": list(network.parameters()), "lr": 0.01, "weight_decay": 0.0}]

    def loss(probe: nn.Module, index: torch.Tensor) -> torch.Tensor:
        return (probe(x[index]).float() - x[index]).square().mean()

    with torch.cuda.stream(torch.cuda.Stream()):
        step = OptimizerStep(network, loss, groups, lambda _: 1.0, 16, 1, x.device, graphed=True)
        for _ in range(20):
            for part in torch.arange(40, device="cuda").split(16):
                step(part)
    assert (step.steps, step.replayed) == (60, 38)


@on_cuda
def test_the_ridge_is_the_cpu_s() -> None:
    sample, held_out = rows(4000, 0, 300.0), rows(500, 1, 300.0)
    here, there = (
        choose(*(part.to(torch.device(device)).moments(small_config()) for part in (sample, held_out)))
        for device in ("cpu", "cuda")
    )
    assert there.penalty == here.penalty
    torch.testing.assert_close(there.affine.weight.cpu(), here.affine.weight, rtol=1e-9, atol=1e-9)


@on_cuda
@pytest.mark.parametrize("probe", ["mlp", "attention"])
def test_a_fit_on_the_device_is_the_cpu_s(probe: str) -> None:
    curves = []
    for device in ("cpu", "cuda"):
        if probe == "mlp":
            config = small_config(curve=True, device=device, schedule=Schedule(epochs=8, batch_size=64))
            sample, controls = gathered(config, 150)
        else:
            config = replace(attention_config(), device=device)
            sample, controls = ProbeSample(config), None
            for name, pair in resampled(200):
                learn(sample, name, pair)
        fitted = sample.fit()
        assert fitted.troubles == ()
        assert all(not weight.is_cuda for weight in fitted.weights().values())
        curves.append(fitted.learning_curve)
        if controls is not None:
            assert controls.fit(sample).failed == {}
    for name, r2 in curves[0].r2.items():
        tolerance = 1e-9 if name in ("ridge", "pooled") else 0.005
        assert curves[1].r2[name] == pytest.approx(r2, abs=tolerance)


@on_cuda
def test_a_card_without_room_leaves_the_fit_to_the_cpu() -> None:
    config = small_config(device="cuda")
    sample, _ = gathered(config)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        fitted = sample.fit()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(fitted.troubles) == 1
    assert fitted.learning_curve.r2["ridge"][-1] > 0.5
