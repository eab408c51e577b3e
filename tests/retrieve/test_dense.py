import numpy as np
import pytest

from tasks.errors import ModelError
from tasks.retrieve import dense
from tasks.retrieve.settings import DenseSettings, RetrieveSettings
from tasks.store.tables import read_table
from tests.retrieve.build import checksums, commit, context, run


def parts(storage, stage, letter, arrays):
    return [commit(storage, stage, f"{letter}{number:04d}", {"vectors.npy": array}) for number, array in enumerate(arrays)]


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
    for kind in ("flat", "ivf"):
        empty = parts(setting.storage, "embed-documents", "d", [np.zeros((0, 3), dtype=np.float32)])
        done = run(setting, dense.STAGE, dense.jobs(DenseSettings(index=kind), empty, asked))
        assert read_table(setting.storage, done[0].file("q0000.parquet")).num_rows == 0


def test_auto_is_settled_by_the_size_of_all_partitions(tmp_path):
    setting = context(tmp_path)
    embedded = parts(setting.storage, "embed-documents", "d", [np.ones((6, 3), dtype=np.float32)] * 2)
    kinds = [dense.jobs(DenseSettings(auto_ivf_rows=limit), embedded, [])[0].settings["index"] for limit in (12, 13)]
    assert kinds == ["ivf", "flat"]
    flat = [dense.jobs(DenseSettings(nprobe=nprobe), embedded, [])[0].key(dense.STAGE) for nprobe in (4, 8)]
    assert flat[0] == flat[1]


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
    done = run(setting, dense.STAGE, dense.jobs(wanted, embedded, asked))
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
    assert checksums(run(other, dense.STAGE, dense.jobs(wanted, embedded, asked))) == checksums(done)


def test_ivf_that_cannot_reach_the_floor_is_refused(tmp_path):
    setting, generator = context(tmp_path), np.random.default_rng(1)
    near = np.float32(1) + generator.standard_normal((500, 4)).astype(np.float32) * 1e-3
    near[0] = 100  # one outlier leaves the others a single sq8 code
    embedded, asked = parts(setting.storage, "embed-documents", "d", [near]), parts(setting.storage, "embed-queries", "q", [near[1:50]])
    with pytest.raises(ModelError, match="recall_floor is 1"):
        run(setting, dense.STAGE, dense.jobs(DenseSettings(top_k=5, index="ivf", nlist=1, codes="sq8", recall_floor=1.0), embedded, asked))


def test_other_dimensions_are_refused(tmp_path):
    setting = context(tmp_path)
    embedded = parts(setting.storage, "embed-documents", "d", [np.ones((2, 3), dtype=np.float32)])
    asked = parts(setting.storage, "embed-queries", "q", [np.ones((2, 4), dtype=np.float32)])
    with pytest.raises(ModelError, match="4 dimensions, documents 3"):
        run(setting, dense.STAGE, dense.jobs(DenseSettings(), embedded, asked))


def test_sources_are_those_that_are_on():
    assert RetrieveSettings().sources == ["dense", "bm25"]
    assert RetrieveSettings.model_validate({"bm25": None, "random": {"count": 3}}).sources == ["dense", "random"]


@pytest.mark.parametrize("module", ["dense", "bm25", "candidates"])
def test_definitions_import_nothing_heavy(module):
    import subprocess
    import sys

    heavy = {"faiss", "torch", "bm25s", "sklearn", "datasets", "dask"}
    code = f"import sys, tasks.retrieve.{module}, tasks.features.scored, tasks.features.signatures; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"
