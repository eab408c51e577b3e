import numpy as np
import pytest
import torch

from tasks.models.losses.negative_cache import NegativeCache, NegativeCacheLoss, draw, gumbel_max, staleness, surrogate
from tasks.models.losses.settings import NegativeCacheSettings
from tests.models.losses.tiny import Tiny, batch, cosines, gradients, rows_of

NOTHING = torch.empty(0, dtype=torch.int64)


def texts(*rows):
    """Token ids and their mask, filled up to the longest."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


def insert(cache, codes, *rows):
    vectors = torch.tensor([[float(code), 1.0] for code in codes])
    cache.update(NOTHING, torch.empty(0, 2), texts(*rows), vectors, torch.tensor(codes))


def test_empty_slots_then_the_oldest():
    cache = NegativeCache(3, 2)
    assert len(cache) == 0
    insert(cache, [10, 11], [1, 2], [3])
    assert (cache.codes.tolist(), len(cache)) == ([10, 11, -1], 2)
    insert(cache, [12], [4])
    assert cache.codes.tolist() == [10, 11, 12]
    assert cache.age.tolist() == [1, 1, 0]
    insert(cache, [13], [5, 6, 7])  # 10 and 11 are equally old: the first goes
    assert cache.codes.tolist() == [13, 11, 12]
    assert cache.age.tolist() == [0, 2, 1]
    assert cache.embeddings.tolist() == [[13, 1], [11, 1], [12, 1]]


def test_refreshed_slots_are_young():
    cache = NegativeCache(3, 2)
    insert(cache, [10, 11, 12], [1], [2], [3])
    cache.update(torch.tensor([0, 1]), torch.tensor([[7.0, 7.0], [8.0, 8.0]]), texts([4]), torch.tensor([[9.0, 9.0]]), torch.tensor([13]))
    assert cache.codes.tolist() == [10, 11, 13]  # 12 was the least recently used
    assert cache.embeddings.tolist() == [[7, 7], [8, 8], [9, 9]]
    assert cache.age.tolist() == [0, 0, 0]


def test_more_documents_than_slots():
    cache = NegativeCache(2, 2)
    insert(cache, [10, 11, 12], [1], [2], [3])
    assert cache.codes.tolist() == [10, 11]


def test_features_come_back_as_they_came_in():
    cache = NegativeCache(4, 2)
    insert(cache, [10, 11], [1, 2], [3])
    insert(cache, [12], [4, 5, 6, 7])  # wider than those before
    found = cache.features_of(torch.tensor([1, 0]))
    assert found["input_ids"].tolist() == [[3, 0], [1, 2]]
    assert found["attention_mask"].tolist() == [[1, 0], [1, 1]]
    assert found["input_ids"].dtype == torch.int64
    assert cache.features_of(torch.tensor([2]))["input_ids"].tolist() == [[4, 5, 6, 7]]
    insert(cache, [13], [8])  # narrower
    assert cache.features_of(torch.tensor([3, 0]))["input_ids"].tolist() == [[8, 0], [1, 2]]


def test_gumbel_max_by_hand():
    """−log(−log u) of e^{−1} is 0, of e^{−e} is −1: scores 1.5 and 2 become 1.5 and 1."""
    uniform = torch.tensor([[np.exp(-1), np.exp(-np.e)]])
    assert gumbel_max(torch.tensor([[1.5, 2.0]]), uniform).tolist() == [0]


def test_gumbel_max_draws_by_softmax():
    scores = torch.tensor([[0.0, 1.0, 2.0, -torch.inf]]).repeat(40_000, 1)
    drawn = gumbel_max(scores, torch.rand(40_000, 4))
    shares = torch.bincount(drawn, minlength=4) / 40_000
    assert shares.tolist() == pytest.approx(scores[0].softmax(0).tolist(), abs=0.01)  # four standard errors
    assert gumbel_max(scores[:1], torch.zeros(1, 4)).item() < 3


def test_mean_gradient_of_the_surrogate_is_that_of_the_softmax():
    """Σ_j softmax_j(s⁻) · ∇ (1 − p⁺)(s_j − s⁺) = ∇ −log p⁺: the sum over all draws instead of a sample."""
    positive = torch.randn(3, 1, dtype=torch.float64, requires_grad=True)
    negatives = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    log_p = torch.cat([positive, negatives], dim=1).log_softmax(1)[:, 0]
    expected = torch.autograd.grad(-log_p.sum(), (positive, negatives))
    chance = negatives.detach().softmax(1)
    sampled = (chance * surrogate(positive, negatives, log_p.exp()[:, None])).sum()
    for left, right in zip(torch.autograd.grad(sampled, (positive, negatives)), expected, strict=True):
        assert torch.allclose(left, right, atol=1e-12)


def test_staleness_by_hand():
    """‖(1, 0) − (3, 4)‖² / ‖(3, 4)‖² = (4 + 16) / 25."""
    assert staleness(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 4.0]])).tolist() == pytest.approx([0.8])


def filled(vectors, codes=None):
    cache = NegativeCache(6, 2)
    ids = texts(*[[number + 1] for number in range(len(vectors))])
    cache.update(NOTHING, torch.empty(0, 2), ids, torch.tensor(vectors), torch.arange(len(vectors)) if codes is None else codes)
    return cache


def run(cache, uniform, fresh, **options):
    queries = torch.tensor([[1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    positives = torch.tensor([[0.5, 0.0], [0.0, 0.25]], requires_grad=True)
    options = {"scale": 2.0, "kind": "dot", "top_k": 2, **options}
    made = draw(
        queries, positives, cache, lambda features: fresh[features["input_ids"][:, 0] - 1], uniform=lambda shape: uniform, **options
    )
    return queries, positives, made


# Scores, times 2: query 0: 2, 1, 0, −2; query 1: 0, 4, 2, 0. Top 2: documents 0, 1 and 1, 2.
VECTORS = [[1.0, 0.0], [0.5, 1.0], [0.0, 0.5], [-1.0, 0.0]]
# With u = 1/e the noise is 0, with u = e^{−e} it is −1.
STILL, LESS = float(np.exp(-1)), float(np.exp(-np.e * np.e))


def test_draw_by_hand():
    """Query 0: 2 − 2 < 1, so document 1; query 1: 4, so document 1 too. It is encoded once, now (1, 1), before (0.5, 1).

    s⁺ = 2 · 0.5 = 1 for both. Query 0: p⁺ = e / (e + e² + e), s⁻ = 2 · 1 = 2; query 1: p⁺ = e / (e + e⁴ + e²), s⁻ = 2 · 2 = 4.
    """
    fresh = torch.tensor([[9.0, 9.0], [1.0, 1.0], [9.0, 9.0], [9.0, 9.0]], requires_grad=True)
    cache = filled(VECTORS)
    queries, positives, made = run(cache, torch.tensor([[LESS, STILL], [STILL, STILL]]), fresh)
    first, second = np.e / (np.e + np.e**2 + np.e), np.e / (np.e + np.e**4 + np.e**2)
    assert made.loss.item() == pytest.approx(((1 - first) * (2 - 1) + (1 - second) * (4 - 1)) / 2)
    assert made.cross_entropy.item() == pytest.approx(-(np.log(first) + np.log(second)) / 2)
    assert made.slots.tolist() == [1]
    assert made.staleness.item() == pytest.approx(0.25 / 2)  # ‖(0.5, 1) − (1, 1)‖² / ‖(1, 1)‖²
    made.loss.backward()
    # ∂ loss / ∂ d⁻ = Σ (1 − p⁺) · 2 q / 2; the others were not touched
    expected = (1 - first) * np.array([1.0, 0.0]) + (1 - second) * np.array([0.0, 2.0])
    assert fresh.grad[1].tolist() == pytest.approx(expected.tolist())
    assert fresh.grad[[0, 2, 3]].abs().sum() == 0
    # ∂ / ∂ q_0 = (1 − p⁺) · 2 · (d⁻ − d⁺) / 2
    assert queries.grad[0].tolist() == pytest.approx(((1 - first) * np.array([0.5, 1.0])).tolist())
    assert positives.grad[1].tolist() == pytest.approx([0.0, -(1 - second) * 2])


def test_relevant_documents_are_never_drawn():
    """Query 0 may have no document of its top 2: it drops out. Query 1 loses document 1, so document 2 it is."""
    fresh = torch.ones(4, 2, requires_grad=True)

    def excluded(codes):
        return (codes == 1) | torch.tensor([[True, True], [False, False]])

    _, _, made = run(filled(VECTORS), torch.full((2, 2), STILL), fresh, excluded=excluded)
    assert made.slots.tolist() == [2]
    p = np.e / (np.e + np.e**2)
    assert made.loss.item() == pytest.approx((1 - p) * (4 - 1) / 2)  # s⁻ = 2 · (0, 2) · (1, 1) = 4
    assert made.cross_entropy.item() == pytest.approx(-np.log(p))


def test_an_empty_cache_gives_no_loss():
    queries, _, made = run(NegativeCache(6, 2), torch.full((2, 2), 0.5), torch.ones(1, 2))
    made.loss.backward()
    assert made.loss.item() == made.cross_entropy.item() == made.staleness.item() == 0
    assert queries.grad.abs().sum() == 0


def test_module_over_two_steps():
    model, features, labels = Tiny(), batch(documents=2), torch.arange(6)
    rows = rows_of(documents=2, suspected=(["c"], ["n5.1"]))
    loss = NegativeCacheLoss(model, NegativeCacheSettings(cache_size=20, top_k=20, scale=3.0), rows)
    assert loss(features, labels).item() == 0
    assert loss.statistics == {"cross_entropy": 0.0, "staleness": 0.0, "filled": 12}
    assert loss.cache.codes[:12].tolist() == [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]  # the positives, then the negatives
    with torch.no_grad():
        vectors = [model(dict(column))["sentence_embedding"].numpy() for column in features]
    assert loss.cache.embeddings[:12].numpy() == pytest.approx(np.concatenate(vectors[1:]), abs=1e-6)
    before = [weight.clone() for weight in model.parameters()]
    with torch.no_grad():
        model.linear.weight.mul_(1.5)
    second = loss(features, labels)
    moved = np.concatenate([model(dict(column))["sentence_embedding"].detach().numpy() for column in features[1:]])
    stored = np.concatenate(vectors[1:])
    queries = model(dict(features[0]))["sentence_embedding"].detach().numpy()
    names = [f"p{row}" for row in range(6)] + [f"n{row}.1" for row in range(6)]
    never = [{"p0", "p3"}, {"p1", "p4"}, {"p2", "n5.1"}, {"p0", "p3"}, {"p1", "p4"}, {"p5"}]
    old, positive = 3 * cosines(queries, stored), 3 * np.diag(cosines(queries, moved[:6]))
    entropy = []
    for row in range(6):
        kept = [old[row, j] for j, name in enumerate(names) if name not in never[row]]
        entropy.append(np.log(1 + np.exp(np.array(kept) - positive[row]).sum()))
    assert loss.statistics["cross_entropy"] == pytest.approx(np.mean(entropy), rel=1e-4)
    assert loss.statistics["filled"] == 20
    assert loss.statistics["staleness"] > 0
    assert loss.said() == {f"cache_{name}": value for name, value in loss.statistics.items()}  # the first step drew nothing
    assert loss.said() == {}
    assert any(gradient.abs().sum() > 0 for gradient in gradients(model, second))
    assert not torch.equal(before[1], model.linear.weight)


def test_staleness_of_an_unchanged_model_is_zero_and_seeds_repeat():
    def values():
        torch.manual_seed(1)
        model, features, labels = Tiny(), batch(documents=2), torch.arange(6)
        loss = NegativeCacheLoss(model, NegativeCacheSettings(cache_size=20, seed=3), rows_of(documents=2))
        found = [loss(features, labels).item() for _ in range(3)]
        assert loss.statistics["staleness"] == pytest.approx(0, abs=1e-10)
        return found

    assert values() == values()


@pytest.mark.parametrize("documents", [1, 2])
def test_what_the_model_adds_to_the_features_stays_out(documents):
    loss = NegativeCacheLoss(Tiny(), NegativeCacheSettings(cache_size=20), rows_of(documents=documents))
    for _ in range(2):
        loss(batch(documents=documents), torch.arange(6)).backward()
    assert loss.cache.features.keys() == {"input_ids", "attention_mask"}
    assert not loss.cache.embeddings.requires_grad


def test_the_task_of_a_column_goes_with_its_cached_documents():
    class Routed(Tiny):
        def forward(self, features):
            seen.append(features.get("task"))
            return super().forward(features)

    seen, labels = [], torch.arange(6)
    loss = NegativeCacheLoss(Routed(), NegativeCacheSettings(cache_size=20), rows_of(documents=2))
    for _ in range(2):
        query, *documents = batch(documents=2)
        loss([{**query, "task": "query"}, *({**column, "task": "document"} for column in documents)], labels)
    assert seen[-1] == "document"
    assert set(seen) == {"query", "document"}


def test_evaluation_leaves_the_cache_alone():
    model, features, labels = Tiny(), batch(documents=2), torch.arange(6)
    loss = NegativeCacheLoss(model, NegativeCacheSettings(cache_size=20), rows_of(documents=2))
    with torch.no_grad():
        loss(features, labels)
    loss.eval()
    loss(features, labels)
    assert len(loss.cache) == 0
