"""Who reads which row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.stream.order import Reader, batches_by_worker, pieces, rows_of_rank, rows_of_reader


def places(sizes, start, stop, shuffle=None):
    return [(block, int(row)) for block, rows in pieces(sizes, start, stop, shuffle) for row in rows]


@given(
    st.lists(st.integers(0, 7), max_size=6),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from(["repeat", "drop", "keep"]),
    st.booleans(),
)
def test_readers_share_all_rows(sizes, ranks, workers, tail, shuffled):
    shuffle = (3, 1) if shuffled else None
    total, everything = sum(sizes), {(block, row) for block, size in enumerate(sizes) for row in range(size)}
    by_rank = []
    for rank in range(ranks):
        mine = []
        for worker in range(workers):
            mine += places(sizes, *rows_of_reader(total, Reader(rank, ranks, worker, workers), tail), shuffle)
        start, stop = rows_of_rank(total, ranks, rank, tail)
        assert len(mine) == (stop - start if total else 0)
        by_rank.append(mine)
    read = [place for mine in by_rank for place in mine]
    if tail == "keep":
        assert sorted(read) == sorted(everything)
    elif tail == "repeat":
        assert set(read) == everything
        assert len({len(mine) for mine in by_rank}) == 1
        assert len(read) - total < ranks
    else:
        assert len(set(read)) == len(read)
        assert len({len(mine) for mine in by_rank}) == 1
        assert total - len(read) < ranks


@given(st.lists(st.integers(0, 7), min_size=1, max_size=6), st.integers(0, 30), st.integers(0, 30))
def test_a_stretch_is_what_is_left_after_its_beginning(sizes, first, second):
    total = sum(sizes)
    begin, middle = sorted((min(first, total), min(second, total)))
    whole = places(sizes, begin, total, (0, 0))
    assert whole == places(sizes, begin, middle, (0, 0)) + places(sizes, middle, total, (0, 0))


def test_the_order_is_another_each_epoch_and_with_each_seed_and_the_same_again():
    sizes = [5, 4, 6]
    first = places(sizes, 0, 15, (0, 0))
    assert first == places(sizes, 0, 15, (0, 0))
    assert len({tuple(first), tuple(places(sizes, 0, 15, (0, 1))), tuple(places(sizes, 0, 15, (1, 0)))}) == 3
    assert places(sizes, 0, 15) == sorted(first)


@given(st.integers(0, 40), st.integers(1, 4), st.integers(1, 5), st.booleans())
def test_batches_come_from_workers_as_a_loader_asks_them(rows, workers, size, drop_last):
    """Compared with asking in turn, one batch after the other."""
    sizes = [stop - start for start, stop in (rows_of_reader(rows, Reader(0, 1, worker, workers), "keep") for worker in range(workers))]
    left = [n // size if drop_last else -(-n // size) for n in sizes]
    counted, taken = 0, [0] * workers
    while True:
        assert batches_by_worker(counted, sizes, size, drop_last) == taken
        if counted == sum(left):
            break
        turn = next(worker for worker in np.argsort(taken, kind="stable").tolist() if taken[worker] < left[worker])
        taken[turn] += 1
        counted += 1


def test_a_reader_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="count from 0"):
        Reader(2, 2)
