"""What the probe says: oracles, the tower that changes and the one that does not, failures."""

from __future__ import annotations

import doctest
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

import connector_bench as cb
from connector_bench.reconstruction.probes.ridge import PENALTIES
from connector_bench.training import probe as probe_module
from connector_bench.training.probe_figures import halves
from connector_bench.training.tokens_of_probe import TokensOfModel, TokensOfPair
from tests import tiny_vlms
from tests.training import loops


def once(folder: Path, images: Any, model: Any, **more: Any) -> Any:
    """The only row of a probe that measures one step."""
    probe = cb.ConnectorProbe(images, model, folder=folder, **more)
    probe.step(1)
    (row,) = probe.to_pandas().to_dict("records")
    assert "error" not in row, row
    return row


def tokens(n: int = 60, width: int = 12, count: int = 16) -> Tensor:
    """Images with a subject each, so that their mean tokens differ."""
    drawn = torch.Generator().manual_seed(0)
    scale = torch.arange(1, width + 1) ** -0.5
    return (torch.randn(n, 1, width, generator=drawn) + torch.randn(n, count, width, generator=drawn)) * scale


def test_identity_keeps_everything(tmp_path: Path) -> None:
    row = once(tmp_path, tokens(), (nn.Identity(), nn.Identity()))
    assert row["knor_10"] == row["knor_adj_10"] == row["knor_10_first"] == 1
    assert row["r2_ridge"] == pytest.approx(1, abs=1e-9)
    assert row["lost"] == pytest.approx(0, abs=1e-9)


def test_a_constant_keeps_nothing(tmp_path: Path) -> None:
    class Nothing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ones(len(x), 16, 4)

    row = once(tmp_path, tokens(), (nn.Identity(), Nothing()))
    assert row["lost"] == pytest.approx(1, abs=0.02)
    assert row["r2_ridge"] == pytest.approx(0, abs=0.02)


def test_a_connector_made_better_shows_a_rising_curve(tmp_path: Path) -> None:
    connector = nn.Linear(12, 12, bias=False)
    probe = cb.ConnectorProbe(tokens(200), (nn.Identity(), connector), every=1, folder=tmp_path)
    basis = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(1)))[0]
    for step, rank in enumerate((1, 3, 6, 12)):
        connector.weight.data = basis[:, :rank] @ basis[:, :rank].T
        probe.step(step)
    table = probe.to_pandas()
    for name in ("r2_ridge", "knor_10", "knor_10_first"):
        values = table[name].tolist()
        assert (values == sorted(values)) == (name != "knor_10_first"), name
    assert (table["r2_ridge_low"].iloc[1:].to_numpy() > table["r2_ridge_high"].iloc[:-1].to_numpy()).all()
    assert (table["r2_ridge"] + table["lost"]).tolist() == pytest.approx([1] * 4)
    assert table["r2_ridge"].iloc[-1] == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("n", "choosing"), [(8, 0), (19, 0), (20, 5), (50, 5), (256, 25)])
def test_five_pictures_choose_the_penalty_or_none(n: int, choosing: int) -> None:
    use = halves(n)
    assert (len(use), use.count("validation"), use.count("test")) == (n, choosing, n - n // 2)
    assert use.count("training") >= choosing
    probe_of_few = [half for half in use if half != "test"]
    assert probe_of_few[0] == "training"


def test_figures_are_those_of_independent_libraries(tmp_path: Path) -> None:
    """Overlap by `knn_preservation` of mean tokens, R2 by scikit-learn on the same halves."""
    images = tokens(60)
    connector = nn.Linear(12, 5)
    probe = cb.ConnectorProbe(images, (nn.Identity(), connector), folder=tmp_path)
    probe.step(1)
    row = probe.to_pandas().iloc[0]
    with torch.no_grad():
        post = connector(images)
    scores = cb.knn_preservation(images.mean(1).numpy(), post.mean(1).numpy(), ks=(10,)).scores
    assert row["knor_10"] == pytest.approx(scores["knor_10"].value, rel=1e-12)
    ordered = torch.stack([image for _, image in probe._set.images])
    assert sorted(map(float, ordered.sum((1, 2)))) == sorted(map(float, images.sum((1, 2))))
    with torch.no_grad():
        x, y = (side.double().numpy() for side in (connector(ordered), ordered))
    fit, choose, test = slice(0, 24), slice(24, 30), slice(30, 60)
    scaler = StandardScaler().fit(x[fit].reshape(-1, 5))

    def r2(penalty: float, where: slice) -> float:
        ridge = Ridge(penalty * 24 * 16).fit(scaler.transform(x[fit].reshape(-1, 5)), y[fit].reshape(-1, 12))
        rebuilt = ridge.predict(scaler.transform(x[where].reshape(-1, 5)))
        mean = y[fit].reshape(-1, 12).mean(0)
        truth = y[where].reshape(-1, 12)
        return 1 - ((truth - rebuilt) ** 2).sum() / ((truth - mean) ** 2).sum()

    best = max(PENALTIES, key=lambda penalty: r2(penalty, choose))
    assert row["r2_ridge"] == pytest.approx(r2(best, test), abs=1e-6)


def test_a_pair_has_the_tokens_of_the_model_made_of_it(tmp_path: Path) -> None:
    model, processor = tiny_vlms.make("llava")

    class Tower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model.model.vision_tower

        def forward(self, pixels: Tensor) -> Tensor:
            return self.inner(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]

    pictures = loops.pictures(24)
    pixels = processor.image_processor(images=pictures, return_tensors="pt")["pixel_values"]
    pair = (Tower(), model.model.multi_modal_projector)
    bare = once(tmp_path / "bare", pixels, pair, grid=(4, 4), batch_size=24)
    whole = once(tmp_path / "whole", pictures, model, processor=processor, batch_size=24)
    assert bare["knor_10"] == whole["knor_10"]
    assert bare["r2_ridge"] == pytest.approx(whole["r2_ridge"], abs=0.1), "other halves, since names differ"


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "blip_2", "idefics2", "internvl", "mistral3"])
def test_what_was_kept_never_hides_a_change(tmp_path: Path, family: str) -> None:
    """After a change of connector, of tower, or of weights handed over as arguments: what a new probe says."""
    model, processor = tiny_vlms.make(family)
    model.train()
    pictures = loops.pictures(20)
    probe = cb.ConnectorProbe(pictures, model, processor=processor, every=1, folder=tmp_path / "old")
    torch.manual_seed(2)
    projecting = [
        p for n, p in model.named_parameters() if any(w in n for w in ("proj", "merger", "connector"))
    ]
    everything = list(model.parameters())
    for step, changed in enumerate(([], projecting[-4:], everything, everything, [], projecting[-4:])):
        with torch.no_grad():
            for weight in changed:
                weight += 0.05 * weight.std().nan_to_num() * torch.randn_like(weight)
        probe.step(step)
        old = probe.to_pandas().iloc[-1]
        new = once(tmp_path / f"new{step}", pictures, model, processor=processor)
        for name in ("knor_10", "r2_ridge", "lost"):
            assert old[name] == new[name], (step, name)
    assert all(module.training for module in model.modules())


def test_a_tower_that_stays_runs_on_one_batch(tmp_path: Path) -> None:
    """Then connector alone runs; a tower that is trained runs on all, and its tokens are those it has now."""
    seen: list[int] = []
    net, connector = loops.Net().train(), nn.Linear(loops.WIDTH, 20)
    net.tower.register_forward_hook(lambda module, args, output: seen.append(len(output)))
    probe = cb.ConnectorProbe(
        loops.images(40), (net.tower, connector), every=1, folder=tmp_path, batch_size=8
    )

    def measured(step: int) -> list[int]:
        seen.clear()
        probe.step(step)
        return list(seen)

    first = measured(1)
    assert sum(first) == 40
    assert measured(2) == first[:1]
    net.tower.norm.running_mean += 1  # no gradient, and another tower all the same
    assert sum(measured(3)) == 40
    assert measured(4) == first[:1]
    for step in range(5, 9):
        with torch.no_grad():
            net.tower.embed.weight += 0.1
        assert sum(measured(step)) == 40
    assert probe._tokens._kept == [], "of a tower that is trained nothing is kept"


@pytest.mark.parametrize(
    ("grid", "n_pre", "n_post", "places"),
    [
        ((4, 6), 24, 24, (4, 6)),
        (((4, 6), (2, 3)), 24, 6, (2, 3)),
        ((4, 6), 24, 6, None),
        ((4, 6), 24, 5, None),
        (None, 24, 24, (1, 24)),
        (None, 24, 6, None),
    ],
)
def test_places_of_a_bare_pair(grid: Any, n_pre: int, n_post: int, places: Any) -> None:
    pair = TokensOfPair(nn.Identity(), nn.Identity(), [], [], grid)
    layout = pair._layout(n_pre, n_post)
    assert (layout.n_pre, layout.n_post) == (n_pre, n_post)
    assert (layout.tiles[0].post_grid if layout.tiles else None) == places


def test_merged_tokens_and_a_resampler_are_measured(tmp_path: Path) -> None:
    class Shuffle(nn.Module):
        """Pixel shuffle of 2 x 2: nothing is lost."""

        def forward(self, x: Tensor) -> Tensor:
            blocks = x.view(len(x), 2, 2, 2, 2, -1)
            return blocks.permute(0, 1, 3, 2, 4, 5).reshape(len(x), 4, -1)

    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(1, keepdim=True)

    shuffled = once(tmp_path / "shuffled", tokens(), (nn.Identity(), Shuffle()), grid=((4, 4), (2, 2)))
    assert shuffled["r2_ridge"] == pytest.approx(1, abs=1e-6)
    mean = once(tmp_path / "mean", tokens(), (nn.Identity(), Mean()))
    assert mean["knor_10"] == 1
    truth = tokens()
    best = 1 - float((truth - truth.mean(1, keepdim=True)).square().sum() / truth.square().sum())
    assert mean["r2_ridge"] == pytest.approx(best, abs=0.1)


def test_whatever_fails_is_one_warning_and_a_line(tmp_path: Path) -> None:
    class Breaking(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            Breaking.calls += 1
            if Breaking.calls > 3:
                raise RuntimeError("no memory left")
            return x * float("nan") if Breaking.calls == 1 else x

    connector = Breaking().train()
    probe = cb.ConnectorProbe(tokens(), (nn.Identity(), connector), every=1, folder=tmp_path, batch_size=64)
    with pytest.warns(UserWarning, match="not measured, and training goes on"):
        probe.step(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in range(2, 5):
            probe.step(step)
    assert connector.training
    table = probe.to_pandas()
    assert len(table) == 4
    assert "no memory left" in table["error"].iloc[-1]


def test_the_part_that_fails_is_named_with_what_it_was_given(tmp_path: Path) -> None:
    for parts, says in (
        ((nn.Linear(5, 5), nn.Identity()), r"the encoder failed on \[16, 16, 12\]: RuntimeError: mat1"),
        ((nn.Identity(), nn.Linear(5, 5)), r"the connector failed on \[16, 16, 12\]: RuntimeError: mat1"),
    ):
        probe = cb.ConnectorProbe(tokens(), parts, folder=tmp_path / says[4:8])
        with pytest.warns(UserWarning, match=says):
            probe.step(1)


def test_a_failure_that_is_a_sentence_ends_once(tmp_path: Path) -> None:
    class Glass(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("It is of glass.")

    probe = cb.ConnectorProbe(tokens(), (nn.Identity(), Glass()), folder=tmp_path)
    with pytest.warns(UserWarning, match=r"goes on: .*It is of glass\. Further failures are noted in"):
        probe.step(1)
    assert probe.to_pandas()["error"].iloc[0].endswith("glass.")


def test_warnings_that_are_errors_do_not_end_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probe = cb.ConnectorProbe(tokens(), (nn.Identity(), nn.Identity()), folder=tmp_path / "file")
    (tmp_path / "file").write_text("")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe.step(1)
        probe.finish()
    assert "was not measured" in capsys.readouterr().err


def test_a_probe_without_a_model_says_so(tmp_path: Path) -> None:
    probe = cb.ConnectorProbe(loops.pictures(20), folder=tmp_path)
    with pytest.warns(UserWarning, match="given no model"):
        probe.step(1)
    with pytest.raises(ValueError, match="name what is measured"):
        probe.for_lightning()


def test_files_are_the_pictures_that_lie_in_them(tmp_path: Path) -> None:
    folder = tmp_path / "bilder ä"
    folder.mkdir()
    given = pictures(9)
    for number, picture in enumerate(given):
        picture.save(folder / f"{number}.png")
    in_memory = cb.ConnectorProbe(given, ks=(5,))._set
    assert cb.ConnectorProbe(sorted(folder.iterdir()), ks=(5,))._set.fingerprint == in_memory.fingerprint
    (folder / "broken.jpg").write_bytes(b"none")
    with pytest.warns(UserWarning, match="1 of the probe's pictures left out, the first is .*broken.jpg"):
        read = cb.ConnectorProbe(folder, ks=(5,))._set
    assert [name for name, _ in read.images] == [name for name, _ in in_memory.images]


def test_tensors_of_pictures_are_the_pictures() -> None:
    """As torchvision reads them and channels last, one by one and stacked: what `cb.capture` takes."""
    given = pictures(9)
    known = cb.ConnectorProbe(given, ks=(5,))._set.fingerprint
    last = torch.stack([torch.from_numpy(np.asarray(one).copy()) for one in given])
    first = last.permute(0, 3, 1, 2)
    for tensors in (first, last, list(first), [*last[:4], *first[4:]]):
        assert cb.ConnectorProbe(tensors, ks=(5,))._set.fingerprint == known


def pictures(n: int) -> list[Image.Image]:
    drawn = np.random.default_rng(0).integers(0, 255, (n, 8, 9, 3), dtype=np.uint8)
    return [Image.fromarray(one) for one in drawn]


def test_equal_images_count_once_and_large_k_is_left_out(tmp_path: Path) -> None:
    images = torch.cat([tokens(20), tokens(20)])
    with pytest.warns(UserWarning, match="k above 18"):
        probe = cb.ConnectorProbe(images, (nn.Identity(), nn.Identity()), ks=(5, 30), folder=tmp_path)
    probe.step(1)
    assert probe._curve.lines[0]["knor_5"]["n"] == 20
    assert "knor_30" not in probe.to_pandas()


def test_a_dataset_of_tensors_is_read(tmp_path: Path) -> None:
    class Images(torch.utils.data.Dataset[Tensor]):
        def __getitem__(self, number: int) -> Tensor:
            return tokens(20)[number]

    assert len(cb.ConnectorProbe(Images(), (nn.Identity(), nn.Identity()), folder=tmp_path)._set) == 20


def test_tensors_of_unequal_length_are_measured(tmp_path: Path) -> None:
    images = [image[: 9 + number % 2] for number, image in enumerate(tokens(40))]
    row = once(tmp_path, images, (nn.Identity(), nn.Identity()))
    assert row["knor_10"] == row["knor_10_first"] == 1
    assert row["r2_ridge"] == pytest.approx(1, abs=1e-6)


def test_the_zoos_models_are_measured(tmp_path: Path) -> None:
    from connector_bench.zoo import load
    from connector_bench.zoo.splits import find_split, make_scene

    pictures = [make_scene(find_split("test"), index)[0].image for index in range(24)]
    row = once(tmp_path, pictures, load("rank8", 0))
    assert 0 < row["knor_10"] < 1


@pytest.mark.parametrize("name", ["ConnectorProbe", "ConnectorProbe.for_trainer"])
def test_examples_of_docstrings_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.DocTestFinder().find(cb.ConnectorProbe, "ConnectorProbe", module=probe_module)
    (example,) = [one for one in found if one.name == name and one.examples]
    outcome = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example)
    assert outcome.attempted > 2
    assert outcome.failed == 0


def test_kept_tokens_lie_on_the_host(tmp_path: Path) -> None:
    model, processor = tiny_vlms.make("llava")
    probe = cb.ConnectorProbe(loops.pictures(20), model, processor=processor, folder=tmp_path)
    probe.step(1)
    assert isinstance(probe._tokens, TokensOfModel)
    assert len(probe._tokens._kept) == len(probe._set.groups)
    assert np.all([call[0][0].tensor.device.type == "cpu" for call in probe._tokens._kept[0][0][0]])
