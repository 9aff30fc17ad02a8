"""A small Q-Former (BLIP-2): learnt queries that attend to themselves and to the encoder's tokens, in two layers.

Its tokens have no place in the picture, which its layout says. Typed in this folder:

    connector-bench zoo train q_former:QFormer --seeds 3
"""

import torch
from torch import nn

from connector_bench.zoo.connectors import Layout

QUERIES, LAYERS, HEADS = 32, 2, 4


class QFormer(nn.Module):
    """[batch, 196, d_in] -> [batch, 32, d_out]."""

    layout = Layout(tokens=QUERIES, grid=None)

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(QUERIES, d_out))
        self.places = nn.Parameter(torch.randn(196, d_out) * 0.5)
        self.project = nn.Linear(d_in, d_out)
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                d_out, HEADS, dim_feedforward=2 * d_out, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(LAYERS)
        )

    def forward(self, pre):
        seen = self.project(pre) + self.places
        queries = self.queries.expand(len(pre), -1, -1)
        for layer in self.layers:
            queries = layer(queries, seen)
        return queries
