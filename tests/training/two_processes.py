"""Run by torchrun: DDP in two processes with and without a probe, one rank lagging; `... two_processes FOLDER`."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import connector_bench as cb
from connector_bench.processes import gather_all
from tests.training import loops

FOLDER = Path(sys.argv[1])
dist.init_process_group("gloo")
RANK = dist.get_rank()


def loop(between: Callable[[int, loops.Net], None]) -> tuple[list[str], dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    net = loops.Net().train()
    ddp = DistributedDataParallel(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.01)
    torch.manual_seed(100 + RANK)
    np.random.seed(100 + RANK)
    losses = []
    for step in range(1, 7):
        loss = nn.functional.cross_entropy(
            ddp(torch.randn(8, loops.TOKENS, loops.PIXELS)), torch.randint(5, (8,))
        )
        between(step, net)
        loss.backward()
        losses.append(loss.item().hex())
        optimiser.step()
        optimiser.zero_grad()
    return losses, {name: value.clone() for name, value in net.state_dict().items()}


probes: list[cb.ConnectorProbe] = []


def probed(step: int, net: loops.Net) -> None:
    if not probes:
        parts = (net.tower, net.connector)
        probes.append(cb.ConnectorProbe(loops.images(), parts, every=2, folder=FOLDER / "loop"))
    if step % 2 == RANK:
        time.sleep(0.3)
    probes[0].step(step)


def trained(name: str, callbacks: list) -> tuple[list[str], dict[str, torch.Tensor]]:
    trainer = loops.trainer(FOLDER / name, callbacks, steps=4)
    trainer.train()
    return trainer.losses, trainer.model.state_dict()


without, with_probe = loop(lambda step, net: None), loop(probed)
probes[0].finish()
of_trainer = cb.ConnectorProbe(loops.pictures(24), every=2, folder=FOLDER / "trainer")
plain, watched = trained("plain", []), trained("watched", [of_trainer.for_trainer()])
same = [
    with_probe[0] == without[0] and loops.same_bits(with_probe[1], without[1]),
    watched[0] == plain[0] and loops.same_bits(watched[1], plain[1]),
]
found = gather_all((RANK, same, without[0], plain[0]))
if RANK == 0:
    print("SAME", [agreed for _, agreed, *_ in found])
    print("RANKS DIFFER", found[0][2] != found[1][2], found[0][3] != found[1][3])
dist.destroy_process_group()
