import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from tasks.models.losses.contrastive import (
    ConfidenceRegularizedLoss,
    MaskedMultipleNegativesRankingLoss,
    PassageCentricLoss,
    confidence_regularized,
    masked_softmax,
    passage_centric,
)
from tasks.models.losses.settings import (
    ConfidenceRegularizedSettings,
    MaskedMultipleNegativesRankingSettings,
    PassageCentricSettings,
)
from tests.models.losses.tiny import Tiny, batch, cosines, gradients, log_softmax, rows_of

LABELS = torch.arange(6)


def plain_softmax(scores, positive, mask, weights):
    """One row, term by term: −log of the positive's share."""
    shares = [
        np.exp(s) * (1 if j == positive else w)
        for j, (s, m, w) in enumerate(zip(scores, mask, weights, strict=True))
        if not m or j == positive
    ]
    return -np.log(np.exp(scores[positive]) / sum(shares))


def case(rows=4, columns=9, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, columns, generator=generator, dtype=dtype) * 3
    positives = torch.randint(0, columns, (rows,), generator=generator)
    mask = torch.rand(rows, columns, generator=generator) < 0.3
    weights = torch.rand(rows, columns, generator=generator, dtype=dtype) * 2
    return scores, positives, mask, weights


def test_softmax_by_hand():
    """Scores 0, 0, ln 2, 5 (masked), weights 1, 1, 3: −log(1 / (1 + 1 + 3 · 2)) = log 8."""
    scores = torch.tensor([[0.0, 0.0, np.log(2), 5.0]])
    mask = torch.tensor([[False, False, False, True]])
    loss = masked_softmax(scores, torch.tensor([0]), mask, torch.tensor([[0.0, 0.0, np.log(3), 0.0]]))
    assert loss.tolist() == pytest.approx([np.log(8)])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_softmax_against_numpy(seed):
    scores, positives, mask, weights = case(seed=seed)
    expected = [plain_softmax(*row) for row in zip(scores.numpy(), positives.tolist(), mask.numpy(), weights.numpy(), strict=True)]
    assert masked_softmax(scores, positives, mask, weights.log()).numpy() == pytest.approx(np.array(expected))


def test_the_positive_is_neither_masked_nor_weighted():
    scores = torch.tensor([[1.0, 2.0]])
    masked = masked_softmax(scores, torch.tensor([0]), torch.tensor([[True, False]]), torch.tensor([[5.0, 0.0]]))
    assert masked.tolist() == pytest.approx([np.log(1 + np.e)])
    alone = masked_softmax(scores, torch.tensor([0]), torch.tensor([[True, True]]))
    assert alone.tolist() == [0.0]


def test_a_negative_of_weight_zero_counts_as_masked():
    scores = torch.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    nothing = torch.zeros(1, 3, dtype=torch.bool)
    loss = masked_softmax(scores, torch.tensor([0]), nothing, torch.tensor([[0.0, -torch.inf, 0.0]])).sum()
    loss.backward()
    assert loss.item() == pytest.approx(np.log(1 + np.e**2))
    assert scores.grad[0, 1] == 0


def test_softmax_gradient():
    """∂/∂s_j = p_j − [j is the positive]; and finite differences."""
    scores, positives, mask, weights = case()
    scores.requires_grad_()
    masked_softmax(scores, positives, mask, weights.log()).sum().backward()
    kept = ~mask.scatter(1, positives[:, None], False)
    shares = scores.detach().exp() * weights.scatter(1, positives[:, None], 1.0) * kept
    expected = shares / shares.sum(1, keepdim=True) - torch.nn.functional.one_hot(positives, 9)
    assert torch.allclose(scores.grad, expected, atol=1e-12)
    assert torch.autograd.gradcheck(lambda x: masked_softmax(x, positives, mask, weights.log()), scores)


def test_confidence_regularized_against_numpy():
    scores, positives, mask, _ = case(seed=3)
    found = confidence_regularized(scores, positives, mask, beta=0.5)
    for row in range(4):
        p = positives[row]
        kept = [j for j in range(9) if not mask[row, j] or j == p]
        log_p = dict(zip(kept, log_softmax(scores[row, kept]), strict=True))
        assert found[row].item() == pytest.approx(-log_p[int(p)] + 0.5 * np.mean(list(log_p.values())))
    assert torch.equal(confidence_regularized(scores, positives, mask, beta=0.0), masked_softmax(scores, positives, mask))


def test_confidence_regularized_by_hand():
    """Two equal scores: p = ½ each, −log ½ + ½ · log ½ = ½ log 2."""
    loss = confidence_regularized(torch.zeros(1, 2), torch.tensor([0]), torch.zeros(1, 2, dtype=torch.bool), beta=0.5)
    assert loss.tolist() == pytest.approx([0.5 * np.log(2)])


def test_confidence_regularized_gradient():
    """∂/∂s_j = (p_j − [positive]) + beta · (1/n − p_j) over the n candidates; and finite differences."""
    scores, positives, mask, _ = case(seed=4)
    scores.requires_grad_()
    confidence_regularized(scores, positives, mask, beta=0.3).sum().backward()
    kept = (~mask.scatter(1, positives[:, None], False)).double()
    p = scores.detach().exp() * kept
    p = p / p.sum(1, keepdim=True)
    expected = p - torch.nn.functional.one_hot(positives, 9) + 0.3 * (kept / kept.sum(1, keepdim=True) - p)
    assert torch.allclose(scores.grad, expected, atol=1e-12)
    assert torch.autograd.gradcheck(lambda x: confidence_regularized(x, positives, mask, beta=0.3), scores)


def test_passage_centric_against_numpy():
    query_scores, positives, mask, _ = case(seed=5)
    passage_scores = case(seed=6)[0]
    found = passage_centric(query_scores, passage_scores, positives, mask, alpha=0.1)
    for row in range(4):
        p = int(positives[row])
        negatives = [j for j in range(9) if not mask[row, j] and j != p]
        own = query_scores[row, p].item()
        of_query = -log_softmax([own, *query_scores[row, negatives].tolist()])[0]
        of_passage = -log_softmax([own, *passage_scores[row, negatives].tolist()])[0]
        assert found[row].item() == pytest.approx(0.9 * of_query + 0.1 * of_passage)


def test_passage_centric_gradients_by_finite_differences():
    query_scores, positives, mask, _ = case(seed=7)
    passage_scores = case(seed=8)[0]
    inputs = (query_scores.requires_grad_(), passage_scores.requires_grad_())
    assert torch.autograd.gradcheck(lambda q, p: passage_centric(q, p, positives, mask, alpha=0.3), inputs)
    passage_centric(*inputs, positives, mask).sum().backward()
    assert passage_scores.grad.gather(1, positives[:, None]).abs().sum() == 0  # the positive's own place is not read


def test_without_masks_it_is_sentence_transformers_own():
    model, features = Tiny(), batch()
    rows = rows_of(queries="abcdef")
    ours = MaskedMultipleNegativesRankingLoss(model, MaskedMultipleNegativesRankingSettings(), rows)
    theirs = MultipleNegativesRankingLoss(model)
    loss = ours(features, LABELS)
    assert loss.item() == pytest.approx(theirs(features, None).item(), abs=1e-6)
    for left, right in zip(gradients(model, loss), gradients(model, theirs(features, None)), strict=True):
        assert torch.allclose(left, right, atol=1e-6)


def in_batch(model, features):
    """Scaled cosines of all queries with all documents, one column after the other, and the documents' names."""
    embedded = [model(dict(column))["sentence_embedding"].detach().numpy() for column in features]
    names = [f"p{row}" for row in range(6)] + [f"n{row}.{slot}" for slot in (1, 2) for row in range(6)]
    return 20 * cosines(embedded[0], np.concatenate(embedded[1:])), 20 * cosines(embedded[1], np.concatenate(embedded[1:])), names


# Rows 0 and 3 are query a, rows 1 and 4 query b, row 2 is c, row 5 is d.
MASKED = {
    0: {"p3", "n2.1"},  # the query's other positive; by the qrels
    1: {"p4"},
    2: {"n5.2", "p0"},  # both suspected
    3: {"p0", "n2.1"},
    4: {"p1"},
    5: set(),
}


def masked_rows(**options):
    return rows_of(positives=(["a"], ["n2.1"]), suspected=(["c", "c", "c"], ["n5.2", "p0", "p2"]), **options)  # c's own p2 stays


def test_masked_loss_against_numpy():
    model, features = Tiny(), batch()
    weights = np.ones((6, 3), np.float32)
    weights[0] = [7, 0.5, 2]  # the positive's weight is not read
    weights[4, 1] = np.nan  # unknown: 1
    loss = MaskedMultipleNegativesRankingLoss(model, MaskedMultipleNegativesRankingSettings(), masked_rows(values={"weight": weights}))
    scores, _, names = in_batch(model, features)
    of_row_0 = {"n0.1": 0.5, "n0.2": 2.0}
    expected = [
        plain_softmax(
            scores[row], row, [name in MASKED[row] for name in names], [of_row_0.get(name, 1.0) if row == 0 else 1.0 for name in names]
        )
        for row in range(6)
    ]
    assert loss(features, LABELS).item() == pytest.approx(np.mean(expected), abs=1e-5)


def test_labels_are_row_numbers():
    """The same texts under other row numbers have other masks; the order of the batch does not matter."""
    model, features = Tiny(), batch()
    loss = MaskedMultipleNegativesRankingLoss(model, MaskedMultipleNegativesRankingSettings(), masked_rows())
    shuffled = torch.tensor([3, 0, 5, 1, 4, 2])
    permuted = [{key: value[shuffled] for key, value in column.items()} for column in features]
    assert loss(permuted, shuffled).item() == pytest.approx(loss(features, LABELS).item(), abs=1e-6)
    assert loss(permuted, LABELS).item() != pytest.approx(loss(features, LABELS).item(), abs=1e-4)


def test_copies_of_the_own_positive_are_masked():
    """Two rows with the same document as positive, and a missing negative: −log softmax over what is left."""
    from tasks.models.losses.tables import Rows

    model, features = Tiny(), batch(rows=2, documents=2)
    rows = Rows.from_ids(["a", "b"], np.array([["x", "y"], ["x", None]], dtype=object))
    loss = MaskedMultipleNegativesRankingLoss(model, MaskedMultipleNegativesRankingSettings(), rows)
    embedded = [model(dict(column))["sentence_embedding"].detach().numpy() for column in features]
    scores = 20 * cosines(embedded[0], np.concatenate(embedded[1:]))  # x of row 0, x of row 1, y, nothing
    expected = np.mean([-log_softmax(scores[0][[0, 2]])[0], -log_softmax(scores[1][[1, 2]])[0]])
    assert loss(features, torch.arange(2)).item() == pytest.approx(expected, abs=1e-5)


def test_confidence_and_passage_modules_against_numpy():
    model, features = Tiny(), batch()
    rows = masked_rows()
    of_queries, of_positives, names = in_batch(model, features)
    ccr, pair = [], []
    for row in range(6):
        kept = [j for j, name in enumerate(names) if name not in MASKED[row]]
        place = kept.index(row)
        log_p = log_softmax(of_queries[row, kept])
        seen = of_positives[row, kept].copy()
        seen[place] = of_queries[row, row]
        ccr.append(-log_p[place] + 0.5 * log_p.mean())
        pair.append(-0.9 * log_p[place] - 0.1 * log_softmax(seen)[place])
    found = ConfidenceRegularizedLoss(model, ConfidenceRegularizedSettings(), rows)(features, LABELS)
    assert found.item() == pytest.approx(np.mean(ccr), abs=1e-5)
    found = PassageCentricLoss(model, PassageCentricSettings(), rows)(features, LABELS)
    assert found.item() == pytest.approx(np.mean(pair), abs=1e-5)


def test_dot_product():
    model, features = Tiny(), batch()
    loss = MaskedMultipleNegativesRankingLoss(model, MaskedMultipleNegativesRankingSettings(similarity="dot", scale=2.0), rows_of("abcdef"))
    embedded = [model(dict(column))["sentence_embedding"].detach().double().numpy() for column in features]
    scores = 2 * embedded[0] @ np.concatenate(embedded[1:]).T
    assert loss(features, LABELS).item() == pytest.approx(np.mean([-log_softmax(scores[row])[row] for row in range(6)]), abs=1e-5)
