from pathlib import Path

import pyarrow as pa
import pytest

from tasks.corpus.reviewed import labels_source
from tasks.corpus.settings import DatasetSettings
from tasks.errors import InputError, StorageError


def labelled(site, provenance, *given, **settings):
    """Sources of (query, document, relevant)."""
    named = ("query_id", "doc_id", "relevant")
    table = pa.table({name: pa.array([row[at] for row in given]) for at, name in enumerate(named)})
    values = {"name": "d", "format": "jsonl", "corpus": "c", "queries": "q", **settings}
    return labels_source(table, provenance, DatasetSettings(**values), site.storage)


def told(site, dataset):
    return [tuple(row.values()) for row in site.qrels(dataset).select(["query_id", "doc_id", "relevance", "provenance"]).to_pylist()]


def test_what_the_user_says_counts_before_reviews_and_these_before_promotions(site, small):
    reviewed = labelled(site, "reviewed", ("b", "d0", True), ("a", "d2", False), ("a", "d0", False), ("b", "d2", True))
    promoted = labelled(site, "promoted", ("b", "d0", True), ("b", "d1", True), ("a", "d2", True))
    dataset = site.ingest(further=[reviewed, promoted], max_rejected=0, **small)
    assert told(site, dataset) == [
        ("a", "d0", 2, None),  # the user's own, whatever a reviewer says
        ("a", "d1", 0, None),
        ("a", "d2", 0, "reviewed"),
        ("b", "d0", 1, "reviewed"),
        ("b", "d1", 1, "promoted"),
        ("b", "d2", 1, None),
    ]
    assert (dataset.grades, dataset.rejected) == ({"0": 2, "1": 3, "2": 1}, 0)
    # what is set aside is recorded, and stops no run
    assert sorted((row["file"], row["reason"]) for row in site.rejected(dataset)) == [
        ("promoted", "another grade before for this query and 'd2'"),
        ("reviewed", "another grade before for this query and 'd0'"),
    ]


def test_labels_of_what_is_gone_stop_no_run(site, small):
    given = [labelled(site, "reviewed", ("gone", "d0", True), ("a", "gone", True)), labelled(site, "promoted", ("a", "gone too", True))]
    dataset = site.ingest(further=given, max_rejected=0, **small)
    assert {row[3] for row in told(site, dataset)} == {None}
    assert [row["reason"] for row in site.rejected(dataset)] == [
        "unknown document 'gone'",
        "unknown document 'gone too'",
        "unknown query 'gone'",
    ]
    site.jsonl("r.jsonl", [{"query_id": "a", "doc_id": "gone", "relevance": 1}])
    with pytest.raises(InputError, match="cannot be used"):  # the user's own does
        site.ingest(max_rejected=0, **small)


def test_only_queries_that_are_trained_on_have_promoted_labels(site):
    queries = [
        {"query_id": split or "none", "query": f"text {split}", "split": split} for split in ("train", "Train", "dev", "calibration", None)
    ]
    names = [row["query_id"] for row in queries]
    dataset = site.ingest(
        corpus=site.jsonl("c.jsonl", [{"doc_id": f"d{n}", "text": f"text {n}"} for n in range(2)]),
        queries=site.jsonl("q.jsonl", queries),
        qrels=site.jsonl("r.jsonl", [{"query_id": name, "doc_id": "d0"} for name in names]),
        further=[labelled(site, "promoted", *((name, "d1", True) for name in names))],
    )
    assert sorted(row[0] for row in told(site, dataset) if row[3] == "promoted") == ["Train", "none", "train"]
    assert dataset.counts["qrels"] == 8


@pytest.mark.parametrize(("least", "relevant", "not_relevant"), [(1, 1, 0), (2, 2, 0), (0, 1, -1), (3, 3, 0)])
def test_grades_fit_what_counts_as_positive(site, small, least, relevant, not_relevant):
    reviewed = labelled(site, "reviewed", ("b", "d0", True), ("b", "d1", False), positive_min_grade=least)
    found = {row[1]: row[2] for row in told(site, site.ingest(further=[reviewed], positive_min_grade=least, **small)) if row[3]}
    assert found == {"d0": relevant, "d1": not_relevant}


def test_no_labels_are_no_source_and_equal_labels_equal_ones(site):
    assert labelled(site, "reviewed") is None
    one, two = (
        labelled(site, "reviewed", *rows) for rows in ([("a", "x", True), ("a", "b", False)], [("a", "b", False), ("a", "x", True)])
    )
    assert one == two
    assert (one.role, one.label, one.provenance) == ("qrels", "reviewed", "reviewed")


def test_labels_are_read_from_the_root_by_any_machine(site, small):
    reviewed = labelled(site, "reviewed", ("b", "d0", True))
    assert reviewed.path == "" and reviewed.stored == f"labels/{reviewed.checksum}.parquet"
    assert site.storage.size(reviewed.stored) == reviewed.bytes
    for left in site.storage.scratch().rglob("*"):
        assert left.suffix != ".parquet"  # nothing that only this machine has
    assert ("b", "d0", 1, "reviewed") in told(site, site.ingest(further=[reviewed], **small))


def test_damaged_labels_are_refused(site, small):
    reviewed = labelled(site, "reviewed", ("b", "d0", True))
    place = Path(site.storage.root) / reviewed.stored
    content = place.read_bytes()
    place.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(StorageError, match="damaged"):
        site.ingest(further=[reviewed], **small)
