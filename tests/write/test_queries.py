"""Which written queries are kept, and the rank at which a document comes back."""

import numpy as np

from tasks.store.keys import norm_hash
from tasks.write.queries import Queries, QueryWriteSettings, Source, counted, query_prompt, query_questions, round_trip, written_queries

SETTINGS = QueryWriteSettings.model_validate({"model": {"model": "m"}, "per_document": 2, "max_characters": 100})
SOURCES = [Source("d1", "Title", "the text", 0, 0), Source("d2", "", "another", 1, 0)]


def test_a_writer_is_shown_title_and_text_and_asked_for_so_many():
    first, _ = query_questions(query_prompt(SETTINGS), SETTINGS, SOURCES)
    assert "Title\nthe text" in first.messages[1]["content"]
    assert "Write 2 different queries" in first.messages[1]["content"]


def test_repeats_known_ones_and_empty_ones_are_set_aside():
    answers = [Queries(queries=["What is it?", "what  is IT?", " ", "known already"]), Queries(queries=["what is it?", "another one"])]
    found = written_queries(SOURCES, answers, frozenset({norm_hash("Known already")}))
    assert [one["status"] for one in found] == ["kept", "same_query", "empty", "same_query", "same_query", "kept"]
    assert counted(found) == {"kept": 2, "same_query": 3, "empty": 1}
    kept = [one for one in found if one["status"] == "kept"]
    assert [(one["doc_id"], one["place"]) for one in kept] == [("d1", 0), ("d2", 1)]
    assert all(str(one["query_id"]).startswith("synthetic:") for one in kept)
    assert written_queries(SOURCES, [None, None], frozenset()) == []


def test_the_round_trip_is_the_rank_of_a_plain_sort():
    draws = np.random.default_rng(0)
    documents = [draws.normal(size=(size, 4)).astype(np.float32) for size in (5, 0, 7)]
    queries = draws.normal(size=(20, 4)).astype(np.float32)
    partition, row = draws.choice([0, 2], 20).tolist(), draws.integers(0, 5, 20).tolist()
    whole = np.concatenate(documents)
    places = [r if p == 0 else 5 + r for p, r in zip(partition, row, strict=True)]
    expected = [int(1 + (whole @ query > (whole @ query)[place]).sum()) for query, place in zip(queries, places, strict=True)]
    assert round_trip(queries, documents, partition, row).tolist() == expected
