"""Linear layers of a loaded model as oneDNN's, for bfloat16 on a CPU: weights packed once, GELU and residual sums inside the product.

PyTorch reorders a layer's weights in every call and passes over each activation again for GELU and for the residual sum. Packed weights
alone change no bit. What is fused is summed in float32 and rounded once instead of twice. Only what is recognised is replaced: any
``nn.Linear``, the GELU of BERT-like intermediate layers, the sum of BERT-like output layers; the rest of the model stays as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

_ROWS = 1024  # of a batch, for which weights are laid out; others work too
_TOLERANCE = 0.05  # of the length of an output, between two ways to round
_LOG = logging.getLogger(__name__)

Forward = Callable[[], Tensor]


class PackedLinear(nn.Module):  # type: ignore[misc]
    """A linear layer, with GELU (by the error function) if asked for.

    Args:
        layer: bfloat16 weights on a CPU.
        gelu: apply it to the sum before it is rounded.
    """

    def __init__(self, layer: nn.Linear, gelu: bool = False) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self._bias = None if layer.bias is None else layer.bias.detach()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().contiguous(), _ROWS)
        self._after = ("gelu", "none") if gelu else ("none", "")

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (…, in_features) to (…, out_features)."""
        name, how = self._after
        return torch.ops.mkldnn._linear_pointwise(inputs, self._packed, self._bias, name, [], how)

    def plus(self, inputs: Tensor, other: Tensor) -> Tensor:
        """The layer's output plus ``other``, rounded once."""
        return torch.ops.mkldnn._linear_pointwise.binary(inputs, other, self._packed, self._bias, "add")


class PackedOutput(nn.Module):  # type: ignore[misc]
    """A BERT-like output layer without dropout: norm(dense(hidden) + input)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.dense, self.norm = PackedLinear(layer.dense), layer.LayerNorm

    def forward(self, hidden: Tensor, inputs: Tensor) -> Tensor:
        """Both of shape (rows, length, width)."""
        normed: Tensor = self.norm(self.dense.plus(hidden, inputs))
        return normed


def fuse(model: nn.Module, output: Forward, name: str) -> bool:
    """Replace layers in place, if that is possible here and changes the output by no more than rounding does.

    Args:
        model: in evaluation mode, bfloat16, on a CPU.
        output: the model's output on a sample, shape (rows, width).
        name: of the model, for the log.

    Returns:
        Whether it did; if not, the model is as it was.
    """
    with torch.inference_mode():
        before = output().float()
        undo: list[Callable[[], None]] = []
        try:
            for parent, child, made in list(_replacements(model)):
                undo.append(_putter(parent, child, getattr(parent, child)))
                setattr(parent, child, made)
            apart = float((output().float() - before).norm() / before.norm().clamp(min=1.0))
        except (RuntimeError, AttributeError, TypeError) as error:
            apart, reason = float("inf"), f"{type(error).__name__}: {error}"
        else:
            reason = f"the output differs by {100 * apart:.1f} % on a sample"
    if apart <= _TOLERANCE:
        return True
    for put in reversed(undo):
        put()
    _LOG.warning("model %s: packed layers are not used, %s", name, reason)
    return False


def _replacements(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """(parent, name of the child, what replaces it)."""
    for child, module in model.named_children():
        if isinstance(module, nn.Linear):
            yield model, child, PackedLinear(module)
        elif _has_gelu(module):
            yield module, "dense", PackedLinear(module.dense, gelu=True)
            yield module, "intermediate_act_fn", nn.Identity()
        elif _sums(module):
            yield model, child, PackedOutput(module)
        else:
            yield from _replacements(module)


def _has_gelu(module: nn.Module) -> bool:
    activation = getattr(module, "intermediate_act_fn", None)
    exact = getattr(activation, "act", activation) is nn.functional.gelu or (
        isinstance(activation, nn.GELU) and activation.approximate == "none"
    )
    return exact and isinstance(getattr(module, "dense", None), nn.Linear)


def _sums(module: nn.Module) -> bool:
    names = {name for name, _ in module.named_children()}
    return names == {"dense", "LayerNorm", "dropout"} and type(module).__name__.endswith("Output") and isinstance(module.dense, nn.Linear)


def _putter(parent: nn.Module, child: str, value: Any) -> Callable[[], None]:
    return lambda: setattr(parent, child, value)
