import itertools
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.corpus import ingest
from tasks.corpus.buckets import Buckets
from tasks.corpus.dataset import ingest_jobs
from tasks.corpus.order import FILE_ROWS
from tasks.corpus.queries import fold
from tasks.corpus.settings import DatasetSettings
from tasks.corpus.sources import find_sources
from tasks.errors import InputError, UsageError
from tasks.runner.runner import run_job
from tasks.schema import DOCS, QRELS, QUERIES, REJECTED_INPUT
from tasks.store.keys import input_hash, norm_hash, partition_of
from tasks.store.manifest import read_part
from tasks.store.tables import read_table

FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def reasons(site, dataset):
    return sorted((row["file"], row["line"], row["reason"]) for row in site.rejected(dataset))


def checksums(dataset, file):
    parts = dataset.documents if file == "docs.parquet" else dataset.queries
    return [part.file(file).checksum for part in parts]


def test_equal_texts_share_a_fold(site):
    """What is planted for the one query is not trained on for the other: both are one input of a teacher."""
    asked = [{"query_id": f"q{number}", "query": f"text {number // 2}"} for number in range(8)]
    judged = [{"query_id": one["query_id"], "doc_id": f"d{doc}", "relevance": 1} for one in asked for doc in range(3)]
    dataset = site.ingest(
        corpus=site.jsonl("c.jsonl", [{"doc_id": f"d{doc}", "text": f"document {doc}"} for doc in range(3)]),
        queries=site.jsonl("q.jsonl", asked),
        qrels=site.jsonl("r.jsonl", judged),
        query_partitions=3,
    )
    folds = {(row["query_id"], row["doc_id"]): row["fold"] for row in site.qrels(dataset).to_pylist()}
    assert len(folds) == 24
    for query, doc in itertools.product(range(0, 8, 2), range(3)):
        assert folds[f"q{query}", f"d{doc}"] == folds[f"q{query + 1}", f"d{doc}"]
    assert len(set(folds.values())) > 6  # of 12 pairs of text and document


def test_tables_by_hand(site, small):
    dataset = site.ingest(**small, seed=7)
    docs = {row["doc_id"]: row for row in site.docs(dataset).to_pylist()}
    assert docs["d1"] == {
        "doc_id": "d1",
        "title": "T1",
        "text": "text 1",
        "group_id": None,
        "language": None,
        "position": 1,
        "input_hash": input_hash("T1", "text 1"),
        "norm_hash": norm_hash("text 1"),
    }
    queries = {row["query_id"]: row for row in site.queries(dataset).to_pylist()}
    assert (queries["a"]["group"], queries["b"]["group"]) == (norm_hash("first"), "g")
    assert (queries["a"]["split"], queries["a"]["answers"], queries["b"]["position"]) == (None, None, 1)
    qrels = {(row["query_id"], row["doc_id"]): row for row in site.qrels(dataset).to_pylist()}
    assert {pair: row["relevance"] for pair, row in qrels.items()} == {("a", "d0"): 2, ("a", "d1"): 0, ("b", "d2"): 1}
    for (query_id, doc_id), row in qrels.items():
        part = dataset.documents[row["doc_partition"]]
        assert read_table(site.storage, part.file("docs.parquet"))["doc_id"][row["doc_row"]].as_py() == doc_id
        assert row["fold"] == fold(7, queries[query_id]["group"], doc_id)
    assert dataset.counts == {
        "documents": 3, "merged": 0, "outside_split": 0, "positives": 2, "qrels": 3, "queries": 2, "queries_without_positives": 0,
    }  # fmt: skip
    assert (dataset.grades, dataset.max_positives, dataset.rejected) == ({"0": 1, "1": 1, "2": 1}, 1, 0)


def test_schemas_order_and_partitions(site):
    count = 300
    corpus = site.jsonl("c.jsonl", [{"doc_id": f"d{n}", "text": f"text {n}"} for n in range(count)])
    queries = site.jsonl(
        "q.jsonl", [{"query_id": f"q{n}", "query": f"query {n}", "positive_ids": [f"d{n}", f"d{n + 1}"]} for n in range(count - 1)]
    )
    dataset = site.ingest(corpus=corpus, queries=queries, document_partitions=5, query_partitions=3)
    for number, part in enumerate(dataset.documents):
        table = read_table(site.storage, part.file("docs.parquet"))
        ids = table["doc_id"].to_pylist()
        assert table.schema.equals(DOCS)
        assert part.index == f"d{number:04d}"
        assert ids == sorted(ids)
        assert {partition_of(one, 5) for one in ids} == {number}
    for number, part in enumerate(dataset.queries):
        table, qrels = (read_table(site.storage, part.file(name)) for name in ("queries.parquet", "qrels.parquet"))
        pairs = list(zip(qrels["query_id"].to_pylist(), qrels["doc_id"].to_pylist(), strict=True))
        assert table.schema.equals(QUERIES)
        assert qrels.schema.equals(QRELS)
        assert pairs == sorted(pairs)
        assert {partition_of(one, 3) for one in table["query_id"].to_pylist()} == {number}
    assert (dataset.counts["qrels"], dataset.max_positives) == (2 * (count - 1), 2)


def test_bad_rows_are_set_aside_by_file_line_and_reason(site):
    corpus = site.write(
        "c/corpus.jsonl",
        b"\n".join(
            [
                b'{"doc_id": "a", "text": "one"}',
                b"{bad",
                b'{"doc_id": "b", "text": " "}',
                b'{"text": "x"}',
                b'{"doc_id": "a", "text": "again"}',
                b"",
                b'{"doc_id": "c", "text": "\xff"}',
                b'{"doc_id": "d", "text": "last"}',
            ]
        ),
    )
    queries = site.jsonl(
        "queries.jsonl", [{"query_id": "q", "query": "first"}, {"query_id": "q", "query": "second"}, {"query_id": "r", "query": ""}]
    )
    qrels = site.jsonl(
        "r/qrels.jsonl",
        [
            {"query_id": q, "doc_id": d, "relevance": r}
            for q, d, r in [("q", "a", 1), ("q", "zz", 1), ("x", "a", 1), ("q", "d", "much"), ("q", "a", 2), ("q", "a", 1)]
        ],
    )
    dataset = site.ingest(corpus=corpus, queries=queries, qrels=qrels)
    found = [(file, line, reason.split(":")[0]) for file, line, reason in reasons(site, dataset)]
    assert found == [
        ("c/corpus.jsonl", 2, "bad JSON"),
        ("c/corpus.jsonl", 3, "empty text"),
        ("c/corpus.jsonl", 4, "no doc_id (column doc_id or _id or id or docid)"),
        ("c/corpus.jsonl", 5, "duplicate id 'a'"),
        ("c/corpus.jsonl", 7, "not UTF-8"),
        ("queries.jsonl", 2, "duplicate id 'q'"),
        ("queries.jsonl", 3, "empty query"),
        ("r/qrels.jsonl", 2, "unknown document 'zz'"),
        ("r/qrels.jsonl", 3, "unknown query 'x'"),
        ("r/qrels.jsonl", 4, "the grade 'much' is not a whole number"),
        ("r/qrels.jsonl", 5, "another grade before for this query and 'a'"),
    ]
    assert sorted(zip(*site.docs(dataset).select(["doc_id", "text"]).to_pydict().values(), strict=True)) == [("a", "one"), ("d", "last")]
    assert site.queries(dataset)["text"].to_pylist() == ["first"]
    assert site.qrels(dataset).select(["query_id", "doc_id", "relevance"]).to_pylist() == [{"query_id": "q", "doc_id": "a", "relevance": 1}]
    assert dataset.rejected == 11
    contents = {row["line"]: row["content"] for row in site.rejected(dataset) if row["file"] == "r/qrels.jsonl"}
    assert contents[2] == "q\tzz\t1"


def test_ids_that_mark_what_a_model_wrote_are_set_aside(site):
    """Documents alone: queries that were written are a dataset like any other. A prefix of one's own makes them usable."""
    given = {
        "corpus": site.jsonl("c.jsonl", [{"doc_id": name, "text": f"text of {name}"} for name in ("d1", "synthetic:1", "synthetic", "d2")]),
        "queries": site.jsonl("q.jsonl", [{"query_id": "synthetic:q", "query": "what?"}]),
        "qrels": site.jsonl("r.jsonl", [{"query_id": "synthetic:q", "doc_id": "d1", "relevance": 1}]),
    }
    dataset = site.ingest(**given, max_rejected=0.5)
    assert sorted(row["doc_id"] for row in site.docs(dataset).to_pylist()) == ["d1", "d2", "synthetic"]
    assert reasons(site, dataset) == [
        ("c.jsonl", 2, "ids that begin with 'synthetic:' are of documents that a language model wrote: rename it, or set id_prefix")
    ]
    with pytest.raises(InputError, match=r"1 of 4 rows of corpus cannot be used[^$]*c\.jsonl:2"):
        site.ingest(**given, max_rejected=0.1)
    assert site.ingest(**given, id_prefix="mine-").document_count == 4


def test_over_the_limit_the_first_ten_are_shown_before_more_is_done(site):
    rows = [{"doc_id": f"d{n}", "text": "x" if n >= 12 else ""} for n in range(100)]
    corpus, queries = site.jsonl("c.jsonl", rows), site.jsonl("q.jsonl", [{"query_id": "q", "query": "x", "positive_ids": "d50"}])
    with pytest.raises(InputError) as caught:
        site.ingest(corpus=corpus, queries=queries, max_rejected=0.1)
    lines = caught.value.message.splitlines()
    assert lines[0] == "dataset d: 12 of 100 rows of corpus cannot be used, more than the 10.00% that are allowed; the first:"
    assert lines[1] == '  c.jsonl:1: empty text: {"doc_id": "d0", "text": ""}'
    assert len(lines) == 11
    assert "documents" not in site.progress.cached
    assert site.ingest(corpus=corpus, queries=queries, max_rejected=0.12).rejected == 12


def test_the_limit_counts_each_role_apart(site, small):
    site.jsonl("c.jsonl", [{"doc_id": f"d{n}", "text": "x"} for n in range(1_000)])
    qrels = site.jsonl("r.jsonl", [{"query_id": "a", "doc_id": "d1"}, {"query_id": "a", "doc_id": "gone"}])
    with pytest.raises(InputError, match=r"1 of 2 rows of qrels cannot be used[^$]*r.jsonl:2: unknown document 'gone'"):
        site.ingest(**{**small, "qrels": qrels}, max_rejected=0.01)


def test_unresolved_inline_positives_are_counted_as_qrels(site, small):
    queries = site.jsonl("q2.jsonl", [{"query_id": "a", "query": "x", "positive_ids": ["d0", "gone"]}])
    with pytest.raises(InputError, match="1 of 2 rows of qrels"):
        site.ingest(corpus=small["corpus"], queries=queries, max_rejected=0)


def test_nothing_to_mine_is_an_error(site, small):
    with pytest.raises(InputError, match=r"no query has a positive \(2 queries, 3 judgements\)") as caught:
        site.ingest(**small, positive_min_grade=3)
    assert "dataset.positive_min_grade (3)" in caught.value.mend
    with pytest.raises(InputError, match="there are no documents"):
        site.ingest(**{**small, "corpus": site.write("empty.jsonl", "")})


def test_same_bytes_for_any_number_of_threads(make_site, small, site):
    one, four = make_site(), make_site()
    first, second = one.ingest(**small, threads=1), four.ingest(**small, threads=4)
    assert [stage.checksum for stage in first.stages] == [stage.checksum for stage in second.stages]
    assert first.version == second.version


def test_renaming_and_moving_files_changes_no_dataset(site, small, make_site):
    first = site.ingest(**small)
    moved = {role: site.write(f"elsewhere/{role}.jsonl", Path(path).read_bytes()) for role, path in small.items()}
    assert site.ingest(**moved).version == first.version
    copied = {role: site.write(f"third/{role}.jsonl", Path(path).read_bytes()) for role, path in moved.items()}
    site.ingest(**copied)
    assert set(site.progress.cached.values()) == {True}


def test_order_of_files_changes_positions_only(site, small):
    pieces = [site.jsonl(f"part{n}.jsonl", [{"doc_id": f"d{n}", "text": f"text {n}"}]) for n in range(3)]
    tables, versions = [], set()
    for order in itertools.permutations(pieces):
        dataset = site.ingest(**{**small, "corpus": list(order)})
        docs = site.docs(dataset)
        positions = {row["doc_id"]: row["position"] for row in docs.to_pylist()}
        assert positions == {f"d{pieces.index(path)}": number * FILE_ROWS for number, path in enumerate(order)}
        tables.append(docs.drop_columns(["position"]))
        versions.add(tuple(checksums(dataset, "queries.parquet") + checksums(dataset, "qrels.parquet")))
    assert all(table.equals(tables[0]) for table in tables)
    assert len(versions) == 1


def test_first_of_a_repeated_id_is_by_the_order_of_files(site, small):
    one, two = site.jsonl("one.jsonl", [{"doc_id": "d0", "text": "one"}]), site.jsonl("two.jsonl", [{"doc_id": "d0", "text": "two"}])
    for order, kept in (([one, two], "one"), ([two, one], "two")):
        dataset = site.ingest(**{**small, "corpus": order})
        assert site.docs(dataset)["text"].to_pylist() == [kept]


def test_a_changed_document_touches_one_partition(site, small):
    rows = [{"doc_id": f"d{n}", "text": f"text {n}"} for n in range(60)]
    site.jsonl("c.jsonl", rows)
    before = site.ingest(**small)
    rows[13]["text"] = "changed"
    site.jsonl("c.jsonl", [*rows, {"doc_id": "d60", "text": "new"}])
    after = site.ingest(**small)
    differ = [
        number
        for number, pair in enumerate(zip(checksums(before, "docs.parquet"), checksums(after, "docs.parquet"), strict=True))
        if len(set(pair)) > 1
    ]
    assert differ == sorted({partition_of("d13", 4), partition_of("d60", 4)})
    assert checksums(before, "queries.parquet") == checksums(after, "queries.parquet")


def test_partition_counts_are_fixed_by_name(site, small):
    assert len(site.ingest(**small).documents) == 4
    with pytest.raises(UsageError, match=r"dataset.document_partitions: dataset d has 4 under this root, not 8") as caught:
        site.ingest(**small, document_partitions=8)
    assert caught.value.mend == "set it to 4 or auto, or give the dataset another name"
    other = site.ingest(**small, name="e", document_partitions=8, query_partitions=1)
    assert (len(other.documents), len(other.queries)) == (8, 1)
    assert [len(site.ingest(**small, name="e").documents), len(site.ingest(**small, name="d", document_partitions=4).documents)] == [8, 4]


def test_partitions_are_bounded_by_rows_too(site, monkeypatch):
    """40 documents and 9 queries of short lines, at most 4 and 2 rows a partition: 10 and 5 partitions."""
    from tasks.corpus import dataset

    monkeypatch.setattr(dataset, "DOCUMENT_ROWS", 4)
    monkeypatch.setattr(dataset, "QUERY_ROWS", 2)
    corpus = site.jsonl("c.jsonl", [{"doc_id": f"d{n}", "text": "x"} for n in range(10, 50)])
    queries = site.jsonl("q.jsonl", [{"query_id": f"q{n}", "query": "x y", "positive_ids": "d10"} for n in range(9)])
    made = site.ingest(corpus=corpus, queries=queries)
    assert (len(made.documents), len(made.queries), made.document_count, made.query_count) == (10, 5, 40, 9)


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "parquet", "csv"])
def test_rows_of_a_source_are_estimated(tmp_path, ending):
    """Lines of equal length: exact. Packed text counts four times its size, so a .gz file's rows are an estimate."""
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.corpus.sources import Source

    path, line = tmp_path / f"c.{ending}", b'{"doc_id": "d", "text": "a b"}\n'
    if ending == "parquet":
        pq.write_table(pa.table({"doc_id": ["a"] * 300}), path)
    else:
        path.write_bytes(gzip.compress(line * 300) if ending.endswith("gz") else line * 300)
    kind = ending.split(".")[0]
    source = Source("corpus", kind, str(path), path.name, "", path.stat().st_size)
    assert source.rows == (4 * path.stat().st_size // len(line) if ending.endswith("gz") else 300)
    assert Source("qrels", "parquet", "", "reviewed", "", 99, stored="data/reviews/x.parquet").rows == 0


def test_a_source_that_changes_under_a_job_is_refused(site, small):
    sources = find_sources(DatasetSettings(name="d", format="jsonl", **small))
    site.jsonl("c.jsonl", [{"doc_id": "other", "text": "x"}])
    job = ingest_jobs(site.storage, DatasetSettings(name="d", format="jsonl", **small), sources)[0]
    with pytest.raises(InputError, match=r"c.jsonl changed while it was being read"):
        run_job(site.storage.root, ingest.STAGE, job, lambda units: None)
    assert read_part(site.storage, "ingest", job.key(ingest.STAGE)) is None


def test_progress_adds_up_to_the_units(site):
    corpus = site.jsonl("c.jsonl", [{"doc_id": f"d{n}", "text": "x" * 100} for n in range(5_000)])
    queries = site.jsonl("q.jsonl", [{"query_id": "q", "query": "x", "positive_ids": "d0"}])
    settings = DatasetSettings(name="d", format="jsonl", corpus=corpus, queries=queries)
    job = ingest_jobs(site.storage, settings, find_sources(settings))[0]
    told = []
    run_job(site.storage.root, ingest.STAGE, job, told.append)
    assert sum(told) == job.units == Path(corpus).stat().st_size >> 10
    assert len(told) >= 4


@FEW
@given(
    rows=st.lists(
        st.one_of(
            st.fixed_dictionaries({"doc_id": st.sampled_from(["a", "b", "c", "", 7]), "text": st.sampled_from(["x", "", "\0", "\ud800"])}),
            st.sampled_from([{}, [], 3]),
        ),
        max_size=12,
    )
)
def test_no_row_is_lost(make_site, rows):
    site = make_site()
    corpus = site.jsonl("c.jsonl", [*rows, {"doc_id": "sure", "text": "x"}])
    queries = site.jsonl("q.jsonl", [{"query_id": "q", "query": "x", "positive_ids": "sure"}])
    dataset = site.ingest(corpus=corpus, queries=queries)
    kept, aside = site.docs(dataset).to_pylist(), site.rejected(dataset)
    lines = [row["position"] for row in kept]
    assert len(kept) + len(aside) == len(rows) + 1
    assert len(lines) == len(set(lines))
    good = {str(row["doc_id"]) for row in rows if isinstance(row, dict) and row.get("doc_id") and row["text"] and row["text"] != "\0"}
    assert {row["doc_id"] for row in kept} == good | {"sure"}


@FEW
@given(limit=st.integers(1, 2_000), partitions=st.lists(st.integers(0, 5), max_size=60))
def test_buckets_give_the_same_whatever_fits_in_memory(tmp_path, limit, partitions):
    made = []
    for size in (limit, 1 << 30):
        buckets = Buckets(pa.schema([("n", pa.int64()), ("s", pa.string())]), tmp_path, size)
        for number, partition in enumerate(partitions):
            buckets.add(partition, (number, str(number)), 3)
        made.append(list(buckets.tables()))
        buckets.close()
    assert made[0] == made[1]
    assert [(partition, table["n"].to_pylist()) for partition, table in made[1]] == [
        (partition, [number for number, one in enumerate(partitions) if one == partition]) for partition in sorted(set(partitions))
    ]
    assert list(tmp_path.glob("*.spill")) == []


def test_rejected_tables_have_their_schema(site, small):
    dataset = site.ingest(**small)
    for stage in (one for one in dataset.stages if one.stage != "query-groups"):
        assert all(read_table(site.storage, part.file("rejected.parquet")).schema.equals(REJECTED_INPUT) for part in stage.parts)
