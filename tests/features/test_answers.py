import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.features.answers import finder
from tasks.features.task import features
from tasks.features.tokens import _pattern, token_line
from tests.features.world import of_query, values, world
from tests.retrieve.build import context

TEXTS = {
    "a": "He was born in the U.S. in 1950.",
    "b": "Born in us",
    "c": "The cafe\u0301 of Zu\u0308rich",  # with combining marks
    "d": "",
    "e": "19 50, 1950s",
}


def answers(root, given_answers, parts=1, method="string"):
    """By query, then document; the queries are called q0, q1, …"""
    setting = context(root)
    docs = [{"doc_id": name, "text": text, "title": "Zürich" if name == "d" else "Nobody"} for name, text in TEXTS.items()]
    queries = [{"query_id": f"q{number}", "answers": one} for number, one in enumerate(given_answers)]
    rows = [{"query_id": query["query_id"], "doc_id": doc} for query in queries for doc in TEXTS]
    inputs = world(setting.storage, docs, queries, rows, doc_parts=parts, query_parts=parts)
    manifest = features(setting, {"answers": {"method": method}}, inputs)["answers"]
    table = values(setting.storage, inputs, manifest)["answer_match"]
    metas = [part.meta for part in manifest.parts]
    return [of_query(table, query["query_id"]) for query in queries], {name: sum(meta[name] for meta in metas) for name in metas[0]}


def only(names):
    return {name: name in names for name in TEXTS}


@pytest.mark.parametrize("parts", [1, 3])
def test_answers_by_hand(tmp_path, parts):
    """Whole tokens, in their order, whatever the case and the normal form; "1950" is not in "1950s", nor in "19 50". The title counts only
    where there is no text: "Zürich" is in d, "nobody" nowhere."""
    given_answers = [["1950"], ["US", "nobody"], ["u.s."], ["CAFÉ of Zürich"], ["zürich"], ["in born"], None, [], ["", " \x00"], ["", "us"]]
    table, meta = answers(tmp_path, given_answers, parts)
    assert table[:6] == [only("a"), only("b"), only("a"), only("c"), only("cd"), only("")]
    assert table[6:9] == [dict.fromkeys(TEXTS)] * 3
    assert table[9] == only("b")
    assert meta == {"queries_with_answers": 7, "unusable_answers": 3, "matches": 7}


def test_regular_expressions(tmp_path):
    """Ignoring case, ^ and $ at each line; a bad one is counted and the others count."""
    table, meta = answers(tmp_path, [[r"19\d0\b"], ["^born"], ["(", "zürich$"], ["(", "["], [""], None], method="regex")
    assert table[:3] == [only("a"), only("b"), only("cd")]
    assert table[3:] == [dict.fromkeys(TEXTS)] * 3
    assert meta == {"queries_with_answers": 3, "unusable_answers": 4, "matches": 4}


def test_tokens():
    def tokens(text):
        return token_line(text).split("\x1f")[1:-1]

    assert tokens("It's 3.5% of_x") == ["it", "'", "s", "3", ".", "5", "%", "of", "_", "x"]
    assert tokens("Ａ½ 漢字，٣\u200bx\ue000\x07y") == [
        "ａ½",
        "漢字",
        "，",
        "٣",
        "x",
        "y",
    ]  # format and private characters separate and are none
    assert tokens("ΟΔΟΣ, Σ") == ["οδος", ",", "σ"]  # lower case token by token
    assert token_line("\t\u3000") == ""


def test_letters_digits_and_marks_are_those_of_unicode():
    pattern = _pattern()
    wrong = [
        point
        for point in range(sys.maxunicode + 1)
        if (unicodedata.category(chr(point))[0] in "LNM") != bool(pattern.fullmatch(f"a{chr(point)}"))
    ]
    assert wrong == []


ALPHABET = st.text(st.sampled_from(list("abAB1. _-é\u0301ßΣσ\u200b\n'")), max_size=12)


@given(ALPHABET, st.lists(ALPHABET, max_size=3))
def test_agrees_with_a_plain_version_of_the_published_matching(text, given_answers):
    regex = pytest.importorskip("regex")
    pattern = regex.compile(r"([\p{L}\p{N}\p{M}]+)|([^\p{Z}\p{C}])")

    def tokens(one):
        return [match.group().lower() for match in pattern.finditer(unicodedata.normalize("NFD", one))]

    held, wanted = tokens(text), [found for found in map(tokens, given_answers) if found]
    expected = any(held[start : start + len(one)] == one for one in wanted for start in range(len(held)))
    found, unusable = finder(given_answers, "string")
    assert unusable == len(given_answers) - len(wanted)
    assert (found is None) == (not wanted)
    assert found is None or found(token_line(text)) == expected
