"""What the modules share: a loss of a batch's embeddings, in parts, with or without cached gradients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers.base.losses.gradcache import CachedLossMixin
from sentence_transformers.base.losses.merged_forward import embed_columns
from sentence_transformers.util import all_gather, all_gather_with_grad, get_rank
from torch import Tensor, nn

from tasks.errors import ModelError
from tasks.models.losses.settings import InBatchSettings, LossSettings
from tasks.models.losses.tables import Rows

Features = Iterable[dict[str, Tensor]]


class EmbeddingLoss(nn.Module):  # type: ignore[misc]
    """A loss that the trainer calls with (sentence features, row numbers).

    Args:
        model: gives ``{"sentence_embedding": (rows, dimension)}`` for a column's features.
        settings: the loss's own.
        rows: what the labels refer to.
    """

    def __init__(self, model: nn.Module, settings: LossSettings, rows: Rows) -> None:
        super().__init__()
        self.model = model
        self.settings: Any = settings
        self.rows = rows

    def forward(self, sentence_features: Features, labels: Tensor) -> Tensor:
        """The loss of a batch: a scalar with gradients."""
        return self.compute_loss_from_embeddings(embed_columns(self.model, sentence_features), labels)

    def compute_loss_from_embeddings(self, embeddings: Sequence[Tensor], labels: Tensor) -> Tensor:
        """The same from embeddings: the queries' column, then the documents', each of shape (batch, dimension)."""
        return torch.stack(list(self.parts(embeddings, labels, len(labels)))).sum()

    def parts(self, embeddings: Sequence[Tensor], labels: Tensor, size: int) -> Iterator[Tensor]:
        """Scalars that add up to the loss, each from ``size`` rows where the loss can be cut; each graph of its own."""
        raise NotImplementedError(type(self))

    def get_config_dict(self) -> dict[str, Any]:
        """The settings, for the trainer's model card."""
        return dict(self.settings.model_dump())


class Cached(CachedLossMixin, nn.Module):  # type: ignore[misc]
    """GradCache around a loss of this package: the same gradients, in the memory of a mini-batch.

    Embeds without gradients, takes the loss's gradients at the embeddings, embeds again and passes them on.
    Source: arXiv 2101.06983 [V]; the mechanism is sentence-transformers'.

    Args:
        loss: any :class:`EmbeddingLoss` that computes its loss from the model's embeddings alone.
        mini_batch_size: rows that are embedded, and scored, at a time.
    """

    def __init__(self, loss: EmbeddingLoss, mini_batch_size: int) -> None:
        super().__init__()
        self.model = loss.model
        self.loss = loss
        self.mini_batch_size = mini_batch_size

    def forward(self, sentence_features: Features, labels: Tensor) -> Tensor:
        """The loss of a batch; its backward pass embeds the mini-batches again."""
        return self.forward_cached(sentence_features, labels)

    def calculate_loss(self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False) -> Tensor:
        """The loss from the mini-batches' embeddings, part by part."""
        if labels is None:
            raise ModelError("the batch has no labels", "give the training file a column 'label' with row numbers")
        total = torch.zeros((), device=reps[0][0].device)
        for part in self.loss.parts([torch.cat(column) for column in reps], labels, self.mini_batch_size):
            if with_backward:
                part.backward()
            total = total + (part.detach() if with_backward else part)
        return total

    def get_config_dict(self) -> dict[str, Any]:
        """The settings of the loss inside."""
        return self.loss.get_config_dict()


@dataclass(frozen=True)
class Candidates:
    """Some rows of a batch against all its documents.

    Args:
        queries: embeddings, shape (b, dimension).
        documents: embeddings, shape (n, dimension).
        positives: place of each row's own positive in ``documents``, int64, shape (b,).
        mask: True: not a candidate of that row, bool, shape (b, n).
        log_weights: float32, shape (b, n); 0 but for a row's own weighted negatives.
    """

    queries: Tensor
    documents: Tensor
    positives: Tensor
    mask: Tensor
    log_weights: Tensor


class InBatchLoss(EmbeddingLoss):
    """A loss that is a mean over rows, each against the documents of the whole batch (of all devices, if gathered)."""

    def __init__(self, model: nn.Module, settings: InBatchSettings, rows: Rows) -> None:
        super().__init__(model, settings, rows)

    def row_losses(self, batch: Candidates) -> Tensor:
        """The loss of each row, shape (b,)."""
        raise NotImplementedError(type(self))

    def parts(self, embeddings: Sequence[Tensor], labels: Tensor, size: int) -> Iterator[Tensor]:
        """Sums of row losses over ``size`` rows, divided by the number of rows."""
        for _, batch in self.candidates(embeddings, labels, size):
            yield self.row_losses(batch).sum() / len(labels)

    def candidates(self, embeddings: Sequence[Tensor], labels: Tensor, size: int) -> Iterator[tuple[int, Candidates]]:
        """(first row, candidates) of each ``size`` rows."""
        queries, documents, everyone, first = embeddings[0], list(embeddings[1:]), labels, 0
        if self.settings.gather_across_devices:
            documents = [all_gather_with_grad(column) for column in documents]
            everyone = all_gather(labels)
            first = get_rank() * len(labels)
        codes = self.rows.columns(everyone, len(documents))
        together = torch.cat(documents)
        for begin in range(0, len(labels), size):
            own = torch.arange(first + begin, first + min(begin + size, len(labels)), device=labels.device)
            chosen = labels[begin : begin + size]
            mask = self._mask(chosen, codes, own)
            weights = self._log_weights(chosen, own, len(everyone), len(documents))
            yield begin, Candidates(queries[begin : begin + size], together, own, mask, weights)

    def _mask(self, labels: Tensor, codes: Tensor, own: Tensor) -> Tensor:
        mask = self.rows.relevant(self.rows.queries[labels], codes) | (codes < 0)
        return mask.scatter(1, own[:, None], False)

    def _log_weights(self, labels: Tensor, own: Tensor, everyone: int, columns: int) -> Tensor:
        made = torch.zeros(len(labels), columns * everyone, device=labels.device)
        if "weight" not in self.rows.names or columns < 2:
            return made
        weights = self.rows.value("weight", labels)[:, 1:]
        places = own[:, None] + everyone * torch.arange(1, columns, device=labels.device)
        return made.scatter(1, places, torch.where(weights.isnan(), torch.ones_like(weights), weights).log())
