"""Trains a connector of one's own on a frozen tower, and watches what it keeps: `python examples/train_with_probe.py`.

The tower is an EfficientNet with its ImageNet weights, the pictures are composed scenes, so nothing is downloaded. The
connector passes 14 x 14 tokens through a narrow layer, and a linear head names the scene's main category.
"""

import sys

import torch
from torch import nn

import connector_bench as cb
from connector_bench.zoo.encoder import D_PRE, GRID, load_encoder, normalise
from connector_bench.zoo.splits import find_split, make_scene


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = load_encoder()

    def forward(self, pixels):
        return self.encoder(pixels).clone()  # a copy out of inference mode, in which this encoder runs


class Connector(nn.Sequential):
    """Yours: tokens [batch, 196, 112] in, tokens [batch, 196, 64] out."""

    def __init__(self, narrow=8):
        super().__init__(nn.Linear(D_PRE, narrow), nn.GELU(), nn.Linear(narrow, 64))


def scenes(split, count):
    made = [make_scene(find_split(split), number)[0] for number in range(count)]
    return normalise(torch.stack([torch.tensor(scene.image) for scene in made])), [s.label for s in made]


def main(pictures=128, steps=100):
    torch.manual_seed(0)
    pixels, labels = scenes("train", pictures)
    classes = sorted(set(labels))
    answers = torch.tensor([classes.index(label) for label in labels])
    tower, connector, head = Tower().eval(), Connector(), nn.Linear(64, len(classes))
    tokens = torch.cat([tower(few) for few in pixels.split(16)])  # the tower is frozen: once is enough
    optimiser = torch.optim.AdamW([*connector.parameters(), *head.parameters()], lr=3e-3)
    probe = cb.ConnectorProbe(scenes("test", pictures)[0], (tower, connector), every=25, grid=(GRID, GRID))
    for step in range(1, steps + 1):
        chosen = torch.randint(pictures, (32,))
        loss = nn.functional.cross_entropy(head(connector(tokens[chosen]).mean(1)), answers[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        probe.step(step)
    print(probe.finish())
    print(probe.to_pandas()[["knor_10", "knor_10_first", "r2_ridge", "lost"]].round(3))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
