import numpy as np
import pyarrow as pa
import pytest

from tasks.folds import Fold
from tasks.models.settings import TeacherTraining
from tasks.store.keys import digest
from tasks.train.metrics import auc, log_loss
from tasks.train.sampling import hash_words, mix, sample


def candidates(queries=20, each=12):
    rows = []
    for query in range(queries):
        for at in range(each):
            relevance = {0: 2, 1: 0}.get(at)
            rank = at + 1 if at < each - 1 else None
            rows.append(
                (f"q{query:03d}", relevance, at == 0, digest("q", query), digest("d", query, at), rank, 1 if at == each - 1 else None)
            )
    names = ["query_id", "relevance", "is_positive", "query_hash", "doc_hash", "dense_rank", "random_rank"]
    table = pa.table(list(map(list, zip(*rows, strict=True))), names=names)
    return table.append_column("planted", pa.array([False] * table.num_rows))


def choose(table, **settings):
    groups = [f"g{number // 2}" for number in range(len(table["query_id"].unique()))]
    return sample(table, groups, TeacherTraining(**{"random_negatives": 0, **settings}), ["dense"])


def test_what_is_sampled():
    table = candidates()
    made = choose(table, negatives=4, min_rank=3, max_rank=9)
    place = made.rows % 12
    assert made.labels.tolist() == (place == 0).astype(float).tolist()
    assert set(place[made.labels == 0].tolist()) <= {2, 3, 4, 5, 6, 7, 8}
    assert len(set(place[made.labels == 0].tolist())) > 5
    assert np.bincount(made.rows // 12).tolist() == [5] * 20
    assert made.rows.tolist() == made.docs.tolist() == sorted(made.rows.tolist())


def test_what_reads_as_a_planted_pair_is_not_sampled():
    """q001 asks as q000 does. Its positive (row 12) and its candidate at rank 5 (row 16) read as pairs that q000 hides as probes."""
    rows = candidates(queries=3).to_pylist()
    rows[12] |= {"query_hash": rows[0]["query_hash"], "doc_hash": rows[1]["doc_hash"]}
    rows[16] |= {"query_hash": rows[0]["query_hash"], "doc_hash": rows[2]["doc_hash"]}
    for probe in (1, 2):
        rows[probe] |= {"relevance": 1, "planted": True}
    made = choose(pa.Table.from_pylist(rows), negatives=11, holdout=0.0)
    # q000: its positive and ranks 4 … 11; q001 has no positive left; q002 as ever: row 24, and ranks 3 … 11
    assert made.rows.tolist() == [0, *range(3, 11), 24, *range(26, 35)]


def test_random_negatives_are_documents_of_other_queries():
    made = choose(candidates(), negatives=1, random_negatives=3, holdout=0.4)
    drawn = made.rows != made.docs
    assert (made.rows[drawn] // 12 != made.docs[drawn] // 12).all()
    assert not made.labels[drawn].any()
    assert not made.holdout[drawn].any()
    trained = 20 - len(set((made.rows[made.holdout] // 12).tolist()))
    assert 2.5 * trained <= drawn.sum() <= 3 * trained


def test_groups_are_held_out_whole():
    made = choose(candidates(200), holdout=0.3)
    held = {int(row) // 24 for row in made.rows[made.holdout]}
    assert held.isdisjoint({int(row) // 24 for row in made.rows[~made.holdout]})
    assert 10 < len(held) < 50
    assert not choose(candidates(), holdout=0.0).holdout.any()


def test_each_fold_is_held_out_once():
    table = candidates()
    groups = [f"g{number // 2}" for number in range(20)]
    settings = TeacherTraining(random_negatives=0)
    made = [sample(table, groups, settings, ["dense"], Fold(number, 3)) for number in range(3)]
    held = [set((one.rows[one.holdout] // 24).tolist()) for one in made]  # two queries a group, twelve candidates a query
    assert sorted(group for groups in held for group in groups) == list(range(10))
    for one, out in zip(made, held, strict=True):
        assert set((one.rows[~one.holdout] // 24).tolist()) == set(range(10)) - out


def test_limits_take_whole_queries_and_the_holdout_is_bounded():
    made = choose(candidates(600), max_pairs=103, holdout=0.5, negatives=4)
    assert made.trained == 100
    assert made.holdout.sum() == 240


def test_seed_and_repetition():
    table = candidates()
    assert choose(table, seed=1).rows.tolist() == choose(table, seed=1).rows.tolist()
    assert choose(table, seed=1).rows.tolist() != choose(table, seed=2).rows.tolist()


def test_no_candidates():
    assert choose(candidates().slice(0, 0)).trained == 0


def test_hash_words():
    column = pa.chunked_array([["00000000000000ff" + "0" * 16, "a" + "0" * 31]])
    assert hash_words(column).tolist() == [255, 10 << 60]


def test_mix_spreads():
    left = np.arange(10_000, dtype=np.uint64)
    drawn = mix(left, left[::-1].copy(), 3) / 2.0**64
    assert abs(drawn.mean() - 0.5) < 0.02
    assert len(np.unique(drawn)) == 10_000


@pytest.mark.parametrize(
    ("logits", "labels", "expected"),
    [([1, 2, 3], [0, 0, 1], 1.0), ([1, 1], [0, 1], 0.5), ([3, 2, 1, 0], [1, 0, 1, 0], 0.75), ([1], [1], None)],
)
def test_auc(logits, labels, expected):
    assert auc(np.array(logits, np.float32), np.array(labels, np.float32)) == expected


def test_log_loss():
    assert log_loss(np.array([0.0, 0.0], np.float32), np.array([1, 0], np.float32)) == pytest.approx(np.log(2))
    assert log_loss(np.array([-800.0], np.float32), np.array([1], np.float32)) == pytest.approx(800)
    assert log_loss(np.empty(0, np.float32), np.empty(0, np.float32)) is None
