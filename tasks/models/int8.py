"""Linear layers with 8-bit weights and activations, on a CPU.

Weights have one scale for each output, activations one for each token: the sums are whole numbers and exact, so that a text's vector
does not depend on what else is in its batch. (PyTorch's own dynamic quantisation takes one scale for a whole batch.) Symmetric, round to
nearest: as LLM.int8() (Dettmers et al. 2022) without its outlier columns.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tasks.errors import ModelError
from tasks.models.fingerprint import ModelSpec

_MOST = 127.0


class Int8Linear(nn.Module):  # type: ignore[misc]
    """A linear layer, float32 in and out.

    Args:
        layer: float32 weights, shape (out_features, in_features).
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        weight = layer.weight.detach()
        self._scale = weight.abs().amax(dim=1).clamp(min=torch.finfo(weight.dtype).tiny) / _MOST
        self._weight = torch.round(weight / self._scale[:, None]).to(torch.int8).t()
        self._bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (…, in_features) to (…, out_features)."""
        rows = inputs.reshape(-1, self.in_features)
        scale = rows.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny) / _MOST
        whole = torch._int_mm(torch.round(rows / scale).to(torch.int8), self._weight)
        made = whole.to(rows.dtype) * scale * self._scale
        made = made if self._bias is None else made + self._bias
        return made.reshape(*inputs.shape[:-1], self.out_features)


def quantise(model: nn.Module, spec: ModelSpec) -> None:
    """Replace every linear layer of a loaded model in place.

    Raises:
        ModelError: the device or dtype is another than float32 on a CPU.
    """
    if (spec.device, spec.dtype) != ("cpu", "float32"):
        raise ModelError(
            f"model {spec.path}: backend int8 is for float32 on a CPU, not {spec.dtype} on {spec.device}",
            "set dtype: float32 and device: cpu, or another backend",
        )
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, Int8Linear(child))
