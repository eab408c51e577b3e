"""A dataset's batches, some at a time."""

import pyarrow as pa
import pytest

from tasks.mixture import stage
from tasks.mixture.settings import MixtureSettings
from tasks.mixture.stream import Stream
from tasks.mixture.texts import Corpus
from tasks.store.storage import open_storage
from tests.retrieve.build import commit


def shards(storage, queries, each):
    """Triplets of so many queries, each with so many rows."""
    names = [f"q{number}" for number in range(queries) for _ in range(each)]
    data = pa.table({"anchor": names, "positive": names, "negative": [f"{number}" for number in range(len(names))]})
    side = pa.table(
        {
            "query_id": names,
            "positive_ids": [[f"p{name}"] for name in names],
            "negative_ids": [[f"n{number}"] for number in range(len(names))],
        }
    )
    return commit(storage, "shards", "q0000", {"data/train-q0000-00000.parquet": data, "sidecar/train-q0000-00000.parquet": side})


@pytest.mark.parametrize("queries", [16, 17, 31, 33])
def test_the_last_batches_are_parted_as_well_as_the_first(tmp_path, monkeypatch, queries):
    monkeypatch.setattr(stage, "_AT_ONCE", 64)
    storage = open_storage(str(tmp_path))
    stream = Stream(storage, [shards(storage, queries, 4)], "d")
    stream.counted, stream.wanted = stream.count(), queries * 4
    nothing = pa.table({"doc_id": pa.array([], pa.string()), "norm_hash": pa.array([], pa.string())})
    known = nothing.rename_columns(["query_id", "norm_hash"])
    labels = pa.table({"query_id": pa.array([], pa.string()), "doc_id": pa.array([], pa.string())})
    source = stage._Source(stream, Corpus.of(nothing, known, labels), MixtureSettings(batch_size=4), (0, queries))
    batches = [source.batch()[1]["query_id"].to_pylist() for _ in range(queries)]
    assert [len(set(batch)) for batch in batches] == [4] * queries
    assert sorted(name for batch in batches for name in batch) == sorted(f"q{number}" for number in range(queries) for _ in range(4))
    assert source.clashing == 0
