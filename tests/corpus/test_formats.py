import csv
import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import InputError, UsageError
from tasks.store.keys import input_hash

DOCS = [{"doc_id": f"d{n}", "title": f"T{n}", "text": f'a "text", {n}\nof two lines'} for n in range(5)]
QUERIES = [{"query_id": "a", "query": "first"}, {"query_id": "b", "query": "second"}]
QRELS = [{"query_id": "a", "doc_id": "d0", "relevance": 2}, {"query_id": "b", "doc_id": "d4", "relevance": 1}]


def as_csv(path, rows, delimiter=","):
    with Path(path).open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def beir(site, packed=False):
    folder = site.data / "beir"

    def put(name, text):
        site.write(f"beir/{name}.gz" if packed else f"beir/{name}", gzip.compress(text.encode(), mtime=0) if packed else text)

    put("corpus.jsonl", "".join(json.dumps({"_id": row["doc_id"], "title": row["title"], "text": row["text"]}) + "\n" for row in DOCS))
    put(
        "queries.jsonl",
        "".join(
            json.dumps({"_id": row["query_id"], "text": row["query"]}) + "\n" for row in [*QUERIES, {"query_id": "c", "query": "third"}]
        ),
    )
    put(
        "qrels/test.tsv",
        "query-id\tcorpus-id\tscore\n" + "".join(f"{row['query_id']}\t{row['doc_id']}\t{row['relevance']}\n" for row in QRELS),
    )
    return str(folder)


def three(site, ending, write):
    for name, rows in (("corpus", DOCS), ("queries", QUERIES), ("qrels", QRELS)):
        write(site.data / f"{name}.{ending}", rows)
    return {name: str(site.data / f"{name}.{ending}") for name in ("corpus", "queries", "qrels")}


def in_format(site, kind):
    if kind.startswith("beir"):
        return {"format": "beir", "path": beir(site, kind.endswith("gz"))}
    if kind == "jsonl":
        return {
            "format": "jsonl",
            **three(site, "jsonl", lambda path, rows: path.write_text("".join(json.dumps(row) + "\n" for row in rows))),
        }
    if kind == "parquet":
        return {"format": "parquet", **three(site, "parquet", lambda path, rows: pq.write_table(pa.Table.from_pylist(rows), path))}
    if kind == "csv":
        return {"format": "csv", "delimiter": ";", **three(site, "csv", lambda path, rows: as_csv(path, rows, ";"))}
    from datasets import Dataset

    for name, rows in (("corpus", DOCS), ("queries", QUERIES), ("qrels", QRELS)):
        Dataset.from_list(rows).save_to_disk(str(site.data / "hf" / name))
    return {"format": "huggingface", "path": str(site.data / "hf")}


@pytest.mark.parametrize("kind", ["beir", "beir.gz", "parquet", "csv", "huggingface"])
def test_every_format_gives_the_same_documents_and_judgements(site, make_site, kind):
    plain = make_site()
    wanted = plain.ingest(**in_format(plain, "jsonl"))
    dataset = site.ingest(**in_format(site, kind))
    assert [part.checksum for part in dataset.documents] == [part.checksum for part in wanted.documents]
    for name in ("queries.parquet", "qrels.parquet"):
        assert [part.file(name).checksum for part in dataset.queries] == [part.file(name).checksum for part in wanted.queries]
    assert dataset.rejected == 0
    assert dataset.counts["outside_split"] == (1 if kind.startswith("beir") else 0)


def test_columns_can_be_named(site):
    corpus = site.jsonl("c.jsonl", [{"nr": 1, "words": "x", "in": "book", "tongue": "de"}])
    queries = site.jsonl("q.jsonl", [{"qnr": 9, "ask": "y", "also": ["p"], "fam": "f", "part": "train", "spoken": "fr"}])
    qrels = site.jsonl("r.jsonl", [{"qnr": 9, "nr": 1, "stars": 4}])
    columns = {"doc_id": "nr", "text": "words", "group_id": "in", "query_id": "qnr", "query": "ask", "relevance": "stars"}
    more = {"answers": "also", "query_group": "fam", "query_split": "part", "language": "tongue", "query_language": "spoken"}
    dataset = site.ingest(corpus=corpus, queries=queries, qrels=qrels, columns={**columns, **more}, max_rejected=0)
    query, doc, judged = (table.to_pylist()[0] for table in (site.queries(dataset), site.docs(dataset), site.qrels(dataset)))
    assert (query["query_id"], query["text"], query["answers"], query["group"], query["split"]) == ("9", "y", ["p"], "f", "train")
    assert (doc["doc_id"], doc["text"], doc["group_id"], judged["relevance"]) == ("1", "x", "book", 4)
    assert (doc["language"], query["language"]) == ("de", "fr")


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "csv"])
def test_languages_are_kept_as_given_and_null_where_there_is_none(site, ending):
    docs = [{"doc_id": "a", "text": "x", "language": "en"}, {"doc_id": "b", "text": "y", "language": ""}]
    queries = [{"query_id": "p", "query": "x", "lang": "EN-us"}, {"query_id": "q", "query": "y", "lang": None}]
    qrels = [{"query_id": "p", "doc_id": "a"}, {"query_id": "q", "doc_id": "b"}]
    paths = {}
    for name, rows in (("corpus", docs), ("queries", queries), ("qrels", qrels)):
        paths[name] = str(site.data / f"{name}.{ending}")
        if ending == "jsonl":
            site.jsonl(f"{name}.jsonl", rows)
        elif ending == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), paths[name])
        else:
            as_csv(paths[name], rows)
    dataset = site.ingest(format=ending, **paths)
    assert {row["doc_id"]: row["language"] for row in site.docs(dataset).to_pylist()} == {"a": "en", "b": None}
    assert {row["query_id"]: row["language"] for row in site.queries(dataset).to_pylist()} == {"p": "EN-us", "q": None}


def test_languages_of_pairs_and_of_the_texts_beside_them(site):
    pairs = site.jsonl("p.jsonl", [{"anchor": "q1", "positive": "p1", "language": "de"},
                                   {"anchor": "q2", "positive": "p2", "lang": "en", "query_language": "de"}])  # fmt: skip
    extra = site.jsonl("extra.jsonl", [{"text": "p3", "language": "it"}, {"text": "p4"}])
    dataset = site.ingest(format="pairs", pairs=pairs, corpus=extra)
    assert {row["text"]: row["language"] for row in site.docs(dataset).to_pylist()} == {"p1": "de", "p2": "en", "p3": "it", "p4": None}
    assert {row["text"]: row["language"] for row in site.queries(dataset).to_pylist()} == {"q1": "de", "q2": "de"}


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "csv", "tsv"])
def test_pairs_of_every_kind(site, ending):
    rows = [
        {"anchor": "q1", "positive": "p1"},
        {"anchor": "q1", "positive": "p2"},
        {"anchor": "q2", "positive": "p1"},
        {"anchor": "q1", "positive": "p1"},
    ]
    path = site.data / f"pairs.{ending}"
    if ending == "jsonl":
        site.jsonl("pairs.jsonl", rows)
    elif ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        as_csv(path, rows, "\t" if ending == "tsv" else ",")
    extra = site.jsonl("extra.jsonl", [{"text": "p2"}, {"text": "p3"}])
    dataset = site.ingest(format="pairs", pairs=str(path), corpus=extra, max_rejected=0)
    p, q = ({text: input_hash("", text) for text in names} for names in (("p1", "p2", "p3"), ("q1", "q2")))
    assert {row["doc_id"]: row["text"] for row in site.docs(dataset).to_pylist()} == {one: text for text, one in p.items()}
    found = {(row["query_id"], row["doc_id"]) for row in site.qrels(dataset).to_pylist()}
    assert found == {(q["q1"], p["p1"]), (q["q1"], p["p2"]), (q["q2"], p["p1"])}
    assert (dataset.counts["merged"], dataset.counts["qrels"], dataset.max_positives) == (5, 3, 2)


def test_saved_dataset_dict_with_splits(site):
    from datasets import Dataset, DatasetDict

    path = str(site.data / "hf")
    train, test = (Dataset.from_dict({"query": [f"{name} q"], "answer": [f"{name} a"]}) for name in ("train", "test"))
    DatasetDict(train=train, test=test).save_to_disk(path)
    dataset = site.ingest(format="huggingface", path=path, split="test", max_rejected=0)
    assert site.docs(dataset)["text"].to_pylist() == ["test a"]
    assert site.queries(dataset)["split"].to_pylist() == ["test"]
    for split, said in (("", "has train, test"), ("dev", "has train, test, not dev")):
        with pytest.raises(UsageError, match=said):
            site.ingest(format="huggingface", path=path, split=split)


def test_shuffled_dataset_keeps_its_chosen_rows(site):
    from datasets import Dataset

    path = str(site.data / "hf")
    Dataset.from_dict({"anchor": ["q0", "q1", "q2"], "positive": ["p0", "p1", "p2"]}).select([2, 0]).save_to_disk(path, num_shards=2)
    dataset = site.ingest(format="huggingface", path=path)
    assert sorted(site.docs(dataset)["text"].to_pylist()) == ["p0", "p2"]


def test_globs_are_in_alphabetical_order(site):
    for name in ("b", "a"):
        site.jsonl(f"docs/{name}.jsonl", [{"doc_id": "same", "text": name}])
    queries = site.jsonl("q.jsonl", [{"query_id": "q", "query": "x", "positive_ids": ["same"]}])
    dataset = site.ingest(corpus=str(site.data / "docs" / "*.jsonl"), queries=queries)
    assert site.docs(dataset)["text"].to_pylist() == ["a"]
    assert [(row["file"], row["line"]) for row in site.rejected(dataset)] == [("docs/b.jsonl", 1)]


def refusals(site):
    good = {"corpus": site.jsonl("c.jsonl", DOCS), "queries": site.jsonl("q.jsonl", QUERIES)}
    as_csv(site.data / "c.csv", [{"number": 1, "content": "x"}])
    pq.write_table(pa.table({"x": [1]}), site.data / "x.parquet")
    utf16 = site.write("u.jsonl", "{}".encode("utf-16"))
    return [
        ({**good, "corpus": str(site.data / "no.jsonl")}, "dataset.corpus: no file .*no.jsonl"),
        ({**good, "corpus": str(site.data)}, "dataset.corpus: .* is a folder"),
        ({**good, "corpus": [good["corpus"], str(site.data / "c.*l")]}, "c.jsonl is named twice"),
        ({**good, "corpus": str(site.data / "c.csv")}, "c.csv is no jsonl file"),
        ({**good, "corpus": site.write("z.jsonl.gz", b"{}")}, "z.jsonl.gz: not a gzip file"),
        ({**good, "corpus": site.write("y.jsonl", gzip.compress(b"{}"))}, "y.jsonl: a gzip file"),
        ({**good, "corpus": utf16}, "u.jsonl: the text is UTF-16"),
        (
            {"format": "parquet", "corpus": site.write("w.parquet", b"nothing"), "queries": str(site.data / "x.parquet")},
            "w.parquet: not a Parquet file",
        ),
        (
            {"format": "parquet", "corpus": site.write("v.parquet", b"PAR1 cut"), "queries": str(site.data / "x.parquet")},
            "v.parquet: damaged file",
        ),
        (
            {"format": "csv", "corpus": str(site.data / "c.csv"), "queries": str(site.data / "c.csv")},
            "no column doc_id or _id or id or docid; it has number, content",
        ),
        ({"format": "pairs", "pairs": site.write("p.txt", "x")}, "p.txt: cannot tell what kind of file this is"),
        ({"format": "beir", "path": str(site.data / "nowhere")}, "dataset.path: .*nowhere is missing"),
        ({"format": "beir", "path": str(site.data)}, "corpus.jsonl .* is missing"),
        ({"format": "huggingface", "path": str(site.data)}, "holds no dataset that was saved with save_to_disk"),
    ]


@pytest.mark.parametrize("number", range(14))
def test_what_cannot_be_read_is_refused_first(site, number):
    values, said = refusals(site)[number]
    with pytest.raises(InputError, match=said) as caught:
        site.ingest(**values)
    assert caught.value.mend
    assert site.progress.cached == {}


def test_beir_split_is_named_or_the_only_one(site):
    path = beir(site)
    site.write("beir/qrels/dev.tsv", "a\td0\t1\n")
    with pytest.raises(UsageError, match="qrels has dev, test"):
        site.ingest(format="beir", path=path)
    with pytest.raises(UsageError) as caught:
        site.ingest(format="beir", path=path, split="train")
    assert caught.value.mend == "there are: dev, test; set split to one of them"
    dataset = site.ingest(format="beir", path=path, split="dev")
    assert (dataset.query_count, dataset.counts["outside_split"], site.queries(dataset)["split"].to_pylist()) == (1, 2, ["dev"])


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "split", "counts"),
    [
        ("cranfield", "test", (1398, 225, 1836, 3)),
        ("banking77", "labelled", (10003, 3080, 3080, 0)),
        ("xquad-en", "test", (240, 1190, 1190, 0)),
    ],
)
def test_real_collections(site, name, split, counts):
    folder = Path(os.environ.get("HARDMINE_DATA", "")) / name
    if not os.environ.get("HARDMINE_DATA") or not folder.is_dir():
        pytest.skip("set HARDMINE_DATA to the folder of collections")
    dataset = site.ingest(format="beir", path=str(folder), split=split, max_rejected=0.01)
    assert (dataset.document_count, dataset.query_count, dataset.counts["qrels"], dataset.rejected) == counts
