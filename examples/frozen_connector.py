"""A trained connector that stays as it is while a decoder is trained anew behind it.

Typed in this folder, for a decoder trained for a tenth of the usual time, and for what every stage then loses:

    connector-bench zoo train frozen_connector:FrozenMlp --scenes 1200 --epochs 4
    PYTHONPATH=. lmms-eval --model connector_zoo --model_args connector=frozen_connector:FrozenMlp \
        --tasks connector_stages,scenes_vqa --batch_size 64 --output_path results --log_samples
"""

from torch import nn

from connector_bench import zoo


class FrozenMlp(nn.Module):
    """The shipped `mlp`: the same tokens, and no parameter that training could change."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        trained = zoo.load("mlp").connector
        self.layout = trained.layout
        self._kept = (trained,)
        """In a tuple, where its weights are none of this module's."""

    def forward(self, pre):
        return self._kept[0](pre)
