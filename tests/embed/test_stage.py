import shutil

import numpy as np
import pytest

from tasks.embed.lineage import previous_part, remember_part
from tasks.embed.stage import EMBED_DOCUMENTS, EMBED_QUERIES, document_jobs, query_jobs
from tasks.models.embedder import Embedder
from tasks.models.fingerprint import document_spec, query_spec
from tasks.models.settings import ModelSettings
from tasks.runner.runner import run_job
from tasks.store.tables import read_array, read_table

SETTINGS = ModelSettings(dtype="float32", device="cpu", max_length=32, query_prompt="query: ")
OLD = [("a", "", "apples and pears"), ("b", "Title", "a body"), ("c", "", "apples and pears"), ("d", "", "cats sleep")]
NEW = [("a", "", "apples and pears"), ("b", "Title", "another body"), ("d", "", "cats sleep"), ("e", "", "dogs bark"), ("f", "", "")]


def embed(storage, part, dtype="float32", previous=None):
    (job,) = document_jobs([part], document_spec(SETTINGS), dtype, {part.index: previous} if previous else None)
    told = []
    return run_job(storage.root, EMBED_DOCUMENTS, job, told.append), told


def test_documents(storage, make_part):
    done, told = embed(storage, make_part("documents", "d0000", OLD))
    vectors = read_array(storage, done.file("vectors.npy"))
    expected = Embedder(document_spec(SETTINGS)).encode(["apples and pears", "Title a body", "apples and pears", "cats sleep"]).vectors
    assert np.array_equal(vectors, expected)
    assert vectors.dtype == np.float32
    assert sum(told) == 4
    assert (done.counters["model_calls"], done.counters["cache_hits"]) == (3, 0)
    assert (done.meta["dim"], done.meta["similarity"]) == (384, "cosine")
    assert read_table(storage, done.file("hashes.parquet")).num_rows == 4


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_reused_vectors_are_the_same_bytes(storage, make_part, dtype):
    old, _ = embed(storage, make_part("documents", "d0000", OLD), dtype)
    part = make_part("documents", "d0000", NEW)
    fresh, _ = embed(storage, part, dtype)
    checksums = [file.checksum for file in fresh.files]
    (storage.scratch().parent / "manifests/embed-documents/parts" / f"{fresh.key}.json").unlink()
    reused, told = embed(storage, part, dtype, previous=old)
    assert reused.key == fresh.key
    assert [file.checksum for file in reused.files] == checksums
    assert (reused.counters["model_calls"], reused.counters["cache_hits"]) == (3, 2)
    assert sum(told) == 5


def test_in_pieces_it_gives_the_same_bytes(storage, make_part):
    part = make_part("documents", "d0000", [(f"d{n}", "", f"text {n}, " + "a word and more " * (n % 5)) for n in range(40)])
    whole, _ = embed(storage, part)
    (storage.scratch().parent / "manifests/embed-documents/parts" / f"{whole.key}.json").unlink()
    shutil.rmtree(storage.scratch().parent / "manifests/vectors")
    (job,) = document_jobs([part], document_spec(SETTINGS), "float32")
    told = []
    pieces = run_job(storage.root, EMBED_DOCUMENTS, job.smaller(EMBED_DOCUMENTS), told.append)
    assert pieces.meta["pieces"] == 4
    assert [file.checksum for file in pieces.files] == [file.checksum for file in whole.files]
    assert (pieces.counters["model_calls"], sum(told)) == (40, 40)


def test_vectors_of_another_dtype_or_model_are_not_reused(storage, make_part):
    part = make_part("documents", "d0000", OLD)
    old, _ = embed(storage, part, "float16")
    assert embed(storage, part, "float32", previous=old)[0].counters["cache_hits"] == 0
    other = old.model_copy(update={"meta": {**old.meta, "model": "another"}})
    part = make_part("documents", "d0000", NEW)
    assert embed(storage, part, "float16", previous=other)[0].counters["cache_hits"] == 0


def test_vanished_vectors_are_made_again(storage, make_part):
    old, _ = embed(storage, make_part("documents", "d0000", OLD))
    storage.local_copy(old.file("vectors.npy").path, 0, "").unlink()
    assert embed(storage, make_part("documents", "d0000", NEW), previous=old)[0].counters["cache_hits"] == 0


def test_an_empty_partition(storage, make_part):
    done, _ = embed(storage, make_part("documents", "d0000", []))
    assert read_array(storage, done.file("vectors.npy")).shape == (0, 384)


def test_queries_get_their_prompt(storage, make_part):
    (job,) = query_jobs([make_part("queries", "q0000", [("q", "what is it")])], query_spec(SETTINGS))
    done = run_job(storage.root, EMBED_QUERIES, job, lambda _: None)
    plain = Embedder(document_spec(SETTINGS)).encode(["query: what is it"]).vectors
    assert np.array_equal(read_array(storage, done.file("vectors.npy")), plain)


def test_the_place_of_the_model_is_in_no_key(storage, make_part):
    part = make_part("documents", "d0000", OLD)
    spec = document_spec(SETTINGS)
    (one,), (other,) = document_jobs([part], spec), document_jobs([part], spec.model_copy(update={"path": "elsewhere"}))
    assert one.key(EMBED_DOCUMENTS) == other.key(EMBED_DOCUMENTS)
    assert one.key(EMBED_DOCUMENTS) != document_jobs([part], spec, "float16")[0].key(EMBED_DOCUMENTS)


def test_lineage(storage, make_part):
    fingerprint = document_spec(SETTINGS).fingerprint
    assert previous_part(storage, "docs", fingerprint, "embed-documents", "d0000") is None
    done, _ = embed(storage, make_part("documents", "d0000", OLD))
    remember_part(storage, "docs", fingerprint, done)
    assert previous_part(storage, "docs", fingerprint, "embed-documents", "d0000") == done
    assert previous_part(storage, "docs", fingerprint, "embed-documents", "d0001") is None
    storage.local_copy(done.file("vectors.npy").path, 0, "").unlink()
    assert previous_part(storage, "docs", fingerprint, "embed-documents", "d0000") is None
