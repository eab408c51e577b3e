"""Answers in texts: at word borders where a script has them."""

import pytest

from tasks.corpus.answers import holds, wanted
from tasks.corpus.visible import is_cut
from tasks.store.keys import normalise


@pytest.mark.parametrize(
    ("text", "answer", "stands"),
    [
        ("The party was long.", "art", False),
        ("Modern art, since 1900.", "art", True),
        ("modern ART", "Art", True),
        ("In 19501 cases", "1950", False),
        ("of 1950.", "1950", True),
        ("cost 3.5 %", "5", True),  # no letter or digit beside it: a point is a border
        ("snake_case_name", "case", False),
        ("C++ is older", "C++", True),
        ("Objective-C++11", "C++", True),  # it ends in a sign, which borders on all
        ("l'été dernier", "été", True),
        ("l'étérnel", "été", False),
        ("ein Cafe\u0301", "Cafe", False),  # an accent that stands by itself is of the word: Café
        ("ein Cafe\u0301", "Café", True),
        ("Größenwahn", "Größe", False),
        ("Москвасити", "Москва", False),
        ("город Москва.", "Москва", True),
        ("का", "क", False),  # a vowel sign is of the word
        ("私は東京都に住んでいる", "東京", True),
        ("東京2020大会", "2020", True),
        ("ประเทศไทยมี", "ไทย", True),
        ("서울에서 열린", "서울", True),
        ("part of art", "art", True),  # the first place does not count, the second does
        ("a\u00a0new\n  line", "new line", True),
    ],
)
def test_an_answer_stands_at_word_borders(text, answer, stands):
    assert holds(normalise(text), wanted([answer])) is stands


def test_no_answer_stands_nowhere():
    assert wanted([None, "", "  "]) == wanted(None) == []
    assert not holds("anything", [])


@pytest.mark.parametrize(
    ("text", "end", "answers", "cut"),
    [
        ("a party. Later: art", 8, ["art"], True),  # before the end it stands within a word only
        ("art. Later: art", 4, ["art"], False),
        ("a party alone", 7, ["art"], False),  # it stands nowhere: nothing is known
        ("we saw lyons and then lyon", 11, ["lyon"], True),  # cut within a longer word
        ("İzmir ve Ankara", 8, ["ankara"], True),
        ("İzmir ve Ankara", 15, ["ankara"], False),
    ],
)
def test_a_positive_is_cut_by_word_borders(text, end, answers, cut):
    assert is_cut(text, end, answers) is cut
