import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import ModelError
from tasks.folds import Fold, in_chunk
from tasks.retrieve import clusters, dense, faiss_search
from tasks.retrieve.settings import DenseSettings, RetrieveSettings
from tasks.retrieve.task import retrieve_dense
from tasks.store.manifest import Part
from tasks.store.tables import read_table
from tests.retrieve.build import checksums, commit, context, dataset, run


def parts(storage, stage, letter, arrays):
    return [commit(storage, stage, f"{letter}{number:04d}", {"vectors.npy": array}) for number, array in enumerate(arrays)]


def ivf(setting, wanted, embedded, asked):
    trained = [part for job in [clusters.jobs(wanted, embedded, asked)] if job for part in run(setting, clusters.STAGE, job)]
    return trained, run(setting, dense.STAGE, dense.jobs(wanted, embedded, asked, clusters=trained))


def unit(generator, rows, dim, dtype=np.float32):
    vectors = generator.standard_normal((rows, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_flat_equals_brute_force(tmp_path, dtype):
    setting, generator = context(tmp_path), np.random.default_rng(0)
    docs, queries = (
        [unit(generator, 700, 16, dtype), unit(generator, 5, 16, dtype)],
        [unit(generator, 300, 16, dtype), unit(generator, 0, 16, dtype)],
    )
    embedded, asked = parts(setting.storage, "embed-documents", "d", docs), parts(setting.storage, "embed-queries", "q", queries)
    done = run(setting, dense.STAGE, dense.jobs(DenseSettings(top_k=10), embedded, asked))
    assert [part.index for part in done] == ["d0000", "d0001"]
    assert [file.name for file in done[0].files] == ["q0000.parquet", "q0001.parquet"]
    assert setting.progress.units == setting.progress.total == {"retrieve-dense": 600}
    for part, vectors in zip(done, docs, strict=True):
        table = read_table(setting.storage, part.file("q0000.parquet"))
        width = min(10, len(vectors))
        exact = queries[0].astype(np.float64) @ vectors.astype(np.float64).T
        best = np.argsort(-exact, axis=1, kind="stable")[:, :width]
        assert table["query_row"].to_pylist() == np.repeat(np.arange(300), width).tolist()
        np.testing.assert_allclose(table["score"].to_numpy(), np.take_along_axis(exact, best, axis=1).ravel(), atol=1e-6)
        assert np.mean(table["doc_row"].to_numpy() == best.ravel()) > 0.99
        assert read_table(setting.storage, part.file("q0001.parquet")).num_rows == 0


def test_flat_bytes_do_not_depend_on_threads(tmp_path, monkeypatch):
    results = []
    for threads in ("1", "3"):
        monkeypatch.setenv("HARDMINE_WORKER_CORES", threads)
        setting, generator = context(tmp_path / threads), np.random.default_rng(4)
        embedded = parts(setting.storage, "embed-documents", "d", [unit(generator, 2500, 33)])
        asked = parts(setting.storage, "embed-queries", "q", [unit(generator, 700, 33)])
        results.append(checksums(run(setting, dense.STAGE, dense.jobs(DenseSettings(), embedded, asked))))
    assert results[0] == results[1]


def test_equal_scores_are_sorted_by_row(tmp_path):
    setting = context(tmp_path)
    docs = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (5, 1))
    done = run(
        setting,
        dense.STAGE,
        dense.jobs(
            DenseSettings(top_k=5),
            parts(setting.storage, "embed-documents", "d", [docs]),
            parts(setting.storage, "embed-queries", "q", [docs[:1]]),
        ),
    )
    table = read_table(setting.storage, done[0].file("q0000.parquet"))
    assert table.to_pydict() == {"query_row": [0] * 5, "doc_row": [0, 1, 2, 3, 4], "score": [1.0] * 5}


def test_an_empty_partition_retrieves_nothing(tmp_path):
    setting = context(tmp_path)
    asked = parts(setting.storage, "embed-queries", "q", [np.ones((2, 3), dtype=np.float32)])
    full, empty = np.ones((3, 3), dtype=np.float32), np.zeros((0, 3), dtype=np.float32)
    for kind, arrays in (("flat", [empty]), ("ivf", [empty]), ("ivf", [full, empty])):
        _, done = ivf(setting, DenseSettings(index=kind), parts(setting.storage, "embed-documents", "d", arrays), asked)
        assert read_table(setting.storage, done[-1].file("q0000.parquet")).num_rows == 0


def test_auto_is_settled_by_the_size_of_all_partitions(tmp_path):
    setting = context(tmp_path)
    embedded = parts(setting.storage, "embed-documents", "d", [np.ones((6, 3), dtype=np.float32)] * 2)
    kinds = [dense.settled(DenseSettings(auto_ivf_rows=limit), embedded).index for limit in (12, 13)]
    assert kinds == ["ivf", "flat"]
    assert [dense.settled(DenseSettings(auto_ivf_rows=1, device=device), embedded).index for device in ("cpu", "cuda")] == ["ivf", "flat"]
    assert dense.settled(DenseSettings(index="ivf", device="cuda"), embedded).device == "cpu"
    flat = [dense.jobs(DenseSettings(nprobe=nprobe), embedded, [])[0].key(dense.STAGE) for nprobe in (4, 8)]
    assert flat[0] == flat[1]
    assert dense.jobs(DenseSettings(device="cuda"), embedded, [])[0].key(dense.ON_DEVICE) != flat[0]


@pytest.mark.parametrize("codes", ["float32", "sq8"])
def test_ivf_raises_nprobe_until_the_floor_holds(tmp_path, codes, monkeypatch):
    setting, generator = context(tmp_path), np.random.default_rng(1)
    docs, queries = unit(generator, 3000, 16, np.float16), unit(generator, 400, 16, np.float16)
    embedded, asked = (
        parts(setting.storage, "embed-documents", "d", [docs]),
        parts(setting.storage, "embed-queries", "q", [queries[:300], queries[300:]]),
    )
    wanted = DenseSettings(top_k=10, index="ivf", nlist=32, nprobe=1, codes=codes, recall_sample=50)
    monkeypatch.setenv("HARDMINE_WORKER_CORES", "1")
    _, done = ivf(setting, wanted, embedded, asked)
    meta = done[0].meta
    assert meta["nlist"] == 32 and meta["sampled"] == 50 and meta["recall"] >= 0.95 and 1 < meta["nprobe"] <= 32
    table = read_table(setting.storage, done[0].file("q0001.parquet"))
    exact = queries[300:].astype(np.float32) @ docs.astype(np.float32).T
    np.testing.assert_allclose(table["score"].to_numpy(), exact[table["query_row"].to_numpy(), table["doc_row"].to_numpy()], atol=1e-6)
    best = [set(row) for row in np.argsort(-exact, axis=1)[:, :10].tolist()]
    found = [(query in range(100)) and row in best[query] for query, row in zip(*table.select([0, 1]).to_pydict().values(), strict=True)]
    assert np.mean(found) > 0.9
    monkeypatch.setenv("HARDMINE_WORKER_CORES", "3")
    other = context(tmp_path / "other")
    embedded, asked = (
        parts(other.storage, "embed-documents", "d", [docs]),
        parts(other.storage, "embed-queries", "q", [queries[:300], queries[300:]]),
    )
    assert checksums(ivf(other, wanted, embedded, asked)[1]) == checksums(done)


def test_clusters_are_trained_once_for_all_partitions(tmp_path):
    """Points about four centres, two of them in each partition; of a query's exact best 5 none lies outside of its own centre.

    One cluster is searched for each query, so each partition finds the queries of its own centres, and the recall is 1.
    """
    setting, generator = context(tmp_path), np.random.default_rng(3)
    centres = np.eye(4, dtype=np.float32)
    docs = [centres[rows] + generator.normal(0, 0.01, (len(rows), 4)).astype(np.float32) for rows in ([2, 3] * 30, [0, 1] * 40)]
    embedded = parts(setting.storage, "embed-documents", "d", docs)
    asked = parts(setting.storage, "embed-queries", "q", [centres])
    trained, done = ivf(setting, DenseSettings(top_k=5, index="ivf", nlist=4, nprobe=1), embedded, asked)
    assert [part.index for part in trained] == ["all"]
    assert trained[0].meta == {"nlist": 4, "nprobe": 1, "recall": 1.0, "sampled": 4}
    assert [(part.meta["nlist"], part.meta["nprobe"], part.meta["wanted"], part.meta["recall"]) for part in done] == [(4, 1, 10, 1.0)] * 2
    found = [read_table(setting.storage, part.file("q0000.parquet"))["query_row"].to_pylist() for part in done]
    assert found == [[2] * 5 + [3] * 5, [0] * 5 + [1] * 5]


def test_as_many_clusters_are_searched_as_the_best_of_the_whole_corpus_need(tmp_path):
    """A partition without any of the best documents asks for no more clusters, however badly its own best are found."""
    setting, generator = context(tmp_path), np.random.default_rng(5)
    near, far = unit(generator, 400, 8), -unit(generator, 400, 8) * 1e-3
    queries = unit(generator, 20, 8)
    embedded = parts(setting.storage, "embed-documents", "d", [near, far])
    wanted = DenseSettings(top_k=3, index="ivf", nlist=8, nprobe=1, recall_floor=1.0)
    trained, done = ivf(setting, wanted, embedded, parts(setting.storage, "embed-queries", "q", [queries]))
    assert done[0].meta["recall"] == 1.0 and done[0].meta["wanted"] == 60
    assert done[1].meta["wanted"] == 0 and done[1].meta["nprobe"] == trained[0].meta["nprobe"]
    assert dense.recall_of(done) == 1.0


def test_only_the_chunk_s_queries_are_sampled_and_searched(tmp_path):
    """The task from end to end: clusters, then search, of one of two chunks."""
    setting, generator = context(tmp_path), np.random.default_rng(6)
    names = [f"q{number}" for number in range(30)]
    vectors = dict(zip(names, unit(generator, 30, 8), strict=True)) | {f"d{row}": one for row, one in enumerate(unit(generator, 90, 8))}
    made = dataset(setting.storage, [(f"d{row}", "", "x") for row in range(90)], [(name, name) for name in names], (), 2, 2, vectors)
    wanted = DenseSettings(top_k=4, index="ivf", nlist=4, codes="sq8", recall_floor=0.9)
    given_parts = (made.embed_documents, made.embed_queries, made.queries)
    trained, found = retrieve_dense(setting, wanted, *given_parts, Fold(0, 2))
    assert (trained.stage, found.stage) == ("dense-clusters", "retrieve-dense")
    rows = {
        part.index: np.flatnonzero(in_chunk(read_table(setting.storage, part.files[0])["query_id"].to_pylist(), Fold(0, 2)))
        for part in made.queries
    }
    assert trained.parts[0].meta["sampled"] == sum(map(len, rows.values())) < 30
    for part in found.parts:
        for index, asked in rows.items():
            table = read_table(setting.storage, part.file(f"{index}.parquet"))
            assert np.unique(table["query_row"].to_numpy()).tolist() == asked.tolist()
    assert [manifest.stage for manifest in retrieve_dense(setting, DenseSettings(device="cpu"), *given_parts)] == ["retrieve-dense"]


def test_recall_counts_by_what_was_to_be_found():
    part = Part(stage="s", key="k", index="d0000", files=())
    told = [part.model_copy(update={"meta": {"wanted": wanted, "recall": recall}}) for wanted, recall in ((30, 0.9), (10, 0.5), (0, 1.0))]
    assert dense.recall_of(told) == pytest.approx((27 + 5) / 40)
    assert dense.recall_of([part.model_copy(update={"meta": {"rows": 7, "index": "flat"}})]) == dense.recall_of([]) == 1.0


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    queries=st.integers(0, 5),
    top_k=st.integers(1, 12),
    levels=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_exact_over_arrays_is_exact_over_all_rows(sizes, queries, top_k, levels, seed):
    """Few levels: many ties, of which the first row comes first."""
    generator = np.random.default_rng(seed)
    arrays = [generator.integers(0, levels, (size, 3)).astype(np.float32) for size in sizes]
    asked = generator.integers(0, levels, (queries, 3)).astype(np.float32)
    whole = np.concatenate(arrays)
    best = np.argsort(-(asked @ whole.T), axis=1, kind="stable")[:, :top_k]
    with faiss_search.single_threads(2) as pool:
        scores, rows = faiss_search.exact(arrays, asked, top_k, pool)
    np.testing.assert_array_equal(scores, np.take_along_axis(asked @ whole.T, best, axis=1))
    assert scores.shape == rows.shape == (queries, min(top_k, len(whole)))
    if max(sizes) <= 1 or levels == 1:  # within one array FAISS orders ties as it likes
        np.testing.assert_array_equal(rows, best)


def test_rows_are_taken_over_several_arrays():
    arrays = [np.arange(start, stop, dtype=np.float16)[:, None] for start, stop in ((0, 3), (3, 3), (3, 10))]
    assert clusters.sample(arrays, 4, 2).ravel().tolist() == [0.0, 3.0, 6.0, 9.0]  # of 10 rows: 0, 3, 6, 9
    assert clusters.sample(arrays, 99, 2).ravel().tolist() == list(range(10))
    assert clusters.take_rows(arrays, np.array([9, 2, 2, 3])).tolist() == [[9.0], [2.0], [2.0], [3.0]]


def test_ivf_that_cannot_reach_the_floor_is_refused(tmp_path):
    setting, generator = context(tmp_path), np.random.default_rng(1)
    near = np.float32(1) + generator.standard_normal((500, 4)).astype(np.float32) * 1e-3
    near[0] = 100  # one outlier leaves the others a single sq8 code
    embedded, asked = parts(setting.storage, "embed-documents", "d", [near]), parts(setting.storage, "embed-queries", "q", [near[1:50]])
    with pytest.raises(ModelError, match="recall_floor is 1"):
        ivf(setting, DenseSettings(top_k=5, index="ivf", nlist=1, codes="sq8", recall_floor=1.0), embedded, asked)


def test_other_dimensions_are_refused(tmp_path):
    setting = context(tmp_path)
    embedded = parts(setting.storage, "embed-documents", "d", [np.ones((2, 3), dtype=np.float32)])
    asked = parts(setting.storage, "embed-queries", "q", [np.ones((2, 4), dtype=np.float32)])
    with pytest.raises(ModelError, match="4 dimensions, documents 3"):
        run(setting, dense.STAGE, dense.jobs(DenseSettings(), embedded, asked))


def test_sources_are_those_that_are_on():
    assert RetrieveSettings().sources == ["dense", "bm25"]
    assert RetrieveSettings.model_validate({"bm25": None, "random": {"count": 3}}).sources == ["dense", "random"]


@pytest.mark.parametrize("module", ["clusters", "dense", "bm25", "candidates"])
def test_definitions_import_nothing_heavy(module):
    import subprocess
    import sys

    heavy = {"faiss", "torch", "bm25s", "sklearn", "datasets", "dask"}
    code = f"import sys, tasks.retrieve.{module}, tasks.features.scored, tasks.features.signatures; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"
