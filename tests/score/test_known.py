import pyarrow as pa

from tasks.score.known import known_share
from tasks.score.pair_store import put_marker
from tasks.score.pairs import unique_pairs
from tasks.store.output import Output
from tasks.store.tables import read_table

SOURCES = ["dense", "random"]


def test_the_share_that_the_pair_store_has(storage, make_candidates):
    parts = make_candidates()
    assert known_share(storage, parts, "t", 10, SOURCES) == 0.0
    table = read_table(storage, parts[0].file("candidates.parquet"))
    pairs, _ = unique_pairs(table["query_hash"], table["doc_hash"])
    # queries 0 and 5 have the same text and the same candidates: 5 · 5 different pairs, of which 10 are stored
    assert pairs.num_rows == 25
    out = Output(storage, "data/score/s")
    out.table("pairs.parquet", pairs.slice(0, 10).append_column("logit", pa.array([0.0] * 10, pa.float32())))
    put_marker(storage, "t", "s", out.files[0])
    assert known_share(storage, parts, "t", 10, SOURCES) == 10 / 25
    assert known_share(storage, parts, "other", 10, SOURCES) == 0.0
