import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss, MarginMSELoss
from sentence_transformers.util import pairwise_cos_sim

from tasks.models.losses.contrastive import MaskedMultipleNegativesRankingLoss
from tasks.models.losses.distillation import (
    ContrastiveKlLoss,
    DualSupervisionLoss,
    KlDivergenceLoss,
    MarginMseLoss,
    dual_supervision,
    listwise_kl,
    margin_mse,
)
from tasks.models.losses.settings import (
    ContrastiveKlSettings,
    DualSupervisionSettings,
    KlDivergenceSettings,
    MarginMseSettings,
    MaskedMultipleNegativesRankingSettings,
)
from tasks.models.losses.tables import PairScores
from tests.models.losses.tiny import Tiny, batch, cosines, gradients, log_softmax, rows_of

LABELS = torch.arange(6)
NAN = float("nan")


def teacher(seed=0, missing=0.0, rows=6, documents=3):
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(rows, documents)).astype(np.float32) * 4
    scores[generator.random(scores.shape) < missing] = np.nan
    return scores


def plain_kl(student, target, student_temperature, teacher_temperature):
    """Row by row over the scored documents; rows with fewer than two do not count."""
    found = []
    for s, t in zip(student, target, strict=True):
        known = np.isfinite(t)
        if known.sum() > 1:
            log_t, log_s = log_softmax(t[known] / teacher_temperature), log_softmax(s[known] / student_temperature)
            found.append(np.sum(np.exp(log_t) * (log_t - log_s)))
    return np.mean(found) if found else 0.0


def test_kl_by_hand():
    """Teacher ¾ and ¼ (logits ln 3, 0), student ½ each: ¾ ln 1.5 + ¼ ln 0.5; the third document has no score."""
    loss = listwise_kl(torch.tensor([[2.0, 2.0, 9.0]]), torch.tensor([[np.log(3), 0.0, NAN]]))
    assert loss.item() == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.05, 1.0]), st.sampled_from([0.5, 2.0]))
def test_kl_against_numpy(seed, student_temperature, teacher_temperature):
    student, target = torch.randn(6, 4, generator=torch.Generator().manual_seed(seed)).double(), teacher(seed, 0.4, documents=4)
    found = listwise_kl(student, torch.from_numpy(target), student_temperature=student_temperature, teacher_temperature=teacher_temperature)
    assert found.item() == pytest.approx(plain_kl(student.numpy(), target, student_temperature, teacher_temperature), rel=1e-5, abs=1e-6)


def test_kl_gradient():
    """∂/∂s_j = (p_j − t_j) / temperature / rows, 0 where there is no score; and finite differences."""
    student = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    target = torch.from_numpy(teacher(2, 0.0, 3, 4)).double()
    target[0, 1] = NAN
    target[2, :3] = NAN  # one score alone: no list
    listwise_kl(student, target, student_temperature=0.5).backward()
    known = target[:2].isfinite()
    p = (student.detach()[:2] / 0.5).masked_fill(~known, -torch.inf).softmax(1)
    t = target[:2].masked_fill(~known, -torch.inf).softmax(1)
    assert torch.allclose(student.grad, torch.cat([(p - t) / 0.5 / 2, torch.zeros(1, 4)]), atol=1e-12)
    assert torch.autograd.gradcheck(lambda x: listwise_kl(x, target, student_temperature=0.5), student)


def test_kl_without_any_score():
    student = torch.randn(2, 3, requires_grad=True)
    loss = listwise_kl(student, torch.full((2, 3), NAN))
    loss.backward()
    assert loss.item() == 0
    assert student.grad.tolist() == [[0.0] * 3] * 2


def test_margin_mse_by_hand():
    """Student's margins 1, 3; teacher's 2, 2.5; a third pair has no score: (1 + 0.25) / 2."""
    loss = margin_mse(torch.tensor([[5.0]]), torch.tensor([[4.0, 2.0, 0.0]]), torch.tensor([[7.0]]), torch.tensor([[5.0, 4.5, NAN]]))
    assert loss.item() == pytest.approx(0.625)


def test_margin_mse_gradient():
    positive, negative = torch.randn(3, 1, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    target = torch.from_numpy(teacher(1, 0.3, 3, 4)).double()
    of_positive = torch.randn(3, 1, dtype=torch.float64)
    inputs = (positive.requires_grad_(), negative.requires_grad_())
    assert torch.autograd.gradcheck(lambda p, n: margin_mse(p, n, of_positive, target), inputs)


def plain_dual(student, target, columns, weight):
    """Term by term: student and target of shape (rows, columns · rows)."""
    rows = len(student)

    def mean(pairs):
        errors = []
        for row, column in pairs:
            known = target[row, row] - target[row, column]
            if np.isfinite(known):
                errors.append((student[row, row] - student[row, column] - known) ** 2)
        return np.mean(errors) if errors else 0.0

    own = [(i, slot * rows + i) for i in range(rows) for slot in range(1, columns)]
    others_positives = [(i, j) for i in range(rows) for j in range(rows) if i != j]
    others_negatives = [(i, slot * rows + j) for i in range(rows) for j in range(rows) if i != j for slot in range(1, columns)]
    return mean(own) + weight * 0.5 * (mean(others_positives) + mean(others_negatives))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_dual_supervision_against_numpy(seed, columns):
    student = torch.randn(4, 4 * columns, generator=torch.Generator().manual_seed(seed)).double()
    target = teacher(seed, 0.3, 4, 4 * columns)
    found = dual_supervision(student, torch.from_numpy(target), columns, in_batch_weight=0.75)
    assert found.item() == pytest.approx(plain_dual(student.numpy(), target, columns, 0.75), rel=1e-5, abs=1e-6)


def test_dual_supervision_by_hand():
    """Two rows, one negative each, a student that scores everything 0; teacher's margins: own 1, 2; positives 3, 4; negatives 5, 6.

    (1 + 4) / 2 + 0.75 · ½ · ((9 + 16) / 2 + (25 + 36) / 2) = 2.5 + 0.375 · 43 = 18.625
    """
    target = torch.tensor([[0.0, -3.0, -1.0, -5.0], [-4.0, 0.0, -6.0, -2.0]])
    assert dual_supervision(torch.zeros(2, 4), target, 2).item() == pytest.approx(18.625)


def embedded(model, features):
    return [model(dict(column))["sentence_embedding"].detach().double().numpy() for column in features]


def test_complete_lists_give_sentence_transformers_own():
    model, features, target = Tiny(), batch(), teacher()
    rows = rows_of(values={"teacher": target})
    ours = MarginMseLoss(model, MarginMseSettings(similarity="dot"), rows)(features, LABELS)
    theirs = MarginMSELoss(model)(features, torch.from_numpy(target))
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    for left, right in zip(gradients(model, ours), gradients(model, theirs), strict=True):
        assert torch.allclose(left, right, atol=1e-5)
    options = {"student_temperature": 0.1, "teacher_temperature": 2.0}
    ours = KlDivergenceLoss(model, KlDivergenceSettings(scale_loss=True, **options), rows)(features, LABELS)
    theirs = DistillKLDivLoss(model, similarity_fct=pairwise_cos_sim, **options)(features, torch.from_numpy(target))
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)
    for left, right in zip(gradients(model, ours), gradients(model, theirs), strict=True):
        assert torch.allclose(left, right, atol=1e-6)


def test_modules_against_numpy_with_missing_scores():
    model, features, target = Tiny(), batch(), teacher(3, 0.3)
    rows = rows_of(values={"teacher": target})
    vectors = embedded(model, features)
    dots = np.stack([(vectors[0] * side).sum(1) for side in vectors[1:]], axis=1)
    errors = (dots[:, :1] - dots[:, 1:] - (target[:, :1] - target[:, 1:])) ** 2
    found = MarginMseLoss(model, MarginMseSettings(), rows)(features, LABELS)
    assert found.item() == pytest.approx(np.nanmean(errors), rel=1e-5)
    cosine = np.stack([np.diag(cosines(vectors[0], side)) for side in vectors[1:]], axis=1)
    found = KlDivergenceLoss(model, KlDivergenceSettings(), rows)(features, LABELS)
    assert found.item() == pytest.approx(plain_kl(cosine, target, 0.05, 1.0), rel=1e-5)


def test_dual_supervision_module():
    """Own pairs are scored by the rows' teacher, some of the batch's by a table: others are left out."""
    model, features, target = Tiny(), batch(documents=2), teacher(4, documents=2)
    rows = rows_of(documents=2, values={"teacher": target})
    # codes: p0 0, n0.1 1, p1 2, … ; queries a b c a b d are 0 1 2 0 1 3
    table = PairScores(np.array([0, 0, 2]), np.array([2, 5, 11]), np.array([1.5, -2.0, 0.5], np.float32), stride=12)
    expected = np.full((6, 12), np.nan)
    expected[np.arange(6), np.arange(6)], expected[np.arange(6), 6 + np.arange(6)] = target.T
    expected[[0, 3], 1] = 1.5  # (a, p1)
    expected[[0, 3], 8] = -2.0  # (a, n2.1)
    expected[2, 11] = 0.5  # (c, n5.1)
    vectors = embedded(model, features)
    student = vectors[0] @ np.concatenate(vectors[1:]).T
    found = DualSupervisionLoss(model, DualSupervisionSettings(), rows, table)(features, LABELS)
    assert found.item() == pytest.approx(plain_dual(student, expected, 2, 0.75), rel=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_combination(alpha):
    model, features = Tiny(), batch()
    rows = rows_of(suspected=(["c"], ["p0"]), values={"teacher": teacher(5, 0.2)})
    contrastive = MaskedMultipleNegativesRankingLoss(model, MaskedMultipleNegativesRankingSettings(), rows)(features, LABELS)
    divergence = KlDivergenceLoss(model, KlDivergenceSettings(teacher_temperature=2.0), rows)(features, LABELS)
    found = ContrastiveKlLoss(model, ContrastiveKlSettings(alpha=alpha, teacher_temperature=2.0), rows)(features, LABELS)
    assert found.item() == pytest.approx(alpha * contrastive.item() + (1 - alpha) * divergence.item(), rel=1e-5)
