import pytest

from tasks.audit.explain import show_query
from tasks.errors import UsageError


def test_a_querys_story(world):
    first, second = world.both()
    story = show_query(world.storage, first, "q", shorten=20)
    assert (story.text, story.round, story.recipe, story.answers) == ("which?", 1, "top", [])
    assert [(c.doc_id, c.title, c.text) for c in story.positives] == [("a", "Ta", "text of a text of …")]
    assert [(c.doc_id, c.decisions[0].decision, c.decisions[0].reasons) for c in story.candidates] == [
        ("c", "rejected", ["max_score", "duplicate"]),
        ("b", "negative", []),
        ("d", "negative", []),
    ]
    assert story.candidates[0].scores == {"dense_rank": 2, "dense_score": pytest.approx(0.8)}
    later = {c.doc_id: c for c in show_query(world.storage, second, "q", "rocketqa").candidates}
    assert later["b"].scores["bm25_rank"] == 1
    assert len(show_query(world.storage, first, "q", shorten=0).candidates[0].text) == len("text of c " * 30) - 1


def test_unknown_query(world):
    first, _ = world.both()
    with pytest.raises(UsageError, match="has no query 'zzz'"):
        show_query(world.storage, first, "zzz")
