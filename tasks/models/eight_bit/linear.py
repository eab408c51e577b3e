"""A linear layer over inputs of 8 bits: oneDNN's products (VNNI, AMX), with bias, GELU and residual sum inside.

Weights have one scale a row; inputs one scale and zero point, and before those a divisor each, so that inputs of wide range do not take all
the steps (SmoothQuant, arXiv 2211.10438, its alpha 0.5).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_ROOM = 1.05  # of a scale over the widest value that was seen
_ROWS = 1024  # of a batch, for which weights are laid out; others work too

# quantised tensors are to go from torch, which is pinned, and has nothing else that does this in one pass
warnings.filterwarnings("ignore", message=".*torch.quantize_per_tensor", category=UserWarning)


@dataclass(frozen=True)
class Range:
    """Least and greatest value of each input of a layer, float32 (in,), as seen on a sample."""

    low: Tensor
    high: Tensor

    @property
    def widest(self) -> Tensor:
        """Of both, by amount."""
        return torch.maximum(self.low.abs(), self.high.abs())

    def also(self, other: Range) -> Range:
        """Of this sample and another."""
        return Range(torch.minimum(self.low, other.low), torch.maximum(self.high, other.high))


class EightBitLinear:
    """A linear layer.

    Args:
        weight: float32, shape (out, in).
        bias: float32, shape (out,).
        seen: of its inputs.
        balanced: give each input its divisor; else the inputs come as uint8 from another layer.
    """

    def __init__(self, weight: Tensor, bias: Tensor, seen: Range, balanced: bool = True) -> None:
        self._factor: Tensor | None = None
        low, high = seen.low, seen.high
        if balanced:
            divisor = (seen.widest.clamp(min=1e-5) / weight.abs().amax(dim=0).clamp(min=1e-5)).sqrt()
            self._factor, weight, low, high = 1 / divisor, weight * divisor, low / divisor, high / divisor
        least = _ROOM * min(0.0, float(low.min()))
        self.scale = max(_ROOM * float(high.max()) - least, 1e-6) / 255
        self.zero = min(255, round(-least / self.scale))
        scales = (weight.abs().amax(dim=1) / 127).clamp(min=1e-12)
        rounded = (weight / scales[:, None]).round().clamp(-127, 127).to(torch.int8)
        packed = torch.ops.onednn.qlinear_prepack(rounded, [_ROWS, weight.shape[1]])
        self._given = self.scale, self.zero, packed, scales, torch.zeros(weight.shape[0], dtype=torch.int64)
        self._bias = bias.contiguous()

    def rounded(self, inputs: Tensor) -> Tensor:
        """float32 (n, in) as uint8."""
        if self._factor is not None:
            inputs = inputs * self._factor
        made = torch.quantize_per_tensor(inputs, self.scale, self.zero, torch.quint8)
        return torch.empty(0, dtype=torch.uint8).set_(made.untyped_storage(), 0, made.shape, made.stride())

    def __call__(self, inputs: Tensor) -> Tensor:
        """uint8 (n, in) to bfloat16 (n, out)."""
        made: Tensor = torch.ops.onednn.qlinear_pointwise(inputs, *self._given, self._bias, 1.0, 0, torch.bfloat16, "none", [], "")
        return made

    def gelu(self, inputs: Tensor, after: EightBitLinear) -> Tensor:
        """GELU of the output, as the uint8 that the next layer takes."""
        to = after.scale, after.zero, torch.uint8
        made: Tensor = torch.ops.onednn.qlinear_pointwise(inputs, *self._given, self._bias, *to, "gelu", [], "none")
        return made

    def plus(self, inputs: Tensor, other: Tensor) -> Tensor:
        """The output plus ``other``, float32."""
        to: tuple[Any, ...] = 1.0, 0, torch.float32, 1.0, 0, "add", 1.0, "none", [], ""
        made: Tensor = torch.ops.onednn.qlinear_pointwise.binary(inputs, *self._given, other, self._bias, *to)
        return made
