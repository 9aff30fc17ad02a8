"""An MLP probe as it scores: whitening, first layer and linear path see the same inputs, hence one product."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from connector_bench.reconstruction.probes.mlp import MLPProbe


class FoldedMLP:
    """The function of a trained `MLPProbe`, to fp32's rounding, for a third of its products where tokens are wide.

    The maps are folded in float64 and rounded once. Its weights are copies: training the probe on does not change it.
    """

    def __init__(self, probe: MLPProbe) -> None:
        first = probe.mlp[0]
        assert isinstance(first, nn.Linear)
        maps = [first] if probe.linear is None else [first, probe.linear]
        weight = torch.cat([each.weight.detach() for each in maps]).double().T
        if probe.whitening is not None:
            weight = probe.whitening.double() @ weight
        self._inputs, self._targets = probe.inputs, probe.targets
        self._weight = weight.float().contiguous()
        self._bias = torch.cat([each.bias.detach() for each in maps])
        self._width = len(first.bias)
        self._rest = probe.mlp[1:]

    @torch.no_grad()
    def predict(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_out"]:
        """Tokens to patches in their original units, float64."""
        seen = torch.addmm(self._bias, self._inputs(x), self._weight)
        answer = self._rest(seen[:, : self._width])
        if seen.shape[1] > self._width:
            answer = answer + seen[:, self._width :]
        patches: Tensor = self._targets.inverse(answer)
        return patches
