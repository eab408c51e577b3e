import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import ModelError
from tasks.models.losses.live_retrieval import LiveRetrievalLoss, top_k, with_positive
from tasks.models.losses.settings import LiveRetrievalSettings
from tasks.models.losses.tables import Rows
from tests.models.losses.tiny import Tiny, column

DOCUMENTS = [f"d{number}" for number in range(30)]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 25), st.sampled_from([1, 3, 7, 100]))
def test_top_k_is_exact(seed, k, block_size):
    generator = np.random.default_rng(seed)
    queries, documents = generator.normal(size=(4, 3)), generator.normal(size=(20, 3))
    scores, places = top_k(torch.from_numpy(queries), torch.from_numpy(documents), k, block_size=block_size)
    every = queries @ documents.T
    assert places.tolist() == np.argsort(-every, axis=1)[:, :k].tolist()
    assert scores.numpy() == pytest.approx(-np.sort(-every, axis=1)[:, :k])


def test_ties_go_by_place():
    documents = torch.tensor([[1.0], [2.0], [1.0], [2.0], [1.0]])
    assert top_k(torch.ones(1, 1), documents, 5, block_size=2)[1].tolist() == [[1, 3, 0, 2, 4]]


def test_cosine_and_half_precision():
    documents = torch.tensor([[10.0, 10.0], [0.5, 0.0]], dtype=torch.float16)
    scores, places = top_k(torch.tensor([[1.0, 0.0]]), documents, 1, kind="cosine")
    assert (places.tolist(), scores.dtype) == ([[1]], torch.float32)


def test_the_positive_is_appended_where_none_was_found():
    places = torch.tensor([[4, 5], [6, 7]])
    documents, relevant, valid = with_positive(places, torch.tensor([[False, True], [False, False]]), torch.tensor([5, 9]))
    assert documents.tolist() == [[4, 5, 5], [6, 7, 9]]
    assert relevant.tolist() == [[False, True, False], [False, False, True]]
    assert valid.tolist() == [[True, True, False], [True, True, True]]


def plain(scores, relevant, suspected, own, k, weighted, cut=None):
    """One query: the list, then its pairs one by one."""
    order = [int(place) for place in np.argsort(-scores)[:k]]
    listed = [(rank, place) for rank, place in enumerate(order, 1)]
    if not relevant & set(order):
        listed.append((k + 1, own))
    listed = [(rank, place) for rank, place in listed if place in relevant or place not in suspected]
    losses = []
    for rank, place in listed:
        for other_rank, other in listed:
            if place in relevant and other not in relevant:
                gain = abs((1 / rank if not cut or rank <= cut else 0) - (1 / other_rank if not cut or other_rank <= cut else 0))
                losses.append(np.log1p(np.exp(-(scores[place] - scores[other]))) * (gain if weighted else 1))
    return np.mean(losses)


def retrieval(**options):
    rows = Rows.from_ids(
        ["a", "b", "c", "a"],
        np.array([["d3"], ["d7"], ["d11"], ["d20"]], dtype=object),
        suspected=(["a", "b", "b"], ["d0", "d1", "d7"]),
        documents=DOCUMENTS,
    )
    model, vectors = Tiny(), torch.randn(30, 5)
    return model, vectors, LiveRetrievalLoss(model, LiveRetrievalSettings(**options), rows, vectors)


@pytest.mark.parametrize(("weighted", "cut"), [(True, None), (False, None), (True, 3)])
@pytest.mark.parametrize("k", [4, 30])
def test_loss_against_numpy(k, weighted, cut):
    model, vectors, loss = retrieval(top_k=k, weighted=weighted, metric_cut=cut, block_size=7)
    features, labels = column(4, 4, 1), torch.arange(4)
    scores = model(dict(features))["sentence_embedding"].detach().double().numpy() @ vectors.double().numpy().T
    relevant, suspected, own = [{3, 20}, {7}, {11}, {3, 20}], [{0}, {1, 7}, set(), {0}], [3, 7, 11, 20]
    expected = np.mean([plain(scores[row], relevant[row], suspected[row], own[row], k, weighted, cut) for row in range(4)])
    assert loss([features], labels).item() == pytest.approx(expected, rel=1e-5)


def test_only_queries_are_embedded_and_the_index_stays():
    model, vectors, loss = retrieval(top_k=10)
    kept = vectors.clone()
    value = loss([column(4, 4, 1), {"input_ids": "documents are not looked at"}], torch.arange(4))
    value.backward()
    assert model.linear.weight.grad.abs().sum() > 0
    assert torch.equal(vectors, kept)
    assert not vectors.requires_grad
    assert loss.state_dict().keys() == {f"model.{name}" for name in model.state_dict()}


def test_a_step_moves_queries_to_their_positives():
    model, _, loss = retrieval(top_k=30)
    features, labels = [column(4, 4, 1)], torch.arange(4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        value = loss(features, labels)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.6 * values[0]


def test_codes_must_be_the_index():
    rows = Rows.from_ids(["a"], np.array([["d3"]], dtype=object))
    with pytest.raises(ModelError, match="the index has 30 vectors, the rows know 1 documents"):
        LiveRetrievalLoss(Tiny(), LiveRetrievalSettings(), rows, torch.randn(30, 5))
