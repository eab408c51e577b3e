"""Which queries belong together: by hand, and against a plain comparison of all pairs."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.corpus.alike import fold, near_sets
from tasks.errors import InputError
from tasks.store.keys import norm_hash
from tests.corpus.test_reviewed import labelled

SHARES = {"train": 0.5, "dev": 0.5}


def of(site, queries, documents=("d",), **settings):
    """The dataset, and the queries of each group, smallest first."""
    rows = [{"query_id": f"q{number}", "positive_ids": ["d"], **query} for number, query in enumerate(queries)]
    corpus = site.jsonl("c.jsonl", [{"doc_id": one, "text": f"text {one}"} if isinstance(one, str) else one for one in documents])
    dataset = site.ingest(corpus=corpus, queries=site.jsonl("q.jsonl", rows), query_partitions=3, **settings)
    groups = {}
    for row in site.queries(dataset).to_pylist():
        groups.setdefault(row["group"], []).append(row["query_id"])
    return dataset, sorted(sorted(group) for group in groups.values())


def texts(*given):
    return [{"query": text} for text in given]


def test_texts_that_differ_by_case_form_punctuation_and_space_are_one_group(site):
    same = ["What is a wing?", "what is  a wing", "WHAT IS A WING!", "\uff37hat is a wing"]  # the last one with a wide W
    dataset, groups = of(site, texts(*same, "what is a fin"), near_duplicates=None)
    assert groups == [["q0", "q1", "q2", "q3"], ["q4"]]
    named = set(site.queries(dataset)["group"].to_pylist())
    assert named == {min(map(norm_hash, same)), norm_hash("what is a fin")}  # the least name of its members


NEAR = [
    "one two three four",  # q0
    "one two three four five",  # q1: 4 of 5 words with q0
    "six, four three! two ONE",  # q2: 4 of 5 with q0, 4 of 6 with q1
    "one two three four five seven eight",  # q3: 5 of 7 with q1, 4 of 7 with q0
    "nine",  # q4: alone
]


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (0.8, [["q0", "q1", "q2"], ["q3"], ["q4"]]),  # q1 and q2 by q0
        (0.81, [["q0"], ["q1"], ["q2"], ["q3"], ["q4"]]),
        (0.7, [["q0", "q1", "q2", "q3"], ["q4"]]),  # 5 / 7 = 0.714
        (None, [["q0"], ["q1"], ["q2"], ["q3"], ["q4"]]),
    ],
)
def test_nearly_the_same_words(site, threshold, expected):
    assert of(site, texts(*NEAR), near_duplicates=threshold)[1] == expected


def test_near_duplicates_share_their_split(site):
    queries = [{"query": f"{start} word{number} word{number}b word{number}c word{number}d"} for number in range(60) for start in ("a", "")]
    dataset, groups = of(site, queries, splits=SHARES)  # 4 of 5 words
    assert Counter(map(len, groups)) == {2: 60}
    table = site.queries(dataset)
    split = dict(zip(table["query_id"].to_pylist(), table["split"].to_pylist(), strict=True))
    assert all(split[one] == split[other] for one, other in groups)
    assert set(split.values()) == {"train", "dev"}


def test_what_the_source_names_apart_is_refused_where_it_is_nearly_the_same(site):
    queries = [{"query": NEAR[0], "split": "train"}, {"query": NEAR[1], "split": "test"}]
    with pytest.raises(InputError, match=r"1 query group.* lie in two splits") as refused:
        of(site, queries)
    assert "dataset.near_duplicates" in refused.value.mend
    assert of(site, queries, near_duplicates=None)[1] == [["q0"], ["q1"]]


def test_groups_that_join_none_keep_their_names_splits_and_bytes(site):
    queries = [{"query": f"number {number}"} for number in range(40)] + [{"query": "of a group", "group": "own"}]
    before, after = (of(site, queries, splits=SHARES, near_duplicates=near)[0] for near in (None, 0.8))
    assert before.version == after.version
    assert set(site.queries(after)["group"].to_pylist()) == {norm_hash(f"number {number}") for number in range(40)} | {"own"}


def test_a_group_of_the_user_joins_too(site):
    queries = [{"query": NEAR[0], "group": "g"}, {"query": "something else", "group": "g"}, {"query": NEAR[1]}]
    dataset, groups = of(site, queries)
    assert groups == [["q0", "q1", "q2"]]
    assert site.queries(dataset)["group"].to_pylist() == [min("g", norm_hash(NEAR[1]))] * 3


PARENTS = [
    {"doc_id": "a1", "text": "x", "group_id": "a"},
    {"doc_id": "a2", "text": "x y", "group_id": "a"},
    {"doc_id": "a", "text": "the parent itself"},
    {"doc_id": "b", "text": "y"},
    {"doc_id": "c", "text": "z"},
    {"doc_id": "d", "text": "w"},
]
ASKED = [
    {"query": "first", "positive_ids": ["a1"]},
    {"query": "second", "positive_ids": ["a2"]},  # with the first, by the parent a
    {"query": "third", "positive_ids": ["a", "b"]},  # the document a is that parent
    {"query": "fourth", "positive_ids": ["b"]},  # with the third, by the document b
    {"query": "fifth", "positive_ids": ["c"]},
    {"query": "sixth", "positive_ids": ["d"]},
    {"query": "seventh", "positive_ids": ["d"]},
    {"query": "eighth", "positive_ids": []},
]


def test_queries_of_one_parent_document(site):
    _, groups = of(site, ASKED, PARENTS, split_by="parent")
    assert groups == [["q0", "q1", "q2", "q3"], ["q4"], ["q5", "q6"], ["q7"]]
    assert len(of(site, ASKED, PARENTS)[1]) == 8


def test_labels_under_the_grade_join_nothing(site):
    queries = site.jsonl("q.jsonl", [{"query_id": f"q{number}", "query": f"ask {number}"} for number in range(4)])
    qrels = [("q0", "d", 2), ("q1", "d", 1), ("q2", "d", 2), ("q3", "e", 2)]
    rows = [{"query_id": query, "doc_id": doc, "relevance": grade} for query, doc, grade in qrels]
    corpus = site.jsonl("c.jsonl", [{"doc_id": "d", "text": "x"}, {"doc_id": "e", "text": "y"}])
    files = {"corpus": corpus, "queries": queries, "qrels": site.jsonl("r.jsonl", rows)}
    dataset = site.ingest(**files, split_by="parent", positive_min_grade=2)
    table = site.queries(dataset)
    group = dict(zip(table["query_id"].to_pylist(), table["group"].to_pylist(), strict=True))
    assert group["q0"] == group["q2"] == min(norm_hash("ask 0"), norm_hash("ask 2"))
    assert len({group["q0"], group["q1"], group["q3"]}) == 3


def test_only_the_users_own_labels_join(site):
    """What is reviewed and promoted grows from round to round: splits must not move with it."""
    promoted = labelled(site, "promoted", ("q4", "d", True), ("q5", "c", True))
    _, groups = of(site, ASKED, PARENTS, split_by="parent", further=[promoted])
    assert groups == [["q0", "q1", "q2", "q3"], ["q4"], ["q5", "q6"], ["q7"]]


def test_one_parent_for_more_than_half_of_the_queries_is_an_error(site):
    queries = [{"query": f"ask {number}", "positive_ids": ["d" if number < 3 else f"e{number}"]} for number in range(6)]
    documents = ["d", *(f"e{number}" for number in range(3, 6))]
    assert len(of(site, queries, documents, split_by="parent")[1]) == 4  # 3 of 6 is not more than half
    with pytest.raises(InputError, match="hold 3 of 5 queries together") as refused:
        of(site, queries[:5], documents, split_by="parent")
    assert "split_by: query" in refused.value.mend


def test_a_query_that_is_left_out_joins_nothing(site):
    """A BEIR folder's queries without a judgement are not there: q1, between q0 and q2, is one."""
    words = ["one two three four", "one two three four five", "one two three four five six"]  # 4 / 5, 5 / 6 and 4 / 6
    site.jsonl("beir/corpus.jsonl", [{"_id": "d", "text": "x"}])
    site.jsonl("beir/queries.jsonl", [{"_id": f"q{number}", "text": text} for number, text in enumerate(words)])
    for judged, expected in ((("q0", "q2"), 2), (("q0", "q1", "q2"), 1)):
        lines = "".join(f"{query}\td\t1\n" for query in judged)
        site.write("beir/qrels/test.tsv", f"query-id\tcorpus-id\tscore\n{lines}")
        dataset = site.ingest(format="beir", path=str(site.data / "beir"))
        assert len(set(site.queries(dataset)["group"].to_pylist())) == expected


@given(
    st.lists(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=6).map(" ".join), max_size=25),
    st.sampled_from([0.5, 0.6, 0.75, 0.8, 1.0]),
)
def test_near_sets_are_those_of_all_pairs(given_texts, threshold):
    folded = sorted(set(given_texts))
    sets = [frozenset(text.split()) for text in folded]
    label = list(range(len(folded)))
    for one in range(len(folded)):
        for other in range(one):
            if len(sets[one] & sets[other]) / len(sets[one] | sets[other]) >= threshold:
                old, new = max(label[one], label[other]), min(label[one], label[other])
                label = [new if each == old else each for each in label]
    assert near_sets(folded, threshold).tolist() == label


def test_beyond_the_window_pairs_are_missed():
    """Texts 0 and 1 have 2 of 3 words in common. By size, text 2 stands between them in the list of x, and text 3 in that of y."""
    texts = ["x y", "x y z", "x zz", "y zzz"]
    assert near_sets(texts, 0.5).tolist() == [0, 0, 2, 3]
    assert near_sets(texts, 0.5, window=1).tolist() == [0, 1, 2, 3]


def test_fold_keeps_what_is_no_punctuation():
    assert fold("c++ & c#") == "c++ c"
    assert fold("$5, 5%") == "$5 5"
