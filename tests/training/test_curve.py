"""One curve through kills, resumes and several processes, and where its scalars go."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

import connector_bench as cb
from connector_bench.training.curve_folder import EARLIER, LINES, read_lines
from tests.training import killed_training, loops

ROOT = Path(__file__).parents[2]
TIMES = ["seconds", "training_seconds"]


def test_a_killed_and_resumed_training_keeps_one_curve(tmp_path: Path) -> None:
    """The line behind the checkpoint was written by the run that died, and is written anew by the one that goes on."""
    whole = killed_training.probed(tmp_path / "whole")
    whole.train()
    unbroken = pd.DataFrame(table(tmp_path / "whole" / "probe")).drop(columns=TIMES)
    command = [sys.executable, "-m", "tests.training.killed_training", str(tmp_path / "killed")]
    died = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert died.returncode == -9, died.stderr[-2000:]
    left = tmp_path / "killed" / "probe"
    assert [line["step"] for line in read_lines(left / LINES)] == [0, 2, 4, 6]
    with (left / LINES).open("a") as file:
        file.write('{"step": 7, "knor_10": {"val')
    resumed = killed_training.probed(tmp_path / "killed")
    (saved,) = (tmp_path / "killed" / "output").glob("checkpoint-*")
    # transformers 5.23 renames LLaVA's weights as it saves them, and a trainer that goes on finds none of them
    resumed.model.load_state_dict(type(resumed.model).from_pretrained(saved).state_dict())
    resumed.train(resume_from_checkpoint=True)
    assert list(table(left).index) == [0, 2, 4, 6, 8, 10]
    pd.testing.assert_frame_equal(table(left).drop(columns=TIMES), unbroken)
    assert not list(left.glob(f"{EARLIER}*"))
    assert resumed.losses == whole.losses[2 * killed_training.SAVED :]


def table(folder: Path) -> pd.DataFrame:
    unused = loops.pictures(40)
    return cb.ConnectorProbe(unused, folder=folder).to_pandas()


def pair() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return nn.Identity(), nn.Linear(loops.PIXELS, 8)


def probe(folder: Path, n: int = 30) -> Any:
    return cb.ConnectorProbe(loops.images(n), pair(), every=2, folder=folder)


def steps(folder: Path) -> list[int]:
    return [line["step"] for line in read_lines(folder / LINES)]


def test_a_plain_loop_goes_on_from_where_it_begins(tmp_path: Path) -> None:
    first = probe(tmp_path)
    for step in range(1, 8):
        first.step(step)
    assert steps(tmp_path) == [1, 2, 4, 6]
    second = probe(tmp_path)
    for step in range(4, 9):  # its checkpoint was of step 3
        second.step(step)
    assert steps(tmp_path) == [1, 2, 4, 6, 8]
    for step in range(3, 6):  # in the same process, back to step 2
        second.step(step)
    assert second.finish() == tmp_path / "curve.png"
    assert steps(tmp_path) == [1, 2, 4, 5]
    assert (first._curve.first == second._curve.first).all()


def test_other_runs_are_moved_aside(tmp_path: Path) -> None:
    """A run from the start, one of other pictures, and one whose first step is gone."""
    for step in range(1, 5):
        (one := probe(tmp_path)).step(step) if step == 1 else one.step(step)
    with pytest.warns(UserWarning, match="curve of another run"):
        (anew := probe(tmp_path)).step(1)
    anew.step(2)
    assert steps(tmp_path / f"{EARLIER}1") == [1, 2, 4]
    assert steps(tmp_path) == [1, 2]
    with pytest.warns(UserWarning, match="curve of another run"):
        probe(tmp_path, n=31).step(3)
    assert steps(tmp_path / f"{EARLIER}2") == [1, 2]
    (tmp_path / "first_step.safetensors").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="curve of another run"):
        probe(tmp_path, n=31).step(4)
    assert steps(tmp_path) == [4]


def test_a_training_that_begins_keeps_the_curve_of_the_one_before(tmp_path: Path) -> None:
    """Of the same pictures, in the same folder: step 0 is measured anew, and neither curve has the other's lines."""
    for seed in (1, 2):
        torch.manual_seed(seed)
        parts = nn.Identity(), nn.Linear(loops.PIXELS, 8)
        own = cb.ConnectorProbe(loops.images(30), parts, every=2, folder=tmp_path)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            own.begin()
        assert [str(one.message).count("curve of another run") for one in said] == [1] * (seed - 1)
        for step in range(1, 6):
            own.step(step)
    assert steps(tmp_path) == steps(tmp_path / f"{EARLIER}1") == [0, 2, 4]
    earlier, later = (read_lines(folder / LINES)[0] for folder in (tmp_path / f"{EARLIER}1", tmp_path))
    assert earlier["r2_ridge"]["value"] != later["r2_ridge"]["value"]
    assert later["knor_10_first"]["value"] == read_lines(tmp_path / LINES)[-1]["knor_10_first"]["value"] == 1


def test_two_probes_never_write_one_curve(tmp_path: Path) -> None:
    """The later one has the folder; the earlier one says so once and leaves the file alone."""
    one, other = probe(tmp_path), probe(tmp_path, n=31)
    one.begin()
    with pytest.warns(UserWarning, match="curve of another run"):
        other.begin()
    with pytest.warns(
        UserWarning, match=r"another probe's by now; each needs a folder= of its own\. Further .*nowhere"
    ):
        one.step(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in range(2, 5):
            other.step(step)
            one.step(step)
    assert steps(tmp_path) == [0, 2, 4]
    assert {line["knor_10"]["n"] for line in read_lines(tmp_path / LINES)} == {31}


def test_a_curve_without_a_measured_step_is_not_drawn(tmp_path: Path) -> None:
    own = cb.ConnectorProbe(loops.images(30), (nn.Identity(), nn.Linear(3, 3)), every=2, folder=tmp_path)
    with pytest.warns(UserWarning, match="step 1 was not measured"):
        own.step(1)
    own.finish()
    assert steps(tmp_path) == [1]
    assert not (tmp_path / "curve.png").exists()


def test_two_processes(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    done = subprocess.run(
        [*torchrun, "-m", "tests.training.two_processes", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "SAME [[True, True], [True, True]]" in done.stdout
    assert "RANKS DIFFER True True" in done.stdout
    assert "not measured" not in done.stderr
    assert steps(tmp_path / "loop") == [1, 2, 4, 6]
    assert steps(tmp_path / "trainer") == [0, 2, 4]
    assert (tmp_path / "loop" / "curve.png").exists()


def test_wandb_gets_the_scalars_and_keeps_its_own_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_SILENT", "true")
    own = probe(tmp_path / "probe")
    with wandb.init(mode="offline", dir=tmp_path, project="probe") as run:
        for step in range(1, 5):
            own.step(step)
            run.log({"loss": 1 / step}, step=step)
        assert run.step == 4, "no step of its own was taken"
        run.log({"loss": 0}, step=5)  # which hands over what was logged for step 4
        value = own.to_pandas()["r2_ridge"].iloc[-1]
        assert dict(run.summary)["connector_probe/r2_ridge"] == pytest.approx(value)
        assert dict(run.summary)["loss"] == 1 / 4


def test_tensorboard_gets_the_scalars(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = probe(tmp_path)
    for step in range(1, 8):
        first.step(step)
    second = probe(tmp_path)
    for step in range(4, 9):
        second.step(step)
    second.finish()
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("connector_probe/r2_ridge")
    assert [event.step for event in events] == steps(tmp_path)
    assert [event.value for event in events] == pytest.approx(second.to_pandas()["r2_ridge"].tolist())


def test_lightning(tmp_path: Path) -> None:
    """Under its own trainer with bf16 and accumulation: the same bits, and a curve that a checkpoint goes on with."""
    lightning = pytest.importorskip("lightning.pytorch", reason="lightning is not installed")

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.losses = loops.Net(), []

        def training_step(self, batch: Any, number: int) -> torch.Tensor:
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.losses.append(loss.item().hex())
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.net.parameters(), lr=0.01)

    def fitted(folder: Path | None, steps: int = 6, checkpoint: str | None = None) -> tuple[Any, Any]:
        lightning.seed_everything(0)
        module = Module()
        data = torch.utils.data.TensorDataset(loops.images(48), torch.arange(48) % 5)
        callbacks = []
        if folder is not None:
            parts = (module.net.tower, module.net.connector)
            callbacks = [cb.ConnectorProbe(loops.images(), parts, every=2, folder=folder).for_lightning()]
        fitting = lightning.Trainer(
            max_steps=steps,
            accumulate_grad_batches=2,
            precision="bf16-mixed",
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=callbacks,
        )
        fitting.fit(module, torch.utils.data.DataLoader(data, 4, shuffle=True), ckpt_path=checkpoint)
        return module, fitting

    without, _ = fitted(None)
    probed, _ = fitted(tmp_path / "probe")
    assert probed.losses == without.losses
    assert loops.same_bits(probed.state_dict(), without.state_dict())
    assert steps(tmp_path / "probe") == [0, 2, 4, 6]
    _, saved = fitted(None, steps=3)
    saved.save_checkpoint(tmp_path / "three.ckpt")
    fitted(tmp_path / "probe", checkpoint=str(tmp_path / "three.ckpt"))
    assert steps(tmp_path / "probe") == [0, 2, 4, 6]
    assert not list((tmp_path / "probe").glob(f"{EARLIER}*"))


def test_the_example_runs(tmp_path: Path) -> None:
    """In a folder of its own, with fewer pictures and steps."""
    example = ROOT / "examples" / "train_with_probe.py"
    assert len(example.read_text().splitlines()) < 60
    done = subprocess.run(
        [sys.executable, str(example), "48", "30"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert steps(tmp_path / "connector_probe") == [1, 25, 30]
    assert "r2_ridge" in done.stdout


def test_the_benchmark_runs(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks import training, training_work

    found = {finding.what: finding for finding in training.main(["--tiny"])}
    bits = found["steps whose loss the probe changed, of 4, dropout on"]
    assert bits.value == 0
    assert "measurement over 500 steps" in capsys.readouterr().out
    assert "tera operations" in [*map(str, training_work.main(["--tiny"]))][-1]


def test_a_line_that_no_program_writes_is_left_out(tmp_path: Path) -> None:
    deep = "[" * 200_000 + "]" * 200_000
    (tmp_path / LINES).write_text(f'{{"step": 2}}\n{{"step": {deep}}}\n{{"step": 0}}\n{{"step": 4')
    assert [line["step"] for line in read_lines(tmp_path / LINES)] == [0, 2]
