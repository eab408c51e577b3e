"""A model's forward and backward pass on a CPU, cut into a fixed number of pieces that run side by side.

Each piece is computed by one thread and the gradients are added in order, so the result does not depend on how many
cores there are: kernels that split a sum over threads would make it so. Rows are gathered by length, which cuts padding.
Dropout must be off: it would draw from one generator in whatever order the pieces run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tasks.models.memory import keep_freed_memory

PIECES = 4


class Pieces(nn.Module):  # type: ignore[misc]
    """Stands for a model in a loss: takes a column's features, gives ``sentence_embedding``.

    Args:
        model: a SentenceTransformer.
        pool: threads to run the pieces; their number changes nothing but the time.
    """

    def __init__(self, model: nn.Module, pool: ThreadPoolExecutor) -> None:
        super().__init__()
        self.model = model
        self._pool = pool

    def forward(self, features: dict[str, Any], **options: Any) -> dict[str, Any]:
        """The features with the embeddings, shape (rows, dimension)."""
        if not isinstance(features.get("input_ids"), Tensor) or features["input_ids"].ndim != 2:
            return dict(self.model(features, **options))
        if not torch.is_grad_enabled():
            return {**features, "sentence_embedding": _joined(*self.run(features, options, False))}
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        return {**features, "sentence_embedding": _Parallel.apply(self, features, options, *weights)}

    def run(self, features: dict[str, Any], options: dict[str, Any], with_grad: bool) -> tuple[list[Tensor], list[Tensor]]:
        """(rows of each piece, its embeddings)."""
        rows = list(_by_length(features).tensor_split(min(PIECES, len(features["input_ids"]))))

        def compute(chosen: Tensor) -> Tensor:
            torch.set_num_threads(1)
            with torch.set_grad_enabled(with_grad):
                made: Tensor = self.model(_take(features, chosen), **options)["sentence_embedding"]
                return made

        return rows, list(self._pool.map(compute, rows))

    def backward_of(self, outputs: Sequence[Tensor], gradients: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor | None]:
        """Gradients of the weights: the sum over the pieces, in their order."""

        def compute(pair: tuple[Tensor, Tensor]) -> Sequence[Tensor | None]:
            torch.set_num_threads(1)
            found: Sequence[Tensor | None] = torch.autograd.grad(pair[0], weights, pair[1], allow_unused=True)
            return found

        total: list[Tensor | None] = [None] * len(weights)
        for found in self._pool.map(compute, zip(outputs, gradients, strict=True)):
            for place, gradient in enumerate(found):
                held = total[place]
                total[place] = gradient if held is None or gradient is None else held.add_(gradient)
                if gradient is None:
                    total[place] = held
        return total


class _Parallel(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, pieces: Pieces, features: dict[str, Any], options: dict[str, Any], *weights: Tensor) -> Tensor:
        rows, outputs = pieces.run(features, options, True)
        ctx.pieces, ctx.rows, ctx.outputs, ctx.weights = pieces, rows, outputs, weights
        return _joined(rows, [output.detach() for output in outputs])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        parts = [gradient[rows].to(output.dtype) for rows, output in zip(ctx.rows, ctx.outputs, strict=True)]
        found = ctx.pieces.backward_of(ctx.outputs, parts, ctx.weights)
        ctx.outputs = None
        return (None, None, None, *found)


def _joined(rows: Sequence[Tensor], outputs: Sequence[Tensor]) -> Tensor:
    joined: Tensor = torch.cat(list(outputs))[torch.cat(list(rows)).argsort()]
    return joined


def _by_length(features: dict[str, Any]) -> Tensor:
    """Rows, the longest first; equal ones in order."""
    mask = features.get("attention_mask", features["input_ids"])
    order: Tensor = mask.ne(0).sum(1).argsort(descending=True, stable=True)
    return order


def _take(features: dict[str, Any], rows: Tensor) -> dict[str, Any]:
    """Some rows of a batch, without the columns that are padding in all of them (on the right)."""
    count, width = features["input_ids"].shape
    mask = features.get("attention_mask")
    used = width
    if isinstance(mask, Tensor):
        columns = mask[rows].ne(0).any(0).nonzero()
        used = int(columns.max()) + 1 if len(columns) else 1
    made: dict[str, Any] = {}
    for name, value in features.items():
        if isinstance(value, Tensor) and value.ndim and len(value) == count:
            value = value[rows]
            if value.ndim > 1 and value.shape[1] == width:
                value = value[:, :used]
        made[name] = value
    return made


def without_dropout(model: nn.Module) -> None:
    """Set every dropout probability of a model to 0; its saved configuration stays."""
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name, value in list(vars(module).items()):
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, 0.0)


@contextmanager
def threads(device: str, cores: int) -> Iterator[ThreadPoolExecutor | None]:
    """The pool for :class:`Pieces` on a CPU; nothing elsewhere."""
    if device != "cpu":
        yield None
        return
    keep_freed_memory()
    with ThreadPoolExecutor(min(PIECES, cores)) as pool:
        yield pool
