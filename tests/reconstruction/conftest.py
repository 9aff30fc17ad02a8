"""Every shape in the numerics' signatures is checked while these tests run, and torch keeps to one thread."""

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook(["connector_bench.reconstruction"], "beartype.beartype")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
