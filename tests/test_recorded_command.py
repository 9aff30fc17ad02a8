"""The command line that a result keeps: enough to run again, and nothing that is nobody's business."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector_bench.results.recorded_command import (
    GENERATION_ARGUMENTS,
    MODEL_ARGUMENTS,
    command_line,
    model_arguments,
)
from connector_bench.results.scrub import cleaned, secret_in, secrets_below

SECRETS = (
    "hf_abcdefghijKLMNOP",
    "sk-proj-abcdefgh12345678",
    "ghp_abcdefghijklmnop1234",
    "AKIAIOSFODNN7EXAMPLE",
    "https://someone:pass@host.example/v1",
    "api_key=abcdef123456",
    'Authorization: "Bearer abcdef123"',
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
)


def test_a_command_line_that_gives_the_figures_again() -> None:
    config = {
        "model": "qwen2_5_vl",
        "model_args": "pretrained=Qwen/Qwen2.5-VL-7B-Instruct,max_pixels=12544,device_map=cuda:0,revision=v1",
        "batch_size": "8",
        "gen_kwargs": "temperature=0,do_sample=False",
        "resolved_cli_args": {"force_simple": True},
        "random_seed": 1,
    }
    assert shlex.split(command_line(config, ["knn_preservation", "vizwiz_vqa_val"])) == [
        *("lmms-eval", "--model", "qwen2_5_vl", "--model_args"),
        "pretrained=Qwen/Qwen2.5-VL-7B-Instruct,max_pixels=12544,device_map=cuda:0,revision=v1",
        *("--tasks", "knn_preservation,vizwiz_vqa_val", "--batch_size", "8"),
        *("--gen_kwargs", "temperature=0,do_sample=False", "--force_simple", "--seed", "1,1234,1234,1234"),
        *("--output_path", "results", "--log_samples"),
    ]


def test_a_folder_of_somebodys_machine_is_left_out() -> None:
    for folder in ("/home/somebody/models/mine", "~/models/mine", r"C:\Users\somebody\mine", "../../mine"):
        arguments = model_arguments(f"pretrained={folder},device=cpu")
        assert arguments.checkpoint == "mine"


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("key", ["api_key", "pretrained", "token", "base_url", "model", ""])
def test_no_secret_gets_through(secret: str, key: str) -> None:
    config = {"model": "openai", "model_args": f"{key}={secret}", "gen_kwargs": f"{key}={secret}"}
    assert secret not in command_line(config, [secret, "t"])
    assert secret_in(secret)
    assert list(secrets_below({"a": [{"b": secret}]}))
    assert list(secrets_below({secret: 1}))


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=4), st.text(max_size=20))
def test_a_command_line_is_harmless_whatever_was_given(model_args: dict[str, str], name: str) -> None:
    config = {"model": name, "model_args": model_args, "batch_size": name, "gen_kwargs": model_args}
    made = command_line(config, [name])
    assert made.isprintable()
    assert not set(made) & set('`$;&|<>\\\n"')
    assert model_arguments(model_args).left_out <= len(model_args)


@pytest.mark.parametrize(
    "harmless",
    [
        "llava-hf/llava-1.5-7b-hf",
        "connector_zoo/mlp-seed0",
        "task-knn_preservation",
        "mask-rcnn",
        "tokens_seen 12",
    ],
)
def test_what_is_no_secret_is_not_taken_for_one(harmless: str) -> None:
    assert secret_in(harmless) is None


def test_options_lose_their_folders() -> None:
    given = {"train": "/home/somebody/train.json", "k": [1, "see /data/set/x.txt"], "name": "org/model"}
    assert cleaned(given) == {"train": "train.json", "k": [1, "see x.txt"], "name": "org/model"}


PRIVATE = (
    *SECRETS,
    "/home/somebody/models/mine",
    "~/somebody/mine",
    r"C:\\Users\\somebody\\mine",
    "../somebody/mine",
    "somebody/private/run7/final",
    "file:///somebody/x",
    "s3://somebody/x",
    "somebody@host.example:x",
    "somebody said this",
    "somebody;rm -rf",
    "somebody\\n",
    "--somebody",
    "somebody" * 40,
    "$(somebody)",
)
WORDS = {"conv_template", "connector", "revision", "model", "model_name", "model_version", "pretrained"}
"""Arguments whose values nobody can list: of a word in them nobody knows whether it is a name."""


@pytest.mark.parametrize("value", PRIVATE)
def test_no_folder_secret_or_free_text_passes_in_any_argument(value: str) -> None:
    for name in [*MODEL_ARGUMENTS, "batch_size"]:
        made = command_line({"model": "llava", "model_args": {name: value}, name: value}, ["t"])
        assert value not in made, name
        assert "somebody" not in made, name


@pytest.mark.parametrize("value", [*PRIVATE, "hunter2", "ollama", "12a", "trueish"])
def test_an_argument_with_a_closed_set_of_values_has_one_of_them(value: str) -> None:
    given = dict.fromkeys((MODEL_ARGUMENTS.keys() | GENERATION_ARGUMENTS) - WORDS, value)
    config = {"model": "llava", "model_args": given, "gen_kwargs": given, "batch_size": value}
    assert (
        command_line(config, ["t"]) == "lmms-eval --model llava --tasks t --output_path results --log_samples"
    )


@pytest.mark.parametrize(
    "given",
    [
        "dtype=bfloat16",
        "dtype=torch.float16",
        "device_map=cuda:1",
        "device_map=balanced_low_0",
        "attn_implementation=flash_attention_2",
        "use_cache=False",
        "max_pixels=12544",
        "pretrained=llava-hf/llava-1.5-7b-hf",
        "pretrained=gpt2",
        "revision=refs/pr/7",
        "revision=0123456789abcdef0123456789abcdef01234567",
        "connector=my_package.mine:Narrow",
        "conv_template=qwen_1_5",
    ],
)
def test_what_gives_the_figures_again_is_kept(given: str) -> None:
    assert model_arguments(given).shown == dict([given.split("=", 1)])
