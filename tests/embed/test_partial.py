"""Documents that are new or changed: they alone are embedded, and nobody can tell it from the vectors."""

import numpy as np
import pytest

from tasks.embed.known import pin
from tasks.embed.segments import space_of
from tasks.embed.stage import EMBED_DOCUMENTS, EMBED_QUERIES, document_jobs, query_jobs
from tasks.embed.task import embed_documents
from tasks.models.fingerprint import document_spec
from tasks.models.settings import ModelSettings
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context, run_job
from tasks.store.storage import open_storage
from tasks.store.tables import read_array

WORDS = ["wing", "river", "engine", "violin", "planet", "candle", "tiger", "bridge", "winter", "pepper"]


class Silent:
    def start(self, *_):
        pass

    def advance(self, *_):
        pass

    def finish(self, *_, **__):
        pass


def context(storage):
    return Context(storage, lambda: InlineExecutor(2), Silent())


def collection(changed=()):
    """60 documents of 4 to 40 words, so that padded lengths and partial batches differ; ``changed`` ones say something else."""
    texts = [" ".join(WORDS[(n * step + n) % 10] for step in range(4 + 9 * (n % 5))) for n in range(60)]
    return [(f"d{n:02d}", f"title {n}", f"{texts[n]} {'changed' if n in changed else 'first'} {n}") for n in range(60)]


def parts(make_part, rows, count):
    """The documents dealt to so many partitions."""
    return [make_part("documents", f"d{number:04d}", rows[number::count]) for number in range(count)]


def vectors(storage, manifest, rows, count):
    """(60, dim) in the documents' order."""
    found = {}
    for number, part in enumerate(manifest.parts):
        read = read_array(storage, part.file("vectors.npy"))
        found |= {row[0]: read[place] for place, row in enumerate(rows[number::count])}
    return np.stack([found[row[0]] for row in rows])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_vectors_of_a_partial_refresh_are_those_of_a_fresh_run(storage, make_part, tmp_path, dtype):
    settings = ModelSettings(dtype=dtype, device="cpu", max_length=64, batch_tokens=256)
    rows = collection()
    first = embed_documents(context(storage), settings, "docs", parts(make_part, rows, 3))
    assert (first.counters["model_calls"], first.counters["cache_hits"]) == (60, 0)
    # two changed texts, and another number of partitions, so that no partition is what it was: 2 are embedded
    rows = collection(changed=(7, 32))
    again = embed_documents(context(storage), settings, "docs", parts(make_part, rows, 4))
    assert (again.counters["model_calls"], again.counters["cache_hits"]) == (2, 58)
    other = open_storage(str(tmp_path / "fresh"))
    fresh_parts = [part.model_copy() for part in parts(make_part, rows, 4)]
    for part in fresh_parts:
        for file in part.files:
            target = tmp_path / "fresh" / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(storage.local_copy(file.path, 0, "").read_bytes())
    fresh = embed_documents(context(other), settings, "docs", fresh_parts)
    assert fresh.counters["model_calls"] == 60
    assert vectors(storage, again, rows, 4).tobytes() == vectors(other, fresh, rows, 4).tobytes()
    assert again.checksum == fresh.checksum


def test_counted_by_where_it_came_from(storage, make_part):
    settings = ModelSettings(dtype="float32", device="cpu", max_length=32)
    embed_documents(context(storage), settings, "docs", parts(make_part, collection(), 2))
    # d0001 has d0000's 30 texts: nothing of it is in the earlier d0001, all of it is known elsewhere
    swapped = [make_part("documents", "d0001", collection()[0::2])]
    found = embed_documents(context(storage), settings, "docs", swapped)
    assert {name: found.counters[name] for name in ("model_calls", "cache_hits", "moved")} == {
        "model_calls": 0,
        "cache_hits": 30,
        "moved": 30,
    }
    kept = embed_documents(context(storage), settings, "docs", [make_part("documents", "d0000", collection()[0:20:2])])
    assert {name: kept.counters[name] for name in ("model_calls", "cache_hits", "moved")} == {
        "model_calls": 0,
        "cache_hits": 10,
        "moved": 0,
    }


def test_another_model_prompt_template_or_stored_dtype_shares_nothing(storage, make_part):
    settings = ModelSettings(dtype="float32", device="cpu", max_length=32)
    embed_documents(context(storage), settings, "docs", parts(make_part, collection(), 1))
    for change in ({"document_prompt": "passage: "}, {"title_template": "{text}"}, {"vector_dtype": "float16"}, {"max_length": 16}):
        known = pin(storage, space_of(document_spec(settings.model_copy(update=change)).fingerprint, change.get("vector_dtype", "float32")))
        assert (known.generation, known.fresh) == (None, ()), change


def test_where_all_is_known_no_model_is_loaded(storage, make_part):
    settings = ModelSettings(dtype="float32", device="cpu", max_length=32)
    spec = document_spec(settings)
    (job,) = document_jobs([make_part("documents", "d0000", collection()[:3])], spec)
    first = run_job(storage.root, EMBED_DOCUMENTS, job, lambda _: None)
    nowhere = spec.model_copy(update={"path": "/nowhere", "title_template": spec.title_template})
    known = pin(storage, space_of(spec.fingerprint, "float32"))
    (job,) = document_jobs([make_part("documents", "d0009", collection()[1:3])], nowhere, known=known)
    done = run_job(storage.root, EMBED_DOCUMENTS, job, lambda _: None)
    assert (done.counters["model_calls"], done.counters["moved"]) == (0, 2)
    assert done.meta == first.meta
    # the queries of a model without prompts are another space: a document's template has a title
    (job,) = query_jobs([make_part("queries", "q0000", [("q", "wing")])], spec, known=known)
    assert run_job(storage.root, EMBED_QUERIES, job, lambda _: None).counters["model_calls"] == 1
