"""Quantised, offloaded, compiled, sharded and adapted models give the figures of the plain one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import transformers
from torch import nn

from connector_bench.connectors import UnsupportedModel, adapter_for_model, execution
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.connectors.weights import count_parameters, is_quantised, weights_sha256
from connector_bench.types import ConnectorInfo, TokenPair
from tests.harness import Outcome, run_here

Checkpoint = Callable[[str], Path]
PICTURES = [coloured_picture(112, 112), coloured_picture(112, 80, 1)]
TASK, BESIDE = "knn_preservation_imagefolder", "scenes_vqa"
IMAGES = 16


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], Outcome]]:
    """A run of the command line on a folder of pictures, with a generate task beside ours."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(IMAGES):
        coloured_picture(56 + number, 70, number).save(folder / f"{number}.png")

    def run_model(pretrained: Path) -> Outcome:
        return run_here(
            tmp_path_factory.mktemp("out"),
            *("--model", "llava_hf", "--model_args", f"pretrained={pretrained},device=cpu,device_map=auto"),
            *("--tasks", f"{TASK},{BESIDE}", "--limit", str(IMAGES), "--gen_kwargs", "max_new_tokens=1"),
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONNECTOR_BENCH_IMAGE_FOLDER", str(folder))
        yield run_model


@pytest.fixture(scope="module")
def plain(run: Callable[[Path], Outcome], checkpoint: Checkpoint) -> Outcome:
    return run(checkpoint("llava"))


def figures(outcome: Outcome) -> dict[str, Any]:
    """Those that tokens alone tell, but the untrained control's: of offloaded weights no words are read either."""
    apart = ("untrained_", "text_")
    return {k: v for k, v in outcome.figures(TASK).items() if not k.startswith(apart)}


def test_a_connector_on_the_disk_gives_the_plain_figures(
    run: Callable[[Path], Outcome], plain: Outcome, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = psutil.virtual_memory()._replace(available=150_000)  # less than the model needs
    monkeypatch.setattr(psutil, "virtual_memory", lambda: small)
    outcome = run(checkpoint("llava"))
    assert outcome.record(TASK)["untrained_left_out"] == "its weights are offloaded"
    assert outcome.record(TASK)["connector"] == plain.record(TASK)["connector"]
    assert figures(outcome) == figures(plain)
    assert "untrained_knor_10" in plain.figures(TASK)
    assert "untrained_knor_10" not in outcome.figures(TASK)
    assert outcome.figures(BESIDE)["accuracy"] == plain.figures(BESIDE)["accuracy"]


def test_an_8_bit_checkpoint_gives_all_figures_but_the_untrained_ones(
    run: Callable[[Path], Outcome], plain: Outcome, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    transformers.AutoProcessor.from_pretrained(checkpoint("llava")).save_pretrained(tmp_path)
    loaded(
        checkpoint("llava"),
        dtype=torch.bfloat16,
        quantization_config=transformers.BitsAndBytesConfig(load_in_8bit=True),
        device_map="cpu",
    ).save_pretrained(tmp_path)
    outcome = run(tmp_path)
    record = outcome.record(TASK)
    assert record["untrained_left_out"] == "its weights are quantised (Linear8bitLt)"
    assert record["connector"]["dtype"].endswith(", weights in Linear8bitLt")
    assert record["connector"]["parameters"] == plain.record(TASK)["connector"]["parameters"]
    assert figures(outcome).keys() == figures(plain).keys()
    assert figures(outcome)["n_images"] == IMAGES
    assert abs(figures(outcome)["knor_10"] - figures(plain)["knor_10"]) < 0.1
    assert "accuracy" in outcome.figures(BESIDE)


def loaded(path: Path, **options: Any) -> Any:
    return transformers.AutoModelForImageTextToText.from_pretrained(path, **options).eval()


@pytest.fixture
def llava(checkpoint: Checkpoint) -> Any:
    return loaded(checkpoint("llava"), dtype=torch.float32)


@pytest.fixture
def as_plain(checkpoint: Checkpoint, llava: Any) -> Callable[[Any], str | None]:
    """Holds a wrapped model against the plain one, and returns why it has no untrained control."""
    processor = transformers.AutoProcessor.from_pretrained(checkpoint("llava"))
    info, pairs = measured(llava, processor)[:2]

    def check(model: Any) -> str | None:
        other, others, why = measured(model, processor)
        assert other == info
        for ours, theirs in zip(others, pairs, strict=True):
            torch.testing.assert_close(ours.pre, theirs.pre)
            torch.testing.assert_close(ours.post, theirs.post)
            assert len(ours.untrained) == (why is None)
        return why

    return check


def measured(model: Any, processor: Any) -> tuple[ConnectorInfo, list[TokenPair], str | None]:
    adapter = adapter_for_model(model, processor, "model")
    why = adapter.add_untrained((0,))
    return adapter.info, adapter.capture(PICTURES), why


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


Wrap = Callable[[Any], Any]


def compiled_in_parts(model: Any) -> Any:
    model.model.vision_tower = torch.compile(model.model.vision_tower)
    model.model.multi_modal_projector.compile()
    model.compile()
    return model


@pytest.mark.parametrize("wrap", [torch.compile, compiled_in_parts])
def test_compiled_models_run_as_written(
    wrap: Wrap, llava: Any, as_plain: Callable[[Any], str | None]
) -> None:
    assert as_plain(wrap(llava)) is None


def compiled_ddp(model: Any) -> Any:
    return torch.compile(nn.parallel.DistributedDataParallel(model))


def fsdp1(model: Any) -> Any:
    from torch.distributed.fsdp import FullyShardedDataParallel

    inner = model.model
    cpu = torch.device("cpu")
    inner.multi_modal_projector = FullyShardedDataParallel(inner.multi_modal_projector, device_id=cpu)
    return FullyShardedDataParallel(model, device_id=cpu)


def fsdp2(model: Any) -> Any:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (1,))
    fully_shard(model.model.multi_modal_projector, mesh=mesh)
    return torch.compile(fully_shard(model, mesh=mesh))


@pytest.mark.filterwarnings("ignore:FSDP is switching to use `NO_SHARD`")
@pytest.mark.parametrize(
    ("wrap", "why"),
    [
        (compiled_ddp, None),
        (fsdp1, "its weights lie in FSDP's flat parameters"),
        pytest.param(
            fsdp2,
            "its weights are sharded over processes (FSDP or tensor parallelism)",
            marks=pytest.mark.skipif(
                not hasattr(torch.cpu.Stream, "record_event"),
                reason="this torch has no FSDP2 on CPUs",
            ),
        ),
    ],
)
@pytest.mark.usefixtures("one_process")
def test_models_of_several_processes(
    wrap: Wrap, why: str | None, llava: Any, as_plain: Callable[[Any], str | None]
) -> None:
    assert as_plain(wrap(llava)) == why


def test_weights_that_accelerate_brings(llava: Any, as_plain: Callable[[Any], str | None]) -> None:
    import accelerate

    model = accelerate.cpu_offload(llava, execution_device=torch.device("cpu"))
    assert as_plain(model) == "its weights are offloaded"


def test_weights_without_values_are_refused(tiny: Callable[[str], tuple[Any, Any]]) -> None:
    model, processor = tiny("llava")
    with torch.device("meta"):
        empty = type(model)(model.config).eval()
    adapter = adapter_for_model(empty, processor, "empty")
    assert adapter.info.weights_sha256 is None
    with pytest.raises(UnsupportedModel, match="are on the meta device, so they have no values"):
        adapter.capture(PICTURES)


def test_an_adapter_is_measured_as_it_runs(llava: Any, checkpoint: Checkpoint) -> None:
    import peft

    processor = transformers.AutoProcessor.from_pretrained(checkpoint("llava"))
    base, before, _ = measured(llava, processor)
    config = peft.LoraConfig(r=4, target_modules=r".*projector\.linear_\d", init_lora_weights=False)
    model = peft.get_peft_model(llava, config).eval()
    beside, adapted, why = measured(model, processor)
    assert why is None
    assert beside.modules == base.modules
    assert beside.parameters == base.parameters + sum(
        p.numel() for name, p in model.named_parameters() if "lora_" in name
    )
    assert not torch.allclose(adapted[0].post, before[0].post)
    model.merge_adapter()
    merged, same, _ = measured(model, processor)
    torch.testing.assert_close(same[0].post, adapted[0].post)
    model.unmerge_adapter()
    unloaded, _, _ = measured(model.merge_and_unload(), processor)
    assert merged.parameters == unloaded.parameters == base.parameters
    assert len({merged.weights_sha256, beside.weights_sha256, base.weights_sha256}) == 3


def test_a_frozen_original_does_not_count(llava: Any, as_plain: Callable[[Any], str | None]) -> None:
    import peft

    config = peft.LoraConfig(target_modules=["q_proj"], modules_to_save=["multi_modal_projector"])
    model = peft.get_peft_model(llava, config).eval()
    assert as_plain(model) is None
    wrapper = llava.model.multi_modal_projector
    nn.init.ones_(wrapper.original_module.linear_1.weight)
    assert as_plain(model) is None
    model.base_model.disable_adapter_layers()
    with pytest.raises(AssertionError):
        as_plain(model)


@pytest.mark.parametrize("bits", ["torchao", "8", "4"])
def test_quantised_connectors(
    bits: str, tiny: Callable[[str], tuple[Any, Any]], checkpoint: Checkpoint
) -> None:
    if bits == "torchao":
        ao = pytest.importorskip("torchao.quantization", reason="torchao is not installed")
        model = loaded(checkpoint("llava"), dtype=torch.float32)
        ao.quantize_(model, ao.Int8WeightOnlyConfig())
        kind = type(model.model.multi_modal_projector.linear_1.weight).__name__  # torchao has renamed it
        assert kind != "Parameter"
        stored_in = f"float32, weights in {kind}"
    else:
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
        config = transformers.BitsAndBytesConfig(
            load_in_8bit=bits == "8",
            load_in_4bit=bits == "4",
            bnb_4bit_quant_type="nf4",
            llm_int8_skip_modules=["vision_tower"],
        )
        model = loaded(
            checkpoint("llava"), dtype=torch.bfloat16, quantization_config=config, device_map="cpu"
        )
        stored_in = f"bfloat16, weights in {'Linear8bitLt' if bits == '8' else 'Linear4bit'}"
    plain, processor = tiny("llava")
    adapter = adapter_for_model(model, processor, "model")
    assert adapter.info.dtype == stored_in
    assert adapter.info.parameters == adapter_for_model(plain, processor, "model").info.parameters
    assert "its weights are quantised" in (adapter.add_untrained((0,)) or "")
    if bits != "4":  # bitsandbytes has no 4-bit product on a CPU for maps below its block of 64
        (first, second), digest = adapter.capture(PICTURES), weights_sha256(adapter._tapped[0].modules)
        assert torch.isfinite(first.post).all()
        assert not torch.equal(first.post[0], second.post[0])
        assert digest == adapter.info.weights_sha256, "the first pass must not change the hash"


class WQLinear(nn.Module):
    """A linear map as AWQ and GPTQ keep it: packed numbers in buffers, and no parameter at all."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.in_features, self.out_features = width, out
        self.register_buffer("qweight", torch.zeros(width, out // 8, dtype=torch.int32))
        self.register_buffer("scales", torch.ones(width // 16, out, dtype=torch.float16))
        self.register_buffer("bias", torch.zeros(out, dtype=torch.float16))


def test_packed_maps_count_as_what_they_stand_for() -> None:
    packed = WQLinear(32, 48)
    assert is_quantised(packed)
    assert count_parameters([packed]) == count_parameters([nn.Linear(32, 48)])
    before = weights_sha256([packed])
    packed.qweight[0] = 1  # type: ignore[index]
    assert weights_sha256([packed]) != before


def test_a_model_that_processes_share_out_is_refused_where_there_are_several(monkeypatch) -> None:
    model = nn.Linear(2, 2)
    execution.refuse_shared_out(model)
    model.weight.ds_id = 0
    execution.refuse_shared_out(model)
    monkeypatch.setattr(execution, "rank_and_size", lambda: (0, 2))
    with pytest.raises(ValueError, match="Linear is shared out over 2 processes"):
        execution.refuse_shared_out(model)
