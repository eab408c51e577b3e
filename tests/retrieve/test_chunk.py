import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.folds import Fold, group_draws, in_chunk, in_fold


@given(st.lists(st.text(max_size=5), unique=True), st.integers(2, 9))
def test_chunks_are_disjoint_and_cover_all(ids, count):
    inside = np.array([in_chunk(ids, Fold(number, count)) for number in range(count)])
    assert (inside.sum(axis=0) == 1).all()
    alone = [in_chunk([one], Fold(0, count))[0] for one in ids]  # whatever else is asked
    assert alone == inside[0].tolist()


def test_a_chunk_is_a_fair_share_and_no_fold_of_a_teacher():
    ids = [f"q{number}" for number in range(4000)]
    inside = in_chunk(ids, Fold(0, 4))
    assert abs(inside.sum() - 1000) < 4 * np.sqrt(4000 * 0.25 * 0.75)  # four standard deviations
    both = inside & in_fold(group_draws(ids, 0), Fold(0, 4))
    assert abs(both.sum() - 250) < 4 * np.sqrt(4000 / 16 * 15 / 16)
