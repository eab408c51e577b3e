"""What a writer of negatives is asked, and which drafts are copies."""

from tasks.schema import SYNTHETIC
from tasks.write.negatives import Draft, Drafts, Need, contained, document_id, looked_at, write_prompt, write_questions
from tasks.write.settings import WriteSettings

SETTINGS = WriteSettings.model_validate({"model": {"model": "m"}})
TEN = "one two three four five six seven eight nine ten"
NEED = Need("q", "what is it?", TEN, frozenset({"p1", "p2"}))


def statuses(texts, corpus=(), containment=0.9, need=NEED):
    return [one["status"] for one in looked_at([need], [Drafts(documents=[Draft(text=text) for text in texts])], corpus, containment)]


def test_drafts_are_compared_with_corpus_positive_query_and_each_other():
    texts = ["A known document.", "what is IT?", "fresh words here", "Fresh  words here", TEN.removeprefix("one "), " "]
    assert statuses(texts, [("d", "", "a known document.")]) == [
        "copy_of_document", "copy_of_document", "kept", "copy_of_document", "near_copy_of_positive", "empty",
    ]  # fmt: skip
    assert looked_at([NEED], [None], [], 0.9) == []


def test_a_near_copy_of_any_positive_or_document_is_none():
    """Not of the first positive alone, and not of positives alone: a hidden positive is a document of the corpus too."""
    second = "alpha beta gamma delta epsilon zeta eta theta iota kappa"
    corpus = [("p1", None, TEN), ("p2", "A title", second), ("d1", "", f"Before. {TEN[::-1]} and after"), ("d2", None, None)]
    texts = [f"{second} lambda", f"{TEN[::-1]}", "alpha beta gamma is a start that goes on in another way altogether"]
    assert statuses(texts, corpus) == ["kept", "near_copy_of_document", "kept"]  # 8 of 9 trigrams are under 0.9
    assert statuses(texts, corpus, 0.8) == ["near_copy_of_positive", "near_copy_of_document", "kept"]
    assert statuses([second.upper()], corpus) == ["copy_of_document"]


def test_what_is_near_is_the_containment_of_one_document_as_computed_by_hand():
    """Trigrams of the draft that a document has, of all of the draft's: 3 of 4, and no sum over documents."""
    corpus = [("d1", "", "a b c d e"), ("d2", "", "d e f")]
    assert contained("a b c d e f", "a b c d e") == 0.75
    assert statuses(["a b c d e f"], corpus, 0.75) == ["near_copy_of_document"]
    assert statuses(["a b c d e f"], corpus, 0.76) == ["kept"]
    assert statuses(["b c"], corpus, 0.5) == ["kept"]  # shorter than a trigram: only the same words are a copy


def test_an_id_is_of_the_content_and_marked():
    first = Draft(title="T", text="text")
    assert document_id(first) == document_id(first.model_copy(update={"contradicts": "x"}))
    assert document_id(first) != document_id(Draft(title="T t", text="ext"))
    assert document_id(first).startswith(SYNTHETIC)


def test_a_writer_is_asked_for_number_difficulty_and_length():
    chosen = SETTINGS.model_copy(update={"drafts": 3, "difficulty": "easy", "max_characters": 100})
    (question,) = write_questions(write_prompt(chosen), chosen, [NEED])
    assert "Write 3 documents of difficulty easy, each of about 10 words" in question.messages[1]["content"]
    (told,) = write_questions(write_prompt(chosen), chosen.model_copy(update={"words": 77}), [NEED])
    assert "about 77 words" in told.messages[1]["content"]
    (short,) = write_questions(write_prompt(chosen), chosen, [Need("q", "?", "one")])
    assert "about 5 words" in short.messages[1]["content"]
