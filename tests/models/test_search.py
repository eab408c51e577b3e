"""Exact search by rounded products; on the CPU, as on a GPU but for the kernels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.models import search
from tasks.models.search import nearest
from tasks.retrieve import faiss_search


def exact(documents, queries, top_k):
    """By float64; of equal scores the first row first."""
    scores = queries.astype(np.float64) @ documents.astype(np.float64).T
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    return np.take_along_axis(scores, rows, axis=1), rows


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(1, 60),
    queries=st.integers(0, 5),
    top_k=st.integers(1, 12),
    block=st.integers(1, 70),
    levels=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_equal_scores_come_in_the_order_of_rows_whatever_the_blocks(count, queries, top_k, block, levels, seed):
    """Small whole numbers: every product is exact, and most scores occur several times."""
    generator = np.random.default_rng(seed)
    documents, asked = (generator.integers(0, levels, (rows, 3)).astype(np.float32) for rows in (count, queries))
    scores, rows = nearest(documents, asked, min(top_k, count), "cpu", block=block)
    wanted_scores, wanted_rows = exact(documents, asked, min(top_k, count))
    np.testing.assert_array_equal(scores, wanted_scores)
    np.testing.assert_array_equal(rows, wanted_rows)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_it_finds_what_faiss_finds(dtype):
    generator = np.random.default_rng(0)
    documents, queries = (generator.standard_normal((rows, 48)).astype(dtype) for rows in (3000, 40))
    with faiss_search.single_threads(1) as pool:
        found, _ = faiss_search.search(faiss_search.build_flat(documents), queries, 50, pool)
    told = []
    scores, rows = nearest(documents, queries, 50, "cpu", told.append, block=700)
    np.testing.assert_allclose(scores, found, rtol=1e-6)
    np.testing.assert_allclose(scores, np.einsum("qkd,qd->qk", documents[rows], queries, dtype=np.float32), rtol=1e-5)
    assert all(len(set(row)) == 50 for row in rows.tolist()) and sum(told) == 40


def test_what_rounding_hides_is_compared_in_float32():
    """Documents of cosines 1 − i · 1e-6 are one and the same in bfloat16, the best ones last."""
    angle = np.sqrt(2 * np.arange(400) * 1e-6)
    documents = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)[::-1].copy()
    _, rows = nearest(documents, np.array([[1.0, 0.0]], dtype=np.float32), 10, "cpu")
    assert rows.tolist() == [list(range(399, 389, -1))]


def test_the_bound_holds_and_is_of_use():
    """No rounded score is off by more than the bound; for vectors of length 1 that is some thousandths."""
    generator = np.random.default_rng(1)
    vectors = [generator.standard_normal((rows, 64)) for rows in (500, 20)]
    documents, queries = (torch.from_numpy(one / np.linalg.norm(one, axis=1, keepdims=True)).float() for one in vectors)
    here = search._documents(documents.numpy(), "cpu")
    bound = search._bound(here, queries, queries.bfloat16())
    off = (search._product(queries.bfloat16(), here.rounded) - queries @ documents.T).abs().max(dim=1).values
    assert (off <= bound).all() and float(bound.max()) < 0.005


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
def test_on_a_gpu():
    generator = np.random.default_rng(2)
    documents, queries = (generator.standard_normal((rows, 384)).astype(np.float32) for rows in (200_000, 500))
    there, here = nearest(documents, queries, 100, "cuda"), nearest(documents, queries, 100, "cpu")
    np.testing.assert_allclose(there[0], here[0], rtol=1e-5)
    assert np.mean(there[1] == here[1]) > 0.999
