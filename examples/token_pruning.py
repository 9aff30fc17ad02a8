"""Token pruning: the 49 tokens that differ most from the picture's mean go on, the others are dropped.

Which token stands where changes with the picture, so none has a place that the probes could rely on; each token is
told where it came from, or the language model could not know. Typed in this folder:

    connector-bench zoo train token_pruning:Pruned --seeds 3
"""

import torch
from torch import nn

from connector_bench.zoo.connectors import Layout

KEPT = 49


class Pruned(nn.Module):
    """[batch, 196, d_in] -> [batch, 49, d_out], in the order of the picture."""

    layout = Layout(tokens=KEPT, grid=None)

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.project = nn.Linear(d_in, d_out)
        self.places = nn.Parameter(torch.randn(196, d_out) * 0.1)

    def forward(self, pre):
        salient = (pre - pre.mean(1, keepdim=True)).norm(dim=2)
        kept = salient.topk(KEPT, dim=1).indices.sort(dim=1).values
        tokens = self.project(pre) + self.places
        return tokens.gather(1, kept[..., None].expand(-1, -1, tokens.shape[2]))
