import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.components import components
from tasks.features import duplicates, signatures
from tasks.features.copies import near_copies
from tasks.features.task import features
from tasks.store.tables import read_array
from tests.features.world import of_query, values, world
from tests.retrieve.build import context, run

PERMUTATIONS = 128
LONG = " ".join(f"w{number}" for number in range(60))  # 58 shingles of three words
OTHER = " ".join(f"v{number}" for number in range(60))
TEXTS = {
    "a": LONG,
    "b": LONG.upper() + " ",  # the same normal form
    "c": LONG + " more",  # 58 of 59 shingles in common: 0.98
    "d": OTHER,
    "e": "...",  # no words
    "f": "...",
    "g": "!!!",
    "h": LONG + " " + OTHER,  # 58 of 118 in common with a: 0.49, all of a's
}


def clusters(root, parts=1, **given_settings):
    setting = context(root)
    docs = [{"doc_id": name, "text": text} for name, text in TEXTS.items()]
    rows = [{"query_id": "q", "doc_id": name} for name in reversed(TEXTS)]
    inputs = world(setting.storage, docs, [{"query_id": "q"}], rows, doc_parts=parts)
    table = values(setting.storage, inputs, features(setting, {"duplicates": given_settings}, inputs)["duplicates"])
    return of_query(table["duplicate_cluster"], "q")


def test_clusters_by_hand(tmp_path):
    """One partition: documents have the addresses 0 … 7, and each cluster is named by its least."""
    assert clusters(tmp_path) == {"a": 0, "b": 0, "c": 0, "d": 3, "e": 4, "f": 4, "g": 6, "h": 7}
    assert clusters(tmp_path, threshold=1.0)["b"] == 0 and clusters(tmp_path, threshold=1.0)["c"] == 2


def test_containment_joins_a_text_with_one_that_holds_it(tmp_path):
    """J = 58/118 = 0.49: as 1 - (1 - 0.49**4)**32 = 0.85 the pair, or another of the three with h, shares a band."""
    found = clusters(tmp_path, measure="containment", threshold=0.7)
    assert found["a"] == found["b"] == found["c"] == found["h"] == 0


@pytest.mark.parametrize("parts", [2, 5])
def test_who_is_together_does_not_depend_on_partitions(tmp_path, parts):
    found = clusters(tmp_path, parts)
    assert sorted("".join(sorted(name for name in found if found[name] == number)) for number in set(found.values())) == [
        "abc", "d", "ef", "g", "h",
    ]  # fmt: skip


def test_each_cluster_has_the_least_address_of_its_documents(tmp_path):
    setting = context(tmp_path)
    inputs = world(setting.storage, [{"doc_id": name, "text": text} for name, text in TEXTS.items()], [], [], doc_parts=3)
    signed = run(setting, signatures.STAGE, signatures.jobs(inputs.documents))
    (part,) = run(setting, duplicates.CLUSTERS, duplicates.cluster_jobs(inputs.documents, signed))
    found = [read_array(setting.storage, part.file(f"{number:04d}.npy")) for number in range(3)]
    address = [np.arange(len(one)) + (number << 40) for number, one in enumerate(found)]
    every, names = np.concatenate(found), np.concatenate(address)
    assert all(names[every == number].min() == number for number in set(every.tolist()))
    assert part.meta == {"documents": 8, "clusters": 2, "documents_in_clusters": 5}


def rows(*changed):
    """Signatures that differ from zeros in the places given; changed places hold values of their own."""
    found = np.zeros((len(changed), PERMUTATIONS), dtype=np.uint32)
    for number, places in enumerate(changed, 1):
        found[number - 1, list(places)] = 1000 * number + np.arange(len(places))
    return found


def test_chains():
    """The second differs from the first in 16 places (0.875), the third from the second in 16 more, so from the first in 32 (0.75)."""
    signed = rows((), (), range(32), range(128))
    signed[1, :16] = signed[2, :16]
    sizes = np.full(4, 50, dtype=np.int32)
    assert near_copies(signed, sizes, 0.8, "jaccard").tolist() == [0, 0, 0, 3]
    assert near_copies(signed, sizes, 0.9, "jaccard").tolist() == [0, 1, 2, 3]
    assert near_copies(signed[[0, 2]], sizes[:2], 0.8, "jaccard").tolist() == [0, 1]


def test_containment_of_sizes():
    """Equal in 112 of 128 places: J = 0.875, containment 0.875/1.875 · (10 + 20)/10, clipped to 1; with equal sizes 14/15 = 0.93."""
    signed = rows((), range(16))
    assert near_copies(signed, np.array([10, 20], np.int32), 0.95, "containment").tolist() == [0, 0]
    assert near_copies(signed, np.array([20, 20], np.int32), 0.95, "containment").tolist() == [0, 1]
    assert near_copies(signed, np.array([20, 20], np.int32), 0.93, "containment").tolist() == [0, 0]


def test_texts_without_words_and_none_at_all():
    empty = np.full((3, PERMUTATIONS), 0xFFFFFFFF, dtype=np.uint32)
    assert near_copies(empty, np.zeros(3, np.int32), 0.8, "jaccard").tolist() == [0, 1, 2]
    assert near_copies(empty[:0], np.zeros(0, np.int32), 0.8, "jaccard").tolist() == []


def test_a_bucket_with_everybody_in_it_stays_linear():
    """All share the first band and are else unlike each other, but for 2,000 pairs that are equal in 122 of 128 places; interleaved."""
    random = np.random.default_rng(0)
    one = random.integers(0, 2**32, (20_000, PERMUTATIONS), dtype=np.uint32)
    one[:, :4] = 7
    one[10_000:12_000] = one[:2_000]
    one[10_000:12_000, 20:26] += 1
    expected = np.arange(20_000)
    expected[10_000:12_000] = np.arange(2_000)
    assert near_copies(one, np.full(20_000, 50, np.int32), 0.9, "jaccard").tolist() == expected.tolist()


@given(st.integers(1, 30), st.data())
def test_components_agree_with_loops(count, data):
    node = st.integers(0, count - 1)
    batches = data.draw(st.lists(st.lists(st.tuples(node, node), max_size=20), max_size=3))
    label, expected = np.arange(count), list(range(count))
    for edges in batches:
        label = components(label, np.array([a for a, _ in edges], dtype=np.int64), np.array([b for _, b in edges], dtype=np.int64))
        for a, b in edges:
            low, high = sorted((expected[a], expected[b]))
            expected = [low if one == high else one for one in expected]
        assert label.tolist() == expected


def test_a_long_chain():
    count = 50_000
    order = np.random.default_rng(0).permutation(count)
    assert not components(np.arange(count), order[:-1], order[1:]).any()
