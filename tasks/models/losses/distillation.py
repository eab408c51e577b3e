"""Learning from a teacher's scores: listwise divergence, MarginMSE, TAS-B's dual supervision, and a mix with the in-batch softmax.

A missing score is NaN; its document is left out of the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from tasks.models.losses.base import EmbeddingLoss
from tasks.models.losses.contrastive import MaskedMultipleNegativesRankingLoss
from tasks.models.losses.settings import DualSupervisionSettings
from tasks.models.losses.similarity import masked_mean, score_lists, score_matrix
from tasks.models.losses.tables import Rows

# Scores of (queries, documents) given as codes (b,) and (n,): float32, shape (b, n), NaN where unknown.
InBatchTeacher = Callable[[Tensor, Tensor], Tensor]


def listwise_kl(
    student: Tensor,
    teacher: Tensor,
    *,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
    scale_loss: bool = False,
) -> Tensor:
    """KL(teacher ‖ student) of two distributions over each row's list, a mean over the rows with at least two scored documents.

    Args:
        student: scores with gradients, shape (b, c).
        teacher: logits, shape (b, c); NaN: not scored.
        student_temperature: divides the student's scores.
        teacher_temperature: divides the teacher's.
        scale_loss: multiply by the student's temperature squared.

    Returns:
        A scalar.
    """
    valid = teacher.isfinite()
    enough = valid.sum(1) > 1
    valid = valid | ~enough[:, None]  # a row that does not count still needs a finite softmax
    target = (torch.where(teacher.isfinite(), teacher, torch.zeros_like(teacher)) / teacher_temperature).detach()
    target = target.masked_fill(~valid, -torch.inf).log_softmax(dim=1)
    made = (student / student_temperature).masked_fill(~valid, -torch.inf).log_softmax(dim=1)
    terms = target.exp() * (target.masked_fill(~valid, 0.0) - made.masked_fill(~valid, 0.0))
    loss = masked_mean(terms.sum(1), enough)
    return loss * student_temperature**2 if scale_loss else loss


def margin_mse(student_positive: Tensor, student_negative: Tensor, teacher_positive: Tensor, teacher_negative: Tensor) -> Tensor:
    """Mean of ((s⁺ − s⁻) − (t⁺ − t⁻))² over the pairs for which the teacher has both scores: a scalar.

    All arguments are broadcast against each other, as (b, 1) against (b, c); NaN in the teacher's: not scored.
    """
    target = (teacher_positive - teacher_negative).detach()
    valid = target.isfinite()
    error = (student_positive - student_negative) - torch.where(valid, target, torch.zeros_like(target))
    return masked_mean(error**2, valid.expand_as(error))


def dual_supervision(student: Tensor, teacher: Tensor, columns: int, *, in_batch_weight: float = 0.75) -> Tensor:
    """MarginMSE on each row's own list + in_batch_weight · ½ · (MarginMSE on others' positives + on others' negatives).

    Source: TAS-B's training code [V], where a row has one negative.

    Args:
        student: scores of each query with all documents of the batch, one column after the other, shape (b, columns · b).
        teacher: the teacher's, in the same places; NaN: not scored.
        columns: document columns: the positive's and the negatives'.
        in_batch_weight: weight of the in-batch part.

    Returns:
        A scalar.
    """
    rows = len(student)
    cube, target = (scores.view(rows, columns, rows) for scores in (student, teacher))
    own = torch.eye(rows, dtype=torch.bool, device=student.device)
    positive, target_positive = (scores[:, 0][own] for scores in (cube, target))

    def part(of: Tensor, chosen: slice) -> Tensor:
        known = target[:, chosen].masked_fill(~of[:, None, :], torch.nan)
        return margin_mse(positive[:, None, None], cube[:, chosen], target_positive[:, None, None], known)

    return part(own, slice(1, None)) + in_batch_weight * 0.5 * (part(~own, slice(0, 1)) + part(~own, slice(1, None)))


class KlDivergenceLoss(EmbeddingLoss):
    """:func:`listwise_kl` over each row's own documents, from ``Rows``' ``teacher``."""

    def parts(self, embeddings: Sequence[Tensor], labels: Tensor, size: int) -> Iterator[Tensor]:
        """The whole loss."""
        yield _divergence(self, embeddings, labels)


class MarginMseLoss(EmbeddingLoss):
    """:func:`margin_mse` of each row's positive against its negatives, from ``Rows``' ``teacher``."""

    def parts(self, embeddings: Sequence[Tensor], labels: Tensor, size: int) -> Iterator[Tensor]:
        """The whole loss."""
        student = score_lists(embeddings, self.settings.similarity) * self.settings.scale
        teacher = self.rows.value("teacher", labels)
        yield margin_mse(student[:, :1], student[:, 1:], teacher[:, :1], teacher[:, 1:])


class DualSupervisionLoss(EmbeddingLoss):
    """:func:`dual_supervision`; the pairs' scores are ``Rows``' ``teacher``, the batch's come from ``in_batch_teacher``.

    Args:
        model: the student.
        settings: scale, in_batch_weight.
        rows: with ``teacher``.
        in_batch_teacher: scores of arbitrary pairs: a :class:`~tasks.models.losses.tables.PairScores`, or another model.
    """

    def __init__(self, model: nn.Module, settings: DualSupervisionSettings, rows: Rows, in_batch_teacher: InBatchTeacher) -> None:
        super().__init__(model, settings, rows)
        self.in_batch_teacher = in_batch_teacher

    def parts(self, embeddings: Sequence[Tensor], labels: Tensor, size: int) -> Iterator[Tensor]:
        """The whole loss."""
        columns = len(embeddings) - 1
        codes = self.rows.columns(labels, columns)
        student = score_matrix(embeddings[0], torch.cat(list(embeddings[1:])), self.settings.similarity) * self.settings.scale
        with torch.no_grad():
            teacher = self.in_batch_teacher(self.rows.queries[labels], codes).view(len(labels), columns, len(labels))
            own = torch.eye(len(labels), dtype=torch.bool, device=labels.device)[:, None, :]
            teacher = torch.where(own, self.rows.value("teacher", labels)[:, :, None], teacher).reshape(len(labels), -1)
            teacher = teacher.masked_fill(codes < 0, torch.nan)
        yield dual_supervision(student, teacher, columns, in_batch_weight=self.settings.in_batch_weight)


class ContrastiveKlLoss(MaskedMultipleNegativesRankingLoss):
    """alpha · masked in-batch softmax + (1 − alpha) · :func:`listwise_kl`."""

    def parts(self, embeddings: Sequence[Tensor], labels: Tensor, size: int) -> Iterator[Tensor]:
        """The softmax's parts, then the divergence, weighted."""
        alpha = self.settings.alpha
        for part in super().parts(embeddings, labels, size):
            yield alpha * part
        yield (1 - alpha) * _divergence(self, embeddings, labels)


def _divergence(loss: EmbeddingLoss, embeddings: Sequence[Tensor], labels: Tensor) -> Tensor:
    settings = loss.settings
    return listwise_kl(
        score_lists(embeddings, settings.similarity),
        loss.rows.value("teacher", labels),
        student_temperature=settings.student_temperature,
        teacher_temperature=settings.teacher_temperature,
        scale_loss=settings.scale_loss,
    )
