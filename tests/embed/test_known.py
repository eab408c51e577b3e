import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tasks.embed import index
from tasks.embed.index import compact
from tasks.embed.known import facts, find, how_many, pin
from tasks.embed.reuse import match
from tasks.embed.segments import Pinned, Segment, put_marker, space_of
from tasks.store.keys import digest
from tasks.store.output import Output

SPACE = space_of("f" * 32, "float32")


def hashes_of(*numbers):
    return np.array([digest(int(number)).encode() for number in numbers], dtype="S32")


def put(storage, name, *numbers):
    """A segment whose vector of text n is [n, 2n]."""
    out = Output(storage, f"data/embed-documents/{name}")
    out.array("vectors.npy", np.array([[n, 2 * n] for n in numbers], dtype=np.float32).reshape(-1, 2))
    out.table(
        "hashes.parquet",
        pa.table({"input_hash": [value.decode() for value in hashes_of(*numbers)]}, pa.schema([("input_hash", pa.string())])),
    )
    put_marker(storage, SPACE, name, Segment(hashes=out.files[1], vectors=out.files[0], dim=2, similarity="cosine"))
    return out.files[0]


def known(storage, pinned, *numbers):
    """{n: vector} of the texts that are known."""
    places, vectors = find(storage, pinned, hashes_of(*numbers))
    assert len(set(places.tolist())) == len(places)
    return {numbers[place]: vectors[row].tolist() for row, place in enumerate(places.tolist())}


def test_found_wherever_it_lies(storage):
    put(storage, "a", 1, 2, 3)
    put(storage, "b", 3, 4)
    pinned = pin(storage, SPACE)
    assert pinned.generation is None
    assert known(storage, pinned, 4, 9, 1, 3) == {1: [1, 2], 3: [3, 6], 4: [4, 8]}
    assert known(storage, pinned) == {}
    assert known(storage, pinned, 9) == {}
    assert facts(storage, pinned) == (2, "cosine")
    assert known(storage, pin(storage, space_of("e" * 32, "float32")), 1) == {}
    assert known(storage, pin(storage, space_of("f" * 32, "float16")), 1) == {}
    assert facts(storage, Pinned()) is None


def test_known_texts_are_counted_without_merging(storage):
    put(storage, "a", 1, 2, 3)
    compact(storage, SPACE)
    put(storage, "b", 3, 4)
    assert how_many(storage, SPACE, hashes_of(1, 3, 4, 9)) == 3
    assert how_many(storage, SPACE, hashes_of()) == 0
    assert how_many(storage, space_of("e" * 32, "float32"), hashes_of(1)) == 0
    assert len(pin(storage, SPACE).fresh) == 1


def test_merging_keeps_every_vector(storage):
    for number in range(5):
        put(storage, f"s{number}", *range(10 * number, 10 * number + 15))  # neighbours share five texts
    assert len(pin(storage, SPACE, limit=5).fresh) == 5
    merged = pin(storage, SPACE, limit=4)
    assert merged.fresh == ()
    assert facts(storage, merged) == (2, "cosine")
    assert known(storage, merged, *range(60)) == {n: [n, 2 * n] for n in range(55)}
    put(storage, "later", 58)
    again = pin(storage, SPACE, limit=4)
    assert (again.generation, len(again.fresh)) == (merged.generation, 1)
    assert known(storage, again, 58, 54, 57) == {58: [58, 116], 54: [54, 108]}
    assert known(storage, pin(storage, SPACE, limit=0), *range(60)) == {n: [n, 2 * n] for n in [*range(55), 58]}


def test_what_was_deleted_is_unknown_and_the_rest_is_not(storage):
    first = put(storage, "a", 1, 2, 3)
    put(storage, "b", 3, 4)
    pinned, merged = pin(storage, SPACE), pin(storage, SPACE, limit=1)
    storage.local_copy(first.path, 0, "").unlink()
    assert known(storage, pinned, 1, 3, 4) == {3: [3, 6], 4: [4, 8]}
    assert known(storage, merged, 1, 4) == {4: [4, 8]}
    put(storage, "c", 3)
    assert known(storage, pin(storage, SPACE), 3) == {3: [3, 6]}
    compact(storage, SPACE)  # what is gone leaves the index: text 3 is found in b again
    assert known(storage, pin(storage, SPACE, limit=0), 1, 3, 4) == {3: [3, 6], 4: [4, 8]}


def test_of_two_writers_one_stands_and_nothing_is_lost(storage, monkeypatch):
    put(storage, "a", 1)
    real, late = index.update_pointer, []

    def other_first(place, name, change):
        if not late:
            late.append(True)
            put(storage, "b", 2)
            assert compact(storage, SPACE)
        return real(place, name, change)

    monkeypatch.setattr(index, "update_pointer", other_first)
    assert not compact(storage, SPACE)
    assert known(storage, pin(storage, SPACE), 1, 2) == {1: [1, 2], 2: [2, 4]}


@given(st.lists(st.integers(0, 30), unique=True), st.lists(st.integers(0, 30)))
def test_match(wanted, earlier):
    rows = match(hashes_of(*wanted), hashes_of(*earlier))
    for number, row in zip(wanted, rows.tolist(), strict=True):
        assert (earlier[row] == number) if row >= 0 else number not in earlier
