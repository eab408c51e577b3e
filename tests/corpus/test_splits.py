from collections import Counter

import pytest
from pydantic import ValidationError

from tasks.corpus.settings import SPLITS, Splits
from tasks.corpus.splits import check_splits, draw_splits
from tasks.errors import InputError
from tasks.folds import Fold, group_draws, in_fold

SHARES = {"train": 0.6, "calibration": 0.1, "dev": 0.1, "test": 0.2}


def collection(site, queries):
    """Arguments for ``ingest``: one document, relevant to all queries."""
    rows = [{"positive_ids": ["d"], **query} for query in queries]
    return {"corpus": site.jsonl("c.jsonl", [{"doc_id": "d", "text": "text"}]), "queries": site.jsonl("q.jsonl", rows)}


def splits_of(site, dataset):
    table = site.queries(dataset)
    return dict(zip(table["query_id"].to_pylist(), table["split"].to_pylist(), strict=True))


def test_shares_by_group_and_nothing_else(site):
    queries = [{"query_id": f"q{n}", "query": f"query {n}", "group": f"g{n // 2}"} for n in range(2000)]
    found = splits_of(site, site.ingest(**collection(site, queries), splits=SHARES))
    counts = Counter(found.values())
    for name, share in SHARES.items():
        assert abs(counts[name] / 2000 - share) < 0.04
    assert all(found[f"q{n}"] == found[f"q{n + 1}"] for n in range(0, 2000, 2))
    fewer = splits_of(site, site.ingest(**collection(site, queries[:100]), name="e", splits=SHARES, seed=9))
    assert fewer == {f"q{n}": found[f"q{n}"] for n in range(100)}  # not the other queries, not the run's seed


def test_copies_of_a_text_are_one_group(site):
    queries = [{"query_id": f"{copy}{n}", "query": f"Query {n}" if copy == "a" else f"query  {n}"} for n in range(50) for copy in "ab"]
    found = splits_of(site, site.ingest(**collection(site, queries), splits=SHARES))
    assert all(found[f"a{n}"] == found[f"b{n}"] for n in range(50))
    assert len(set(found.values())) > 1


def test_default_is_what_the_source_says(site):
    queries = [{"query_id": "a", "query": "one", "split": "test"}, {"query_id": "b", "query": "two"}]
    dataset = site.ingest(**collection(site, queries))
    assert splits_of(site, dataset) == {"a": "test", "b": None}
    assert check_splits(site.storage, dataset.queries, "d") == {"test": 1, "train": 1}


def test_the_source_s_split_of_a_query_stands(site):
    queries = [{"query_id": "a", "query": "one", "split": "test"}, {"query_id": "b", "query": "two"}]
    dataset = site.ingest(**collection(site, queries), splits={"train": 1})
    assert splits_of(site, dataset) == {"a": "test", "b": "train"}


def test_the_split_that_is_read_does_not_undo_the_shares(site):
    queries = [{"query_id": f"q{n}", "query": f"query {n}"} for n in range(40)]
    assert set(splits_of(site, site.ingest(**collection(site, queries), split="test")).values()) == {"test"}
    found = splits_of(site, site.ingest(**collection(site, queries), name="e", split="test", splits={"train": 0.5, "test": 0.5}))
    assert set(found.values()) == {"train", "test"}


@pytest.mark.parametrize(
    "queries",
    [
        [{"query_id": "a", "query": "one", "split": "train"}, {"query_id": "b", "query": "ONE", "split": "test"}],  # the same text
        [{"query_id": "a", "query": "one", "group": "g"}, {"query_id": "b", "query": "two", "group": "g", "split": "dev"}],  # none: train
    ],
)
def test_a_group_in_two_splits_fails(site, queries):
    other = queries[1]["split"]
    with pytest.raises(InputError, match=f"1 query group.* lie in two splits.*query 'b' in {other} and 'a' in train"):
        site.ingest(**collection(site, queries))


def test_wrong_shares():
    with pytest.raises(ValidationError, match=r"add up to 1\.1"):
        Splits(train=0.9, test=0.2)
    with pytest.raises(ValidationError, match=r"add up to 1\.2"):
        Splits(test=0.2)  # train is 1 unless it is given
    with pytest.raises(ValidationError, match="did you mean"):
        Splits(train=0.8, tset=0.2)
    assert sum(Splits(**SHARES).shares) == pytest.approx(1)
    assert SPLITS == ("train", "calibration", "dev", "test")


def test_the_draw_knows_nothing_of_the_teachers_folds():
    """With the same seed the groups of each split lie in all folds alike."""
    groups = [f"g{n}" for n in range(3000)]
    splits, draws = draw_splits(groups, Splits(**SHARES)), group_draws(groups, 0)
    for number in range(3):
        inside = in_fold(draws, Fold(number, 3))
        share = sum(split == "train" and held for split, held in zip(splits, inside.tolist(), strict=True)) / inside.sum()
        assert abs(share - 0.6) < 0.05
