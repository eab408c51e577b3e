import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.corpus.fields import Fields, RowError, grade, identifier, listed
from tasks.corpus.records import PARSERS, Document, Judgement, Query
from tasks.foreign import repair
from tasks.store.keys import input_hash

NAMES = {
    name: (name,)
    for name in (
        "doc_id",
        "title",
        "text",
        "group_id",
        "language",
        "query_id",
        "query",
        "answers",
        "query_group",
        "query_split",
        "query_language",
        "positive_ids",
        "relevance",
        "anchor",
        "positive",
    )
}


def parse(role, **values):
    return PARSERS[role](Fields(NAMES).of(values))


@pytest.mark.parametrize(("value", "wanted"), [(2, 2), ("3", 3), ("-1", -1), (2.0, 2), ("2.0", 2), (None, 1)])
def test_grades(value, wanted):
    assert grade(value) == wanted


@pytest.mark.parametrize("value", ["", "x", 1.5, "nan", "inf", True, [1], 2**31, 10**400])
def test_bad_grades(value):
    with pytest.raises(RowError, match="is not a whole number"):
        grade(value)


@pytest.mark.parametrize("value", [1.0, True, ["a"], "a\0", "a\ud800"])
def test_bad_ids(value):
    with pytest.raises(RowError, match="doc_id"):
        identifier(value, "doc_id")


def test_two_halves_of_a_pair_become_one_character():
    assert repair("a\ud83d\ude00") == "a\U0001f600"


def test_ids_stay_as_they_are():
    assert identifier(" a ", "doc_id") == " a "
    assert identifier(17, "doc_id") == "17"


@given(st.text(st.characters()))
def test_repaired_text_can_be_stored_and_needs_no_more_repair(text):
    repaired = repair(text)
    repaired.encode("utf-8")
    assert repair(repaired) is repaired


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_only_nuls_change_in_proper_text(text):
    assert repair(text) == text.replace("\0", " ")


@pytest.mark.parametrize("text", ["x\ud800y", "\udc00", "é\ud83d"])
def test_lone_surrogates_become_replacement_characters(text):
    assert repair(text) == "".join("\ufffd" if "\ud800" <= one <= "\udfff" else one for one in text)


def test_lists():
    assert listed(None, "x") is None
    assert listed("", "x") is None
    assert listed("a", "x") == ["a"]
    assert listed('["a", "b"]', "x") == ["a", "b"]
    assert listed("[a", "x") == ["[a"]
    with pytest.raises(RowError, match="x is not a list"):
        listed(1.5, "x")


def test_document_rows():
    assert parse("corpus", doc_id=1, text="a").documents == [Document("1", "", "a", None, None, False)]
    assert parse("corpus", doc_id="x", title="only", text="").documents[0].title == "only"
    for values, reason in [
        ({"text": "a"}, "no doc_id"),
        ({"doc_id": " ", "text": "a"}, "no doc_id"),
        ({"doc_id": "1"}, "empty text"),
        ({"doc_id": "1", "text": " \n"}, "empty text"),
        ({"doc_id": "1", "text": 3}, "text is not text"),
    ]:
        with pytest.raises(RowError, match=reason):
            parse("corpus", **values)


def test_query_rows_with_answers_and_inline_positives():
    records = parse(
        "queries", query_id="a", query="q", answers={"text": ["x"], "answer_start": [1]}, query_group="g", positive_ids=["d", 2]
    )
    assert records.queries == [Query("a", "q", ["x"], "g", None, None, False)]
    assert records.judgements == [Judgement("a", "d", 1), Judgement("a", "2", 1)]
    with pytest.raises(RowError, match="answers is not a list of strings"):
        parse("queries", query_id="a", query="q", answers=[1])
    with pytest.raises(RowError, match="empty query"):
        parse("queries", query_id="a", query="  ")


def test_pairs_have_hashes_as_ids():
    records = parse("pairs", anchor="q", positive=["p", "r"])
    ids = [input_hash("", text) for text in "pr"]
    assert [document.doc_id for document in records.documents] == ids
    assert records.judgements == [Judgement(input_hash("", "q"), one, 1) for one in ids]
    for positive, reason in [
        (None, "empty positive"),
        ("", "empty positive"),
        ([], "empty positive"),
        (["a", ""], "empty positive"),
        (3, "positive is not text"),
    ]:
        with pytest.raises(RowError, match=reason):
            parse("pairs", anchor="q", positive=positive)


def test_names_are_tried_in_order_and_repairs_are_counted():
    fields = Fields({"text": ("text", "body")})
    assert fields.of({"text": None, "body": "b\0"}).text("text") == "b "
    assert fields.repaired == 1
