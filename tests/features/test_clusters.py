import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.features import centroids
from tasks.features.task import features
from tasks.store.tables import read_array
from tests.features.world import of_query, values, world
from tests.retrieve.build import context, run

# two clusters of documents, left (0) and right (1): centroids are in lexicographic order
VECTORS = {"a": (0, 0), "b": (0, 1), "c": (100, 0), "d": (100, 1)}
DOCS = [{"doc_id": name, "vector": vector} for name, vector in VECTORS.items()]
QUERIES = [{"query_id": "q", "vector": (5, 5)}, {"query_id": "r", "vector": (-5, 5)}, {"query_id": "s", "vector": (-5, 6)}]
ROWS = [{"query_id": query, "doc_id": doc, "is_positive": doc == {"q": "a", "r": "d"}.get(query)} for query in "qrs" for doc in "abcd"]


def clusters(root, parts=1, **given):
    setting = context(root)
    inputs = world(setting.storage, DOCS, QUERIES, ROWS, doc_parts=parts, query_parts=parts)
    return values(setting.storage, inputs, features(setting, {"clusters": {"documents": 2, "queries": 2, **given}}, inputs)["clusters"])


@pytest.mark.parametrize("parts", [1, 3])
def test_clusters_by_hand(tmp_path, parts):
    table = clusters(tmp_path, parts)
    for query, cluster in (("q", 1), ("r", 0), ("s", 0)):
        assert of_query(table["document_cluster"], query) == {"a": 0, "b": 0, "c": 1, "d": 1}
        assert of_query(table["query_cluster"], query) == dict.fromkeys("abcd", cluster)
    assert of_query(table["in_positive_cluster"], "q") == {"a": True, "b": True, "c": False, "d": False}
    assert of_query(table["in_positive_cluster"], "r") == {"a": False, "b": False, "c": True, "d": True}
    assert of_query(table["in_positive_cluster"], "s") == dict.fromkeys("abcd", False)


def test_no_more_clusters_than_rows(tmp_path):
    table = clusters(tmp_path, documents=100, queries=100)
    assert sorted(of_query(table["document_cluster"], "q").values()) == [0, 1, 2, 3]
    assert len(set(table["query_cluster"].values())) == 3


def test_a_sample_is_chosen_by_hash_whatever_the_partitions(tmp_path):
    docs = [{"doc_id": f"d{number}", "vector": (number, number % 7)} for number in range(200)]
    made = []
    for parts in (1, 4):
        setting = context(tmp_path / str(parts))
        inputs = world(setting.storage, docs, [], [], doc_parts=parts)
        jobs = centroids.jobs(inputs.document_vectors, inputs.documents, "docs.parquet", 10, 50, 3)
        (part,) = run(setting, centroids.DOCUMENTS, jobs)
        assert part.meta == {"clusters": 10, "sampled": 50} and part.counters == {"model_calls": 0}
        assert setting.progress.units["feature-clusters-documents"] == 200
        made.append(part.file("centroids.npy").checksum)
        other = centroids.jobs(inputs.document_vectors, inputs.documents, "docs.parquet", 10, 50, 4)
        assert run(setting, centroids.DOCUMENTS, other)[0].file("centroids.npy").checksum != made[-1]
    assert made[0] == made[1]
    found = read_array(setting.storage, part.file("centroids.npy"))
    assert found.dtype == np.float32 and found.shape == (10, 2) and (np.diff(found[:, 0]) >= 0).all()


def test_equal_vectors_and_none():
    same = np.ones((8, 3), dtype=np.float32)
    assert centroids.fit(same, 8, 0).tolist() == [[1, 1, 1]]
    assert centroids.fit(same, 4, 0).tolist() == [[1, 1, 1]]
    assert centroids.fit(same[:0], 4, 0).shape == (0, 3)


def test_of_equally_near_centroids_the_first_counts():
    assert centroids.assign(np.array([[0.0], [0.1], [-0.1]]), np.array([[-1], [1]], dtype=np.float32)).tolist() == [0, 1, 0]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=1, max_size=40), st.integers(1, 5), st.integers(1, 7))
def test_each_vector_goes_to_a_nearest_centroid(points, count, block):
    vectors = np.array(points, dtype=np.float32)
    fitted = centroids.fit(vectors, count, 1)
    distances = ((vectors[:, None].astype(np.float64) - fitted[None]) ** 2).sum(axis=2)
    found = centroids.assign(vectors, fitted)
    assert (distances[np.arange(len(points)), found] <= distances.min(axis=1) + 1e-9).all()
    pieces = [centroids.assign(vectors[start : start + block], fitted) for start in range(0, len(points), block)]
    assert np.concatenate(pieces).tolist() == found.tolist()
