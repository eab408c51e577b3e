import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.features import signatures as stage
from tasks.features.minhash import EMPTY, WordHashes, distinct, shingles, signatures, words
from tasks.features.settings import SignatureSettings
from tasks.features.similarity import containment, jaccard
from tasks.store.tables import read_array
from tests.retrieve.build import checksums, context, dataset, run

TEXTS = st.lists(st.lists(st.sampled_from("abcde"), max_size=12).map(" ".join), max_size=8)


def shingle_sets(texts, size=3):
    split = [text.split() for text in texts]
    return [{tuple(tokens[at : at + size]) for at in range(max(len(tokens) - size + 1, min(len(tokens), 1)))} for tokens in split]


def signed(texts, size=3):
    hashed, counts = shingles(*words(texts, WordHashes()), size)
    return signatures(hashed, counts), distinct(hashed, counts)


@given(TEXTS, st.integers(1, 4))
def test_distinct_shingles_are_counted_exactly(texts, size):
    assert signed(texts, size)[1].tolist() == [len(found) for found in shingle_sets(texts, size)]


@given(TEXTS)
def test_a_signature_depends_on_the_set_of_shingles_alone(texts):
    together, sets = signed(texts)[0], shingle_sets(texts)
    for number, text in enumerate(texts):
        assert (signed([text])[0][0] == together[number]).all()
        for other in range(number):
            assert (together[number] == together[other]).all() == (sets[number] == sets[other]) or jaccard(
                together[[number]], together[[other]]
            )[0] > 0.8


def test_normal_forms_and_short_texts():
    values, sizes = signed(["The ﬁrst, LINE!", "the first line", "one two", "one  TWO.", "two one", "", "..."])
    assert sizes.tolist() == [1, 1, 1, 1, 1, 0, 0]
    assert (values[0] == values[1]).all() and (values[2] == values[3]).all() and not (values[2] == values[4]).any()
    assert (values[5:] == EMPTY).all()


def test_estimates_are_near_the_exact_values():
    generator = np.random.default_rng(0)
    vocabulary = [f"w{number}" for number in range(3000)]
    left, right = [], []
    for _ in range(300):
        base = generator.choice(vocabulary, 120).tolist()
        kept, extra = generator.integers(0, 121), generator.integers(0, 120)
        left.append(" ".join(base))
        right.append(" ".join([*base[:kept], *generator.choice(vocabulary, extra).tolist(), "end"]))
    a, b = signed(left), signed(right)
    sets = list(zip(shingle_sets(left), shingle_sets(right), strict=True))
    exact = np.array([len(one & two) / len(one | two) for one, two in sets])
    held = np.array([len(one & two) / max(1, min(len(one), len(two))) for one, two in sets])
    estimate = jaccard(a[0], b[0])
    some = (exact > 0) & (exact < 1)
    standard = ((estimate - exact) / np.sqrt(exact * (1 - exact) / 128 + 1e-12))[some]
    assert 0.85 < standard.std() < 1.15 and abs(standard.mean()) < 0.2
    assert np.abs(containment(estimate, a[1], b[1]) - held)[held > 0.5].mean() < 0.08


def test_stage_writes_rows_in_order_and_the_title_stands_for_an_empty_text(tmp_path):
    setting = context(tmp_path)
    docs = [("a", "left out", "one two three four"), ("b", "one two three four", ""), ("c", "", "")]
    data = dataset(setting.storage, docs, [])
    (part,) = run(setting, stage.STAGE, stage.jobs(data.documents))
    values = read_array(setting.storage, part.file("signatures.npy"))
    assert values.shape == (3, 128) and values.dtype == np.uint32
    assert read_array(setting.storage, part.file("shingles.npy")).tolist() == [2, 2, 0]
    assert (values[0] == values[1]).all()
    assert setting.progress.units == {"signatures": 3}


def test_signatures_do_not_depend_on_partitions_or_blocks(tmp_path, monkeypatch):
    docs = [(f"d{number}", "", f"text {number} of some words {number % 7} more") for number in range(50)]
    whole, split = context(tmp_path / "a"), context(tmp_path / "b")
    one, three = dataset(whole.storage, docs, []), dataset(split.storage, docs, [], doc_parts=3)
    (part,) = run(whole, stage.STAGE, stage.jobs(one.documents))
    monkeypatch.setattr(stage, "_DOCUMENTS", 7)
    parts = run(split, stage.STAGE, stage.jobs(three.documents))
    rows = sorted(row.tobytes() for piece in parts for row in read_array(split.storage, piece.file("signatures.npy")))
    assert rows == sorted(row.tobytes() for row in read_array(whole.storage, part.file("signatures.npy")))
    again = context(tmp_path / "c")
    assert checksums(run(again, stage.STAGE, stage.jobs(dataset(again.storage, docs, []).documents))) == checksums([part])


def test_the_shingle_size_is_in_the_key(tmp_path):
    data = dataset(context(tmp_path).storage, [("a", "", "x")], [])
    keys = {stage.jobs(data.documents, SignatureSettings(shingle=size))[0].key(stage.STAGE) for size in (2, 3)}
    assert len(keys) == 2


@pytest.mark.parametrize(("value", "left", "right", "expected"), [(1, 5, 5, 1.0), (0.25, 4, 16, 1.0), (0.2, 6, 6, 1 / 3), (0, 3, 3, 0.0)])
def test_containment_by_hand(value, left, right, expected):
    assert containment(np.array([float(value)]), np.array([left]), np.array([right]))[0] == pytest.approx(expected)
