import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import InputError
from tasks.retrieve import bm25, candidates, dense
from tasks.retrieve.labelled import planted_positives
from tasks.retrieve.settings import RetrieveSettings
from tasks.schema import RETRIEVED
from tasks.schema import candidates as candidates_schema
from tasks.store.keys import input_hash
from tasks.store.tables import read_table
from tests.retrieve.build import checksums, commit, context, dataset, run

WORDS = ["wing", "flow", "shock", "layer", "heat", "drag", "lift", "nose", "cone", "plate", "jet", "mach", "skin", "boundary", "pressure"]
SETTINGS = RetrieveSettings.model_validate({"dense": {"top_k": 7}, "bm25": {"top_k": 4}})


def material():
    generator = np.random.default_rng(5)
    docs = [(f"d{number:02d}", "", " ".join(generator.choice(WORDS, 12))) for number in range(60)]
    docs += [("copy", "", docs[0][2]), ("Zlast", "", docs[1][2])]
    queries = [(f"q{number}", " ".join(generator.choice(WORDS, 3))) for number in range(9)]
    qrels = [(f"q{number}", f"d{number * 5:02d}", grade) for number, grade in enumerate([2, 1, 1, 3, 0, 1, 2, 1])] + [
        ("q0", "d59", 1),
        ("q0", "copy", 0),
    ]
    vectors = {name: generator.standard_normal(8).astype(np.float32) for name in [row[0] for row in docs] + [row[0] for row in queries]}
    vectors["copy"], vectors["Zlast"] = vectors["d00"], vectors["d01"]
    return docs, queries, qrels, vectors


def mined(root, settings, doc_parts=1, query_parts=1, threads=1, dtype=np.float32, seed=0):
    setting = context(root, threads)
    docs, queries, qrels, vectors = material()
    data = dataset(setting.storage, docs, queries, qrels, doc_parts, query_parts, vectors, dtype)
    found = {"dense": run(setting, dense.STAGE, dense.jobs(settings.dense, data.embed_documents, data.embed_queries))}
    if settings.bm25:
        statistics = run(setting, bm25.STATISTICS_STAGE, bm25.statistics_jobs(settings.bm25, data.documents))
        found["bm25"] = run(setting, bm25.STAGE, bm25.jobs(settings.bm25, data.documents, statistics, data.queries))
    jobs = candidates.jobs(
        settings, data.documents, data.queries, data.embed_documents, data.embed_queries, found, positive_min_grade=1, seed=seed
    )
    parts = run(setting, candidates.STAGE, jobs)
    return pa.concat_tables([read_table(setting.storage, part.file("candidates.parquet")) for part in parts]), parts, setting, data


def by_pair(table):
    rows = [
        {name: value for name, value in row.items() if name not in ("query_row", "doc_partition", "doc_row")} for row in table.to_pylist()
    ]
    return sorted(rows, key=lambda row: (row["query_id"], row["doc_id"]))


def test_dense_equals_brute_force_with_labels(tmp_path):
    table, parts, setting, _ = mined(
        tmp_path, RetrieveSettings.model_validate({"dense": {"top_k": 7}, "bm25": None}), doc_parts=4, query_parts=2
    )
    docs, queries, qrels, vectors = material()
    judged = {(query, doc): grade for query, doc, grade in qrels}
    expected = {}
    for query, _ in queries:
        scores = {doc: float(np.dot(vectors[doc], vectors[query])) for doc, _, _ in docs}
        best = sorted(scores, key=lambda doc: (-round(scores[doc], 5), doc))[:7]
        for doc in scores:
            if doc in best or (query, doc) in judged:
                expected[query, doc] = (scores[doc], best.index(doc) + 1 if doc in best else None, judged.get((query, doc)))
    rows = {(row["query_id"], row["doc_id"]): row for row in table.to_pylist()}
    assert set(rows) == set(expected)
    for pair, (score, rank, grade) in expected.items():
        row = rows[pair]
        assert (row["dense_rank"], row["relevance"], row["is_positive"]) == (rank, grade, grade is not None and grade >= 1)
        assert row["dense_score"] == pytest.approx(score, abs=1e-5)
    texts = {doc: text for doc, _, text in docs}
    assert all(
        row["doc_hash"] == input_hash("", texts[doc]) and row["query_hash"] == input_hash("", dict(queries)[query])
        for (query, doc), row in rows.items()
    )
    assert sum(part.meta["positives"] for part in parts) == 8
    assert setting.progress.units["candidates"] == setting.progress.total["candidates"] == 9


def test_partition_counts_do_not_matter(tmp_path):
    one = mined(tmp_path / "1", SETTINGS)[0]
    four = mined(tmp_path / "4", SETTINGS, doc_parts=4, query_parts=3)[0]
    first, second = by_pair(one), by_pair(four)
    assert len(first) == len(second) > 9 * 7
    for left, right in zip(first, second, strict=True):
        assert left["dense_score"] == right["dense_score"]
        assert (left["bm25_score"] is None) == (right["bm25_score"] is None)
        assert (left.pop("bm25_score") or 0) == pytest.approx(right.pop("bm25_score") or 0, abs=1e-6)
        assert left == right


def test_order_schema_and_nulls(tmp_path):
    table, parts, setting, data = mined(tmp_path, SETTINGS, doc_parts=3, query_parts=2)
    assert table.schema == candidates_schema(["dense", "bm25"])
    for part in parts:
        rows = read_table(setting.storage, part.file("candidates.parquet")).select(["query_id", "doc_id"]).to_pylist()
        pairs = [(row["query_id"], row["doc_id"]) for row in rows]
        assert pairs == sorted(set(pairs))
    assert table["dense_score"].null_count == 0
    assert table["dense_rank"].null_count > 0 and table["bm25_rank"].null_count == table["bm25_score"].null_count > 0
    for row in table.to_pylist():
        docs = read_table(setting.storage, data.documents[row["doc_partition"]].file("docs.parquet"))
        assert docs["doc_id"][row["doc_row"]].as_py() == row["doc_id"]
    ranks = [row["bm25_rank"] for row in table.to_pylist() if row["query_id"] == "q0" and row["bm25_rank"]]
    assert sorted(ranks) == [1, 2, 3, 4]


def test_equal_vectors_rank_by_id(tmp_path):
    rows = {(row["query_id"], row["doc_id"]): row for row in mined(tmp_path, SETTINGS, doc_parts=4)[0].to_pylist()}
    twins = [
        (query, rows[query, "copy"], rows[query, "d00"])
        for query in {query for query, _ in rows}
        if {(query, "copy"), (query, "d00")} <= set(rows)
    ]
    assert twins
    for _, copy, original in twins:
        assert copy["dense_score"] == original["dense_score"]
        if copy["dense_rank"] and original["dense_rank"]:
            assert original["dense_rank"] == copy["dense_rank"] + 1


def test_bytes_do_not_depend_on_threads(tmp_path):
    settings = RetrieveSettings.model_validate({"dense": {"top_k": 7}, "random": {"count": 3}})
    results = [checksums(mined(tmp_path / str(threads), settings, 3, 2, threads, np.float16)[1]) for threads in (1, 3)]
    assert results[0] == results[1]


def test_random_documents_have_ranks_and_no_score(tmp_path):
    settings = RetrieveSettings.model_validate({"dense": {"top_k": 1}, "bm25": None, "random": {"count": 5}})
    table = mined(tmp_path / "a", settings, doc_parts=3)[0]
    assert table["random_score"].null_count == table.num_rows
    drawn = {}
    for row in table.to_pylist():
        if row["random_rank"]:
            drawn.setdefault(row["query_id"], []).append(row["random_rank"])
    assert len(drawn) == 9 and all(sorted(ranks) == [1, 2, 3, 4, 5] for ranks in drawn.values())
    assert by_pair(mined(tmp_path / "b", settings, doc_parts=3, seed=1)[0]) != by_pair(table)


def test_merging_in_pieces_changes_nothing(tmp_path, monkeypatch):
    whole = mined(tmp_path / "a", SETTINGS, doc_parts=4)[1]
    monkeypatch.setattr(candidates, "_MERGE_ROWS", 10)
    monkeypatch.setattr(candidates, "_BLOCK_FLOATS", 24)
    assert checksums(mined(tmp_path / "b", SETTINGS, doc_parts=4)[1]) == checksums(whole)


def test_a_partition_without_queries(tmp_path):
    setting = context(tmp_path)
    data = dataset(setting.storage, [("a", "", "x")], [], vectors={"a": np.ones(2)})
    found = {name: [commit(setting.storage, "retrieve", "d0000", {"q0000.parquet": RETRIEVED.empty_table()})] for name in ("dense", "bm25")}
    jobs = candidates.jobs(SETTINGS, data.documents, data.queries, data.embed_documents, data.embed_queries, found, 1, 0)
    (part,) = run(setting, candidates.STAGE, jobs)
    assert read_table(setting.storage, part.file("candidates.parquet")).num_rows == 0


def test_labels_of_unknown_queries_are_refused(tmp_path):
    setting = context(tmp_path)
    data = dataset(setting.storage, [("a", "", "x")], [("q", "x")], [("q", "a", 1)], vectors={"a": np.ones(2), "q": np.ones(2)})
    other = dataset(setting.storage, [("a", "", "x")], [("p", "x")], vectors={"a": np.ones(2), "p": np.ones(2)})
    mixed = data.queries[0].model_copy(update={"files": (other.queries[0].file("queries.parquet"), data.queries[0].file("qrels.parquet"))})
    found = {name: [commit(setting.storage, "retrieve", "d0000", {"q0000.parquet": RETRIEVED.empty_table()})] for name in ("dense", "bm25")}
    with pytest.raises(InputError, match="not in their partition"):
        run(
            setting,
            candidates.STAGE,
            candidates.jobs(SETTINGS, data.documents, [mixed], data.embed_documents, data.embed_queries, found, 1, 0),
        )


def test_planted_positives_leave_each_query_one():
    query = np.array([0, 0, 0, 1, 2, 2, 3, 3])
    positive = np.array([True, True, True, True, True, True, True, False])
    fold = np.array([3, 50, 9, 1, 2, 7, 4, 0])
    # below 10: q0 hides folds 3 and 9, q1 keeps its only one, q2 keeps the later of 2 and 7, q3 its only positive (the other is a zero)
    hidden = planted_positives(query, positive, fold, 10)
    assert hidden.tolist() == [True, False, True, False, True, False, False, False]
    assert not planted_positives(query, positive, fold, 0).any()
    assert planted_positives(np.empty(0, np.int64), np.empty(0, bool), np.empty(0, np.int64), 10).tolist() == []


def test_planted_positives_are_candidates_that_no_longer_count_as_positives(tmp_path):
    setting = context(tmp_path, 1)
    docs, queries, _, vectors = material()
    qrels = [("q0", f"d{number:02d}", 1) for number in range(20)] + [("q1", "d30", 1)]
    data = dataset(setting.storage, docs, queries, qrels, 1, 1, vectors, np.float32)
    settings = RetrieveSettings.model_validate({"dense": {"top_k": 3}, "bm25": None})
    found = {"dense": run(setting, dense.STAGE, dense.jobs(settings.dense, data.embed_documents, data.embed_queries))}
    jobs = candidates.jobs(settings, data.documents, data.queries, data.embed_documents, data.embed_queries, found, 1, seed=0, planted=0.5)
    (part,) = run(setting, candidates.STAGE, jobs)
    table = read_table(setting.storage, part.file("candidates.parquet")).to_pylist()
    judged = read_table(setting.storage, data.queries[0].file("qrels.parquet")).to_pylist()
    folds = {(row["query_id"], row["doc_id"]): row["fold"] for row in judged}
    planted = {(row["query_id"], row["doc_id"]) for row in table if row["planted"]}
    assert planted == {pair for pair, fold in folds.items() if fold < 50 and pair[0] == "q0"} and 0 < len(planted) < 20
    assert all(row["relevance"] == 1 and not row["is_positive"] for row in table if row["planted"])
    assert part.meta["planted"] == len(planted) and part.meta["positives"] == 21 - len(planted)


def test_only_labels_of_the_source_are_planted(tmp_path):
    """q0 has d00 … d03: own labels of fold 0 and 7, promoted ones of fold 14 and 21; d04 is a reviewed zero.

    Below 50, d00 is hidden and d01 stays: without provenance d03 would have stayed, and all others been hidden.
    """
    setting = context(tmp_path, 1)
    docs, queries, _, vectors = material()
    qrels = [("q0", f"d{number:02d}", int(number < 4)) for number in range(5)]
    data = dataset(setting.storage, docs, queries, qrels, 1, 1, vectors, np.float32)
    table = read_table(setting.storage, data.queries[0].file("qrels.parquet"))
    names = pa.array([None, None, "promoted", "promoted", "reviewed"])
    table = table.set_column(table.column_names.index("provenance"), "provenance", names)
    asked = read_table(setting.storage, data.queries[0].file("queries.parquet"))
    labelled = [commit(setting.storage, "queries", "q0000", {"queries.parquet": asked, "qrels.parquet": table})]
    settings = RetrieveSettings.model_validate({"dense": {"top_k": 3}, "bm25": None})
    found = {"dense": run(setting, dense.STAGE, dense.jobs(settings.dense, data.embed_documents, data.embed_queries))}
    jobs = candidates.jobs(settings, data.documents, labelled, data.embed_documents, data.embed_queries, found, 1, seed=0, planted=0.5)
    (part,) = run(setting, candidates.STAGE, jobs)
    rows = read_table(setting.storage, part.file("candidates.parquet")).to_pylist()
    told = {row["doc_id"]: (row["provenance"], row["is_positive"], row["planted"]) for row in rows if row["relevance"] is not None}
    assert told == {
        "d00": (None, False, True),
        "d01": (None, True, False),
        "d02": ("promoted", True, False),
        "d03": ("promoted", True, False),
        "d04": ("reviewed", False, False),
    }
    assert {row["provenance"] for row in rows if row["relevance"] is None} == {None}
