"""A connector of one's own behind the tower of a real model: a linear bottleneck, fitted in closed form to a folder.

    python real_tower.py llava-hf/llava-1.5-7b-hf pictures bottleneck.safetensors

Then, in this folder, the model runs with it, in our tasks and in any other of lmms-eval:

    export CONNECTOR_BENCH_CONNECTOR_MODULE=real_tower:Bottleneck
    export CONNECTOR_BENCH_CONNECTOR_WEIGHTS=bottleneck.safetensors
    lmms-eval --model llava_hf --model_args pretrained=llava-hf/llava-1.5-7b-hf --tasks knn_preservation ...
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from connector_bench.references.tower import tower_tokens

RANK = 16


class Bottleneck(nn.Module):
    """Built with the model's configuration, as transformers builds its own projector."""

    def __init__(self, config) -> None:
        super().__init__()
        self.down = nn.Linear(config.vision_config.hidden_size, RANK)
        self.up = nn.Linear(RANK, config.text_config.hidden_size, bias=False)

    def forward(self, tokens):
        return self.up(self.down(tokens))


def main(checkpoint: str, images: str, out: str) -> None:
    """Down to the first principal components of the tower's tokens, and up to the language model at random."""
    import transformers

    tokens = tower_tokens(checkpoint, Path(images)).train.flatten(0, 1)
    mean = tokens.mean(0)
    components = torch.linalg.svd(tokens - mean, full_matrices=False)[2][:RANK]
    mine = Bottleneck(transformers.AutoConfig.from_pretrained(checkpoint))
    with torch.no_grad():
        mine.down.weight.copy_(components)
        mine.down.bias.copy_(-components @ mean)
    save_file(mine.state_dict(), out)


if __name__ == "__main__":
    main(*sys.argv[1:])
