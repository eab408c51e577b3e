"""What sentence-transformers' miner does, asked of both: outputs, their order, errors and warnings."""

import inspect
import logging

import pytest

from flows.drop_in import mine_hard_negatives

OPTIONS = [
    {},
    {"output_format": "n-tuple", "output_scores": True},
    {"output_format": "labeled-pair", "relative_margin": 0.05},
    pytest.param({"output_format": "labeled-pair", "relative_margin": 0.05, "output_scores": True}, marks=pytest.mark.slow),
    {"output_format": "labeled-list", "relative_margin": 0.05, "absolute_margin": 0.02},
    pytest.param({"output_format": "labeled-list", "relative_margin": 0.05, "output_scores": True}, marks=pytest.mark.slow),
    pytest.param({"relative_margin": 0.05, "output_scores": True}, marks=pytest.mark.slow),
    pytest.param({"range_min": 2, "range_max": 12, "max_score": 0.6, "min_score": 0.4, "output_format": "n-tuple"}, marks=pytest.mark.slow),
    pytest.param({"range_max": 500, "num_negatives": 4}, marks=pytest.mark.slow),
    {"include_positives": True, "num_negatives": 6},
    pytest.param(
        {"include_positives": True, "num_negatives": 6, "range_max": 30, "max_score": 0.7, "output_scores": True}, marks=pytest.mark.slow
    ),
    {"query_prompt": "search for music: ", "corpus_prompt": "about metal: "},
]


def named(case):
    return "+".join(f"{name}={value}" for name, value in case.items()) or "default"


def near(rows):
    """Rows with scores rounded: batches are formed in another way, which changes a vector's last bits."""
    return [{name: rounded(value) for name, value in row.items()} for row in rows]


def rounded(value):
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return pytest.approx(value, abs=1e-5) if isinstance(value, float) else value


def test_the_parameters_are_theirs_and_some_by_name():
    from sentence_transformers.util import mine_hard_negatives as original

    mine, other = inspect.signature(mine_hard_negatives).parameters, inspect.signature(original).parameters
    assert [(one.name, one.default, one.kind) for one in mine.values()][: len(other)] == [
        (one.name, one.default, one.kind) for one in other.values()
    ]
    assert [one.name for one in list(mine.values())[len(other) :] if one.kind is one.KEYWORD_ONLY] == ["root", "name", "seed"]


@pytest.mark.parametrize("options", OPTIONS, ids=named)
def test_rows_are_theirs_in_their_order(pairs, ours, theirs, options):
    dataset, corpus = pairs
    expected, found = (mine(dataset, corpus=corpus, **options) for mine in (theirs, ours))
    assert found.column_names == expected.column_names
    assert len(found) > 15
    assert found.to_list() == near(expected.to_list())


@pytest.mark.slow
def test_without_a_corpus_the_positives_are_it(pairs, ours, theirs):
    dataset, _ = pairs
    found = ours(dataset, output_format="n-tuple")
    assert found.to_list() == theirs(dataset, output_format="n-tuple").to_list()
    assert {row["negative_1"] for row in found} <= set(dataset["answer"])


@pytest.mark.slow
def test_columns_by_name(pairs, ours, theirs):
    dataset, corpus = pairs
    turned = dataset.add_column("id", list(range(len(dataset)))).select_columns(["id", "answer", "question"])
    given = {"corpus": corpus, "anchor_column_name": "question", "positive_column_name": "answer"}
    assert ours(turned, **given).to_list() == theirs(turned, **given).to_list() == ours(dataset, corpus=corpus).to_list()


def test_no_positive_of_a_query_is_among_its_negatives(pairs, ours):
    dataset, corpus = pairs
    positives = {}
    for row in dataset:
        positives.setdefault(row["question"], set()).add(row["answer"])
    assert max(map(len, positives.values())) == 2
    found = ours(dataset, corpus=corpus)
    assert all(row["negative"] not in positives[row["question"]] for row in found)
    assert {(row["question"], row["answer"]) for row in found} == {(row["question"], row["answer"]) for row in dataset}


@pytest.mark.slow
def test_rows_that_stand_twice_count_once_and_search_as_deep(pairs, ours, theirs):
    from datasets import concatenate_datasets

    dataset, corpus = pairs
    twice = concatenate_datasets([dataset, dataset.select(range(3))])
    given = {"corpus": corpus, "relative_margin": 0.2, "output_format": "labeled-pair"}
    assert ours(twice, **given).to_list() == theirs(twice, **given).to_list()


@pytest.mark.slow
def test_a_cross_encoders_scores_are_compared_where_there_is_a_filter(pairs, ours, theirs, scorer):
    dataset, corpus = pairs
    given = {"corpus": corpus, "cross_encoder": scorer, "output_format": "n-tuple", "output_scores": True, "num_negatives": 2}
    expected = theirs(dataset, max_score=1.0, **given)
    middle = sorted(score for row in expected for score in row["scores"][1:])[len(expected)]
    for filters in ({"max_score": middle}, {}):
        found = ours(dataset, **filters, **given)
        assert found.to_list() == near(theirs(dataset, **filters, **given).to_list())
        assert len(found) > 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "same"),
    [
        ({"as_triplets": True}, {"output_format": "triplet"}),
        ({"as_triplets": False}, {"output_format": "n-tuple"}),
        ({"margin": 0.1}, {"absolute_margin": 0.1}),
        ({"output_format": "n-tuple-scores"}, {"output_format": "n-tuple", "output_scores": True}),
    ],
    ids=named,
)
def test_what_is_deprecated_still_works_and_says_so(pairs, ours, caplog, given, same):
    dataset, corpus = pairs
    with caplog.at_level(logging.WARNING):
        found = ours(dataset, corpus=corpus, **given)
    assert "deprecated" in caplog.text
    caplog.clear()
    assert found.to_list() == ours(dataset, corpus=corpus, **same).to_list()
    assert "deprecated" not in caplog.text


def test_positives_in_the_ranking_warn_where_they_may_be_lost(pairs, ours, caplog):
    dataset, corpus = pairs
    with caplog.at_level(logging.WARNING):
        found = ours(dataset, corpus=corpus, include_positives=True, num_negatives=6, max_score=0.7, range_max=30)
    assert "max_score may still discard" in caplog.text.replace("range_max, ", "")
    assert "n-tuple" in caplog.text
    assert found.column_names == ["question", "answer", *(f"negative_{n}" for n in range(1, 7))]


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_negatives": 0},
        {"num_negatives": -1, "range_max": 10},
        {"range_min": -1},
        {"range_min": 5, "range_max": 5},
        {"range_max": 0},
        {"range_min": 3, "range_max": 5, "num_negatives": 3},
        {"output_format": "quadruplet"},
        {"faiss_batch_size": 0},
        {"query_prompt_name": "nowhere"},
    ],
    ids=named,
)
def test_errors_are_theirs_to_the_word_and_come_before_a_model_runs(pairs, ours, theirs, wrong, tmp_path):
    dataset, _ = pairs
    with pytest.raises(ValueError, match=r"^[A-Z]|^range|^num|^faiss") as expected:
        theirs(dataset, **wrong)
    with pytest.raises(ValueError, match=r"^[A-Z]|^range|^num|^faiss") as found:
        ours(dataset, root=str(tmp_path / "unmade"), **wrong)
    assert str(found.value).split(" with keys")[0] == str(expected.value).split(" with keys")[0]
    assert not (tmp_path / "unmade").exists()


def test_too_little_is_an_error(pairs, ours):
    dataset, _ = pairs
    with pytest.raises(ValueError, match="The dataset is empty"):
        ours(dataset.select([]))
    with pytest.raises(ValueError, match="at least two columns"):
        ours(dataset.select_columns(["question"]))


def test_what_is_told_is_theirs(pairs, ours, theirs, capsys):
    """The table, the filters and what is missing; progress and the line about the round are each side's own."""
    dataset, corpus = pairs
    told = []
    for mine in (theirs, ours):
        mine(dataset, corpus=corpus, verbose=True, relative_margin=0.05, max_score=0.6, output_format="labeled-pair")
        lines = capsys.readouterr().out.splitlines()
        told.append([line for line in lines if line.startswith(("Setting", "Count", "Mean", "Std", "Min", "Max", "Skipped", "Could not"))])
    assert len(told[0]) == 9
    assert told[0][0] == told[1][0]
    assert told[0][6:] == told[1][6:]
    assert [line.split() for line in told[0][1:6]] == [line.split() for line in told[1][1:6]]
    ours(dataset, corpus=corpus)
    assert capsys.readouterr().out == ""
