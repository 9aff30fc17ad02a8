"""A C-Abstractor (Honeybee): convolutions before and after a pooling of 2 x 2 tokens.

Typed in this folder:

    connector-bench zoo train c_abstractor:CAbstractor --seeds 3
"""

from torch import nn
from torch.nn import functional as F

from connector_bench.zoo.connectors import Layout


class ConvBlock(nn.Module):
    """A depthwise and two pointwise convolutions beside a residual path."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            nn.GroupNorm(1, width),
            nn.Conv2d(width, width, 1),
            nn.SiLU(),
            nn.Conv2d(width, width, 1),
        )

    def forward(self, picture):
        return picture + self.layers(picture)


class CAbstractor(nn.Module):
    """[batch, 196, d_in] -> [batch, 49, d_out], a token for each 2 x 2 cell."""

    layout = Layout(tokens=49, grid=(7, 7))

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.before, self.after = ConvBlock(d_in), ConvBlock(d_in)
        self.project = nn.Sequential(nn.Linear(d_in, d_out), nn.GELU(), nn.Linear(d_out, d_out))

    def forward(self, pre):
        picture = self.before(pre.transpose(1, 2).unflatten(2, (14, 14)))
        picture = self.after(F.avg_pool2d(picture, 2))
        return self.project(picture.flatten(2).transpose(1, 2))
