import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.models.losses.pairwise import LexicalMarginLoss, RankWeightedLoss, lexical_margin, rank_weighted_pairwise, ranks_of
from tasks.models.losses.settings import LexicalMarginSettings, RankWeightedSettings
from tests.models.losses.tiny import Tiny, batch, rows_of

NAN = float("nan")


def plain_pairs(scores, labels, ranks, weighted, cut=None):
    """The losses of a list's pairs, one by one."""
    gain = [1 / rank if cut is None or rank <= cut else 0.0 for rank in ranks]
    return [
        np.log(1 + np.exp(-(scores[i] - scores[j]))) * (abs(gain[i] - gain[j]) if weighted else 1.0)
        for i in range(len(scores))
        for j in range(len(scores))
        if labels[i] > labels[j]
    ]


def plain_ranks(scores):
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))
    return [order.index(place) + 1 for place in range(len(scores))]


def test_ranks():
    scores = torch.tensor([[0.5, 2.0, 0.5, 9.0]])
    assert ranks_of(scores, torch.tensor([[True, True, True, False]])).tolist() == [[2, 1, 3, 4]]


def test_by_hand():
    """The only relevant document has rank 2 with score 0, above it 1: log(1 + e) · |1/2 − 1|; below it −1: log(1 + 1/e) · |1/2 − 1/3|."""
    scores, labels = torch.tensor([[0.0, 1.0, -1.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    expected = (np.log(1 + np.e) * 0.5 + np.log(1 + 1 / np.e) / 6) / 2
    assert rank_weighted_pairwise(scores, labels).item() == pytest.approx(expected)
    unweighted = (np.log(1 + np.e) + np.log(1 + 1 / np.e)) / 2  # LTRe
    assert rank_weighted_pairwise(scores, labels, weighted=False).item() == pytest.approx(unweighted)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([None, 3]))
def test_against_numpy(seed, weighted, cut):
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(4, 6)).round(1)  # some ties
    labels = generator.choice([1.0, 0.5, 0.0, -0.5, np.nan], size=(4, 6))
    pairs = []
    for row, marks in zip(scores, labels, strict=True):
        known = np.isfinite(marks)
        pairs.append(plain_pairs(row[known], marks[known], plain_ranks(row[known]), weighted, cut))
    tensors = torch.from_numpy(scores), torch.from_numpy(labels)
    found = rank_weighted_pairwise(*tensors, weighted=weighted, metric_cut=cut)
    every = [loss for losses in pairs for loss in losses]
    assert found.item() == pytest.approx(np.mean(every) if every else 0.0)
    found = rank_weighted_pairwise(*tensors, weighted=weighted, metric_cut=cut, reduction="queries")
    means = [np.mean(losses) for losses in pairs if losses]
    assert found.item() == pytest.approx(np.mean(means) if means else 0.0)


def test_gradient():
    """∂/∂s_i = −σ(s_j − s_i) · w for each pair (i above j), over the number of pairs; ranks count as constants."""
    scores = torch.tensor([[0.3, 1.0, -1.0, 0.7]], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[1.0, 0.0, -0.25, 0.5]], dtype=torch.float64)
    rank_weighted_pairwise(scores, labels).backward()
    expected, values, ranks = np.zeros(4), scores.detach()[0].numpy(), plain_ranks(scores[0].tolist())
    above = [(i, j) for i in range(4) for j in range(4) if labels[0, i] > labels[0, j]]
    for i, j in above:
        slope = abs(1 / ranks[i] - 1 / ranks[j]) / (1 + np.exp(values[i] - values[j])) / len(above)
        expected[i] -= slope
        expected[j] += slope
    assert scores.grad[0].numpy() == pytest.approx(expected)
    assert torch.autograd.gradcheck(lambda x: rank_weighted_pairwise(x, labels), scores)


def test_large_scores_stay_finite():
    loss = rank_weighted_pairwise(torch.tensor([[-500.0, 500.0]]), torch.tensor([[1.0, 0.0]]), weighted=False)
    assert loss.item() == pytest.approx(1000.0)


def test_lists_without_pairs():
    scores = torch.randn(2, 3, requires_grad=True)
    for reduction in ("pairs", "queries"):
        loss = rank_weighted_pairwise(scores, torch.zeros(2, 3), reduction=reduction)
        loss.backward()
        assert loss.item() == 0
        assert not scores.grad.any()


def test_lexical_margin_by_hand():
    """bm25 12 against 2: margin 1 − 0.1 · 10 = 0, kept by 0.5 − 0.2; against 15: 1.3 − 0.1 = 1.2; the third is unknown; mean of 0, 1.2."""
    loss = lexical_margin(torch.tensor([[0.5]]), torch.tensor([[0.2, 0.4, 0.9]]), torch.tensor([[12.0]]), torch.tensor([[2.0, 15.0, NAN]]))
    assert loss.item() == pytest.approx(0.6)


def test_lexical_margin_against_numpy():
    generator = np.random.default_rng(0)
    positive, negative = generator.normal(size=(5, 1)), generator.normal(size=(5, 4))
    lexical = generator.normal(size=(5, 5)) * 10
    lexical[generator.random((5, 5)) < 0.2] = np.nan
    terms = 1 - 0.1 * (lexical[:, :1] - lexical[:, 1:]) - (positive - negative)
    expected = np.mean([max(0.0, term) for term in terms.ravel() if np.isfinite(term)])
    tensors = [torch.from_numpy(side) for side in (positive, negative, lexical[:, :1], lexical[:, 1:])]
    assert lexical_margin(*tensors).item() == pytest.approx(expected)
    inputs = (tensors[0].requires_grad_(), tensors[1].requires_grad_())
    assert torch.autograd.gradcheck(lambda p, n: lexical_margin(p, n, *tensors[2:]), inputs)


def test_modules_against_numpy():
    model, features, labels = Tiny(), batch(), torch.arange(6)
    marks = np.tile(np.array([1, -0.25, -0.5], np.float32), (6, 1))  # CL-DRD's labels
    lexical = np.array([[9, 3, np.nan]] * 3 + [[1, 8, 0]] * 3, np.float32)
    rows = rows_of(values={"label": marks, "lexical": lexical})
    vectors = [model(dict(column))["sentence_embedding"].detach().double().numpy() for column in features]
    scores = np.stack([(vectors[0] * side).sum(1) for side in vectors[1:]], axis=1)
    found = RankWeightedLoss(model, RankWeightedSettings(), rows)(features, labels)
    expected = np.mean([plain_pairs(scores[row], marks[row], plain_ranks(scores[row]), True) for row in range(6)])
    assert found.item() == pytest.approx(expected, rel=1e-5)
    terms = 1 - 0.1 * (lexical[:, :1] - lexical[:, 1:]) - (scores[:, :1] - scores[:, 1:])
    found = LexicalMarginLoss(model, LexicalMarginSettings(), rows)(features, labels)
    assert found.item() == pytest.approx(np.mean([max(0.0, term) for term in terms.ravel() if np.isfinite(term)]), rel=1e-5)
