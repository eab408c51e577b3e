"""Long documents as chunks; positives that a model cannot see the answer of; queries capped by stratum."""

import pyarrow as pa
import pytest
from pydantic import ValidationError
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel

from tasks.corpus.chunk_labels import GONE, NO_ANSWER
from tasks.corpus.chunk_settings import ChunkSettings
from tasks.corpus.chunks import cut
from tasks.corpus.reviewed import labels_source
from tasks.corpus.settings import DatasetSettings
from tasks.corpus.visible import CUT, is_cut, seen_ends
from tasks.errors import ModelError
from tasks.models.location import packaged
from tasks.models.settings import ModelSettings
from tasks.models.spans import Spans, sight_of
from tasks.models.stored import reference
from tasks.select.recipe import Facts
from tasks.select.registry import compose_recipe
from tasks.store.keys import digest
from tasks.store.manifest import Part, commit_part
from tasks.store.output import Output
from tasks.store.storage import open_storage
from tasks.store.tables import read_parts

WORDS = [f"w{number}" for number in range(30)]
LONG = " ".join(WORDS)


def long_documents(site, labels, chunk=None, **settings):
    docs = [{"doc_id": "long", "title": "T", "text": LONG}, {"doc_id": "short", "text": "one two three"}, {"doc_id": "other", "text": LONG}]
    queries = [
        {"query_id": "a", "query": "where are w11 and w12", "answers": ["W12"], "positive_ids": ["long"]},
        {"query_id": "b", "query": "three", "answers": ["nowhere"], "positive_ids": ["short"]},
    ]
    corpus, asked = site.jsonl("docs.jsonl", docs), site.jsonl("queries.jsonl", queries)
    given = {"tokens": 10, "stride": 8, "tokenizer": "words", "labels": labels, **(chunk or {})}
    partitions = {"document_partitions": 2, "query_partitions": 1}
    return site.ingest(corpus=corpus, queries=asked, chunk=given, **partitions, **settings)


def test_chunks_have_parents_and_lose_no_word(site):
    dataset = long_documents(site, "all")
    docs = site.docs(dataset).to_pylist()
    texts = {row["doc_id"]: row["text"] for row in docs}
    assert [name for name in sorted(texts) if name.startswith("long")] == [f"long#{number:04d}" for number in range(4)]
    assert texts["long#0000"].split() == WORDS[:10]
    assert texts["long#0001"].split() == WORDS[8:18]
    assert texts["long#0003"].split() == WORDS[24:]
    assert texts["short#0000"] == "one two three"
    assert {row["group_id"] for row in docs} == {"long", "short", "other"}
    assert dataset.chunked
    assert dataset.document_count == 9
    assert dataset.document_stage.stage == "chunks"


@pytest.mark.parametrize(
    ("labels", "chunks"),
    [("all", {0, 1, 2, 3}), ("first", {0}), ("answer", {1}), ("overlap", {1})],
)
def test_labels_go_to_the_chunks_that_the_setting_names(site, labels, chunks):
    dataset = long_documents(site, labels)
    rows = site.qrels(dataset).to_pylist()
    assert {row["doc_id"] for row in rows if row["query_id"] == "a" and row["relevance"] >= 1} == {f"long#{one:04d}" for one in chunks}
    docs = [read_parts(site.storage, [part], "docs.parquet")["doc_id"].to_pylist() for part in dataset.documents]
    assert all(docs[row["doc_partition"]][row["doc_row"]] == row["doc_id"] for row in rows), "addresses are those of the chunks"
    of_b = [(row["doc_id"], row["relevance"]) for row in rows if row["query_id"] == "b"]
    if labels == "answer":
        assert of_b == [("short#0000", -1)], "neither positive nor negative"
        aside = read_parts(site.storage, dataset.document_stage.parts, "set_aside.parquet").to_pylist()
        assert [(row["reason"], row["content"]) for row in aside] == [(NO_ANSWER, "b short")]
        assert dataset.set_aside == 1
    else:
        assert of_b == [("short#0000", 1)]


def test_an_answer_within_a_word_makes_no_chunk_relevant(site):
    docs = site.jsonl("docs.jsonl", [{"doc_id": "long", "text": LONG}])
    queries = site.jsonl("queries.jsonl", [{"query_id": "c", "query": "which", "answers": ["w1"], "positive_ids": ["long"]}])
    chunk = {"tokens": 10, "tokenizer": "words", "labels": "answer"}
    dataset = site.ingest(corpus=docs, queries=queries, chunk=chunk)
    assert [row["doc_id"] for row in site.qrels(dataset).to_pylist()] == ["long#0000"], "w10 … w19 hold no w1"


def chunk_source(site, provenance, dataset, *given):
    """What was said of chunks of a dataset, as (query, chunk's id, relevant), as a source for its next version."""
    known = {row["doc_id"]: row for row in site.docs(dataset).to_pylist()}
    rows = [
        {"query_id": query, "doc_id": known[name]["group_id"], "chunk": known[name]["norm_hash"], "relevant": relevant}
        for query, name, relevant in given
    ]
    settings = DatasetSettings(name="d", format="jsonl", corpus="c", queries="q")
    return labels_source(pa.Table.from_pylist(rows), provenance, settings, site.storage)


def judged(site, dataset, query="a"):
    """Grade and provenance by chunk."""
    rows = site.qrels(dataset).to_pylist()
    return {row["doc_id"]: (row["relevance"], row["provenance"]) for row in rows if row["query_id"] == query}


def test_labels_of_chunks_go_with_their_text(site):
    """The next version cuts at other places: a label stays where a chunk has the same text."""
    first = long_documents(site, "first")
    given = [("a", "long#0001", True), ("a", "long#0000", False), ("a", "other#0003", False)]
    reviewed = chunk_source(site, "reviewed", first, *given)
    same = long_documents(site, "first", further=[reviewed])
    assert judged(site, same) == {"long#0001": (1, "reviewed"), "long#0000": (0, "reviewed"), "other#0003": (0, "reviewed")}, (
        "what a person said of a chunk counts before what was made of the document's label"
    )
    facts = [sum(part.meta[name] for part in same.document_stage.parts) for name in ("carried", "moved", "lost")]
    assert facts == [3, 0, 0]
    moved = long_documents(site, "first", chunk={"tokens": 10, "stride": 4}, further=[reviewed])
    texts = {row["doc_id"]: row["text"] for row in site.docs(moved).to_pylist()}
    assert texts["long#0002"] == " ".join(WORDS[8:18]), "the text that was long#0001"
    assert judged(site, moved) == {"long#0002": (1, "reviewed"), "long#0000": (0, "reviewed")}
    facts = [sum(part.meta[name] for part in moved.document_stage.parts) for name in ("carried", "moved", "lost")]
    assert facts == [2, 0, 1]
    aside = read_parts(site.storage, moved.document_stage.parts, "set_aside.parquet").to_pylist()
    assert [(row["file"], row["reason"], row["content"]) for row in aside] == [("reviewed", GONE, "a other")]
    assert moved.set_aside == 0, "no positive is"


def test_labels_of_chunks_that_are_gone_go_to_the_document_where_it_is_asked(site):
    first = long_documents(site, "first")
    reviewed = chunk_source(site, "reviewed", first, ("b", "long#0001", True), ("b", "other#0001", False))
    other = {"tokens": 12, "stride": 12}
    assert judged(site, long_documents(site, "first", chunk=other, further=[reviewed]), "b") == {"short#0000": (1, None)}
    asked = long_documents(site, "first", chunk={**other, "lost_labels": "document"}, further=[reviewed])
    assert judged(site, asked, "b") == {"short#0000": (1, None), "long#0000": (1, "reviewed")}
    facts = [sum(part.meta[name] for part in asked.document_stage.parts) for name in ("carried", "moved", "lost")]
    assert facts == [0, 1, 1], "what is not relevant says nothing of the document"


def test_whose_label_of_a_chunk_counts(site):
    first = long_documents(site, "answer")
    assert judged(site, first, "b") == {"short#0000": (-1, None)}
    reviewed = chunk_source(site, "reviewed", first, ("b", "short#0000", True))
    assert judged(site, long_documents(site, "answer", further=[reviewed]), "b") == {"short#0000": (1, "reviewed")}, (
        "a person found what no answer's text showed"
    )
    no = chunk_source(site, "reviewed", first, ("b", "short#0000", False))
    assert judged(site, long_documents(site, "all", further=[no]), "b") == {"short#0000": (1, None)}, "of one chunk the user spoke himself"
    promoted = chunk_source(site, "promoted", first, ("a", "long#0001", True), ("a", "long#0002", True))
    found = judged(site, long_documents(site, "answer", further=[promoted]))
    assert found == {"long#0001": (1, None), "long#0002": (1, "promoted")}


def test_chunks_by_a_models_own_tokens():
    spans = Spans(str(packaged()))
    text = "Unbelievably tokenisation splits words; " * 12
    texts, parent, place = cut(pa.table({"text": [text, "short"]}), spans, 16, 12)
    assert parent.tolist() == [0] * (len(texts) - 1) + [1]
    assert place.tolist()[:3] == [0, 1, 2]
    assert all(len(found) <= 16 for found in spans.of(texts))
    assert text.startswith(texts[0])
    assert text.rstrip().endswith(texts[-2])


@pytest.mark.parametrize("before_words", [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(), pre_tokenizers.ByteLevel()])
def test_chunks_are_as_long_by_tokenizers_whose_tokens_begin_with_a_blank(tmp_path, before_words):
    """As those of XLM-R, GPT-2, Llama and Qwen do."""
    words = [f"{mark}{word}" for mark in ("", "▁", "Ġ") for word in ("one", "two", "three", "four", "five")]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate([*words, "?"])}, unk_token="?"))
    tokenizer.pre_tokenizer = before_words
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    spans = Spans(str(tmp_path))
    assert cut(pa.table({"text": ["one two three four five"]}), spans, 2, 2)[0] == ["one two", "three four", "five"]
    assert cut(pa.table({"text": ["one two three four"]}), spans, 3, 2)[0] == ["one two three", "three four"]


def test_settings_of_chunks():
    with pytest.raises(ValidationError, match="labels"):
        ChunkSettings(tokens=100)
    with pytest.raises(ValidationError, match="would be in none"):
        ChunkSettings(tokens=100, stride=101, labels="all")


def test_siblings_are_no_negatives_unless_a_recipe_takes_them():
    facts = Facts(num_negatives=3, max_positives=1, chunked=True)
    named = [rule.name for rule in compose_recipe("top", facts).rules]
    assert named[-1] == "sibling_chunk"
    assert "context" in compose_recipe("top", facts).needs.features
    assert "sibling_chunk" not in [rule.name for rule in compose_recipe("improved-contrast", facts).rules], (
        "its context negatives are siblings"
    )
    assert "sibling_chunk" not in [rule.name for rule in compose_recipe("top", Facts(num_negatives=3, max_positives=1)).rules]


def late_answers(site):
    """Keyword arguments for ``ingest``: an answer at the end of a document, at the start of one, in none."""
    filler = "a plain sentence that says nothing of it. " * 20
    docs = [
        {"doc_id": "late", "text": filler + "The capital is Lima."},
        {"doc_id": "early", "text": "The capital is Quito. " + filler},
        {"doc_id": "without", "text": filler},
    ]
    queries = [
        {"query_id": "a", "query": "capital of Peru", "answers": ["Lima"], "positive_ids": ["late", "early"]},
        {"query_id": "b", "query": "capital of Ecuador", "answers": ["quito"], "positive_ids": ["early"]},
        {"query_id": "c", "query": "what else", "answers": ["something"], "positive_ids": ["without"]},
        {"query_id": "d", "query": "no answers", "positive_ids": ["late"]},
    ]
    return {"corpus": site.jsonl("docs.jsonl", docs), "queries": site.jsonl("queries.jsonl", queries)}


def test_a_positive_that_is_cut_before_its_answer_is_set_aside(site):
    given, sight = late_answers(site), sight_of(ModelSettings(max_length=32))
    dataset = site.ingest(sight=sight, **given)
    grades = {(row["query_id"], row["doc_id"]): row["relevance"] for row in site.qrels(dataset).to_pylist()}
    assert grades == {("a", "late"): -1, ("a", "early"): 1, ("b", "early"): 1, ("c", "without"): 1, ("d", "late"): 1}
    aside = read_parts(site.storage, dataset.query_stage.parts, "set_aside.parquet").to_pylist()
    assert [(row["query_id"], row["doc_id"], row["reason"]) for row in aside] == [("a", "late", CUT)]
    assert (dataset.set_aside, dataset.counts["positives"]) == (1, 4)
    kept = site.ingest(sight=sight, cut_answers="keep", **given)
    assert kept.set_aside == 0
    assert site.ingest(sight=sight_of(ModelSettings(max_length=256)), **given).set_aside == 0


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_a_checkpoint_in_the_root_sees_no_more_than_the_model_it_came_from(site, kind, request):
    """So a pair that one round set aside is not a positive of the next."""
    if kind == "s3":
        site.storage = open_storage(request.getfixturevalue("s3_root"))
    given = late_answers(site)
    before = site.ingest(sight=sight_of(ModelSettings(max_length=32), site.storage), **given)
    out = Output(site.storage, f"data/train-retriever/{digest('a training')}")
    for name in ("config.json", "tokenizer.json", "modules.json"):
        out.data(f"model/{name}", (packaged() / name).read_bytes())
    part = Part(stage="train-retriever", key=digest("a training"), index="retriever", files=tuple(out.files))
    commit_part(site.storage, part)
    checkpoint = ModelSettings(path=reference(part), max_length=32)
    after = site.ingest(sight=sight_of(checkpoint, site.storage), **given)
    assert (before.set_aside, after.set_aside) == (1, 1)
    assert after.version == before.version
    with pytest.raises(ModelError, match="has none of it"):
        sight_of(checkpoint.model_copy(update={"path": reference(part).replace(part.key, digest("another"))}), site.storage)


def test_a_model_like_roberta_sees_two_tokens_fewer_than_it_has_positions(tmp_path):
    for file in packaged().iterdir():
        if file.name != "config.json":
            (tmp_path / file.name).symlink_to(file)
    for kind, seen in (("xlm-roberta", 512), ("bert", 514)):
        (tmp_path / "config.json").write_text(f'{{"model_type": "{kind}", "max_position_embeddings": 514}}')
        sight = sight_of(ModelSettings(path=str(tmp_path), max_length=1024))
        assert sight is not None
        assert sight.limit == seen


def test_what_a_model_sees_counts_prompt_and_special_tokens():
    spans = Spans(str(packaged()))
    text = "one two three four five six"
    assert seen_ends([text], spans, 6) == [len("one two three four")]
    assert seen_ends([text], spans, 8) == [len(text)]
    assert is_cut(text, len("one two three four"), ["six"])
    assert not is_cut(text, len("one two three four"), ["six", "two"])


def test_so_many_queries_of_each_split_and_language(site):
    docs = site.jsonl("docs.jsonl", [{"doc_id": "d", "text": "a text"}])
    rows = [
        {
            "query_id": f"q{number}",
            "query": f"unlike words {number} {number * 7}",
            "positive_ids": ["d"],
            "language": "de" if number % 4 else "en",
        }
        for number in range(40)
    ]
    rows += [{"query_id": f"empty{number}", "query": f"nothing {number}"} for number in range(5)]
    dataset = site.ingest(corpus=docs, queries=site.jsonl("queries.jsonl", rows), max_queries=12, query_partitions=3, near_duplicates=None)
    languages = site.queries(dataset)["language"].to_pylist()
    assert (languages.count("de"), languages.count("en")) == (9, 3)
    assert dataset.query_count == dataset.counts["positives"] == 12
    assert set(site.qrels(dataset)["query_id"].to_pylist()) == set(site.queries(dataset)["query_id"].to_pylist())
