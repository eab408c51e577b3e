"""Layers of BERT, and of what is built as it, over 8-bit products. Sums and norms are float32, attention is bfloat16."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tasks.models.eight_bit.linear import EightBitLinear, Range

_ABOVE, _BELOW = 50.0, 70.0  # greatest distance of a query's largest logit from its head's usual one: bfloat16 ends at exp(88) and exp(-87)
_EXACT = 8  # units of the widest GELU output, which stay float32: they would take all the steps of the others
_SPARE = 16  # columns behind the values, a vector register's worth; the first is 1, and sums the weights

linear = nn.functional.linear


@dataclass(frozen=True)
class Seen:
    """What a layer sees on the sample.

    Args:
        joined: inputs of query, key and value.
        out: inputs of attention's output.
        up: inputs of the intermediate layer.
        down: inputs of the last one, after GELU.
        peaks: each query's largest logit, float32 (heads, queries).
    """

    joined: Range
    out: Range
    up: Range
    down: Range
    peaks: Tensor


class Layer:
    """One layer.

    Args:
        layer: as transformers has it.
        seen: on the sample.

    Raises:
        ValueError: logits are spread too far.
    """

    def __init__(self, layer: nn.Module, seen: Seen) -> None:
        own = layer.attention.self
        self._heads, self._size = own.num_attention_heads, own.attention_head_size
        factor = math.log2(math.e) / math.sqrt(self._size)  # exp(x) = 2 ** (x · log2 e)
        usual = torch.maximum(seen.peaks.median(dim=1, keepdim=True).values, seen.peaks.amax(dim=1, keepdim=True) - _ABOVE)
        if float((usual - seen.peaks).max()) > _BELOW:
            raise ValueError("attention's logits are spread too far")
        self._usual = (-math.log2(math.e) * usual)[:, :, None].to(torch.bfloat16)
        parts = [(own.query, factor), (own.key, 1.0), (own.value, 1.0)]
        weight, bias = (torch.cat([getattr(part, name).float() * by for part, by in parts]) for name in ("weight", "bias"))
        self._joined = EightBitLinear(weight, bias, seen.joined)
        self._out = EightBitLinear(*_float(layer.attention.output.dense), seen.out)
        up, down = _float(layer.intermediate.dense), _float(layer.output.dense)
        self._up = EightBitLinear(*up, seen.up)
        order = seen.down.widest.argsort(descending=True, stable=True)
        exact, others = order[:_EXACT], order[_EXACT:].sort().values
        self._wide = up[0][exact].contiguous(), up[1][exact].contiguous(), down[0][:, exact].t().contiguous()
        rest = down[0].clone()
        rest[:, exact] = 0.0
        low, high = seen.down.low[others], seen.down.high[others]
        self._down = EightBitLinear(rest, down[1], Range(low, high), balanced=False)
        self._norms = Norm(layer.attention.output.LayerNorm), Norm(layer.output.LayerNorm)

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Hidden states, float32 (rows · length, width), to the next ones; ``mask``: bfloat16 (rows, length), 0 at padding."""
        attended = self._attend(self._joined(self._joined.rounded(hidden)), mask)
        between = self._norms[0](self._out.plus(self._out.rounded(attended), hidden))
        raised = self._up.gelu(self._up.rounded(between), self._down)
        weight, bias, back = self._wide
        wide = torch.addmm(between, nn.functional.gelu(linear(between, weight, bias)), back)
        return self._norms[1](self._down.plus(raised, wide))

    def _attend(self, joined: Tensor, mask: Tensor) -> Tensor:
        """Queries, keys and values, bfloat16 (rows · length, 3 · width), to float32 (rows · length, width).

        Of logits a constant of their head is subtracted, not the maximum. Weights are not divided by their sum: a column of ones among
        the values gives it. Padding has values of 0, in that column too.
        """
        (rows, length), heads, size = mask.shape, self._heads, self._size
        split = joined.view(rows, length, 3, heads, size).permute(2, 0, 3, 1, 4)
        query, key = split[:2].reshape(2, rows * heads, length, size)
        values = torch.zeros(rows, heads, length, size + _SPARE, dtype=joined.dtype)
        torch.mul(split[2], mask[:, None, :, None], out=values[..., :size])
        values[..., size] = mask[:, None]
        weights = torch.baddbmm(self._usual.repeat(rows, 1, 1), query, key.transpose(1, 2))
        torch.exp2(weights, out=weights)
        mixed = torch.bmm(weights, values.view(rows * heads, length, size + _SPARE))
        shaped = mixed.view(rows, heads, length, size + _SPARE).transpose(1, 2).float()
        return (shaped[..., :size] / shaped[..., size : size + 1]).reshape(rows * length, heads * size)


class FirstTokenLayer:
    """The last layer for each row's first token alone, float32. Its keys and values are never formed: q · (W x) = (Wᵀ q) · x.

    Args:
        layer: as transformers has it.
    """

    def __init__(self, layer: nn.Module) -> None:
        own = layer.attention.self
        self._heads, self._size = own.num_attention_heads, own.attention_head_size
        weight, bias = _float(own.query)
        self._query = weight / math.sqrt(self._size), bias / math.sqrt(self._size)
        self._key = own.key.weight.float().view(self._heads, self._size, -1)
        self._value = own.value.weight.float().view(self._heads, self._size, -1), own.value.bias.float()
        self._dense = _float(layer.attention.output.dense), _float(layer.intermediate.dense), _float(layer.output.dense)
        self._norms = Norm(layer.attention.output.LayerNorm), Norm(layer.output.LayerNorm)

    def __call__(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Hidden states, float32 (rows · length, width), to (rows, width); ``mask`` as for :class:`Layer`."""
        rows, out = len(mask), self._dense[0]
        each = hidden.view(rows, -1, hidden.shape[1])
        first = each[:, 0].contiguous()
        query = linear(first, *self._query).view(rows, self._heads, self._size)
        asked = torch.bmm(query.transpose(0, 1), self._key).transpose(0, 1)
        logits = torch.bmm(asked, each.transpose(1, 2)).masked_fill_((mask == 0)[:, None], -torch.inf)
        mixed = torch.bmm(logits.softmax(dim=-1), each)
        value = torch.bmm(mixed.transpose(0, 1), self._value[0].transpose(1, 2)).transpose(0, 1).reshape(rows, -1) + self._value[1]
        between = self._norms[0](linear(value, *out) + first)
        raised = nn.functional.gelu(linear(between, *self._dense[1]))
        return self._norms[1](linear(raised, *self._dense[2]) + between)


class Norm:
    """A layer norm in float32."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        self._given = tuple(norm.normalized_shape), norm.weight.float(), norm.bias.float(), norm.eps

    def __call__(self, inputs: Tensor) -> Tensor:
        """Of the last dimension."""
        return nn.functional.layer_norm(inputs, *self._given)


def _float(layer: nn.Linear) -> tuple[Tensor, Tensor]:
    return layer.weight.float(), layer.bias.float()
