"""Candidates and vectors that a team brings: each reader on real files, and what is refused."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tasks.errors import InputError
from tasks.retrieve import candidates, dense
from tasks.retrieve.candidates import Others
from tasks.retrieve.further_settings import ALL, FurtherSource
from tasks.retrieve.given import stage as given
from tasks.retrieve.given import vectors
from tasks.retrieve.given.vector_files import check_vectors
from tasks.retrieve.settings import RetrieveSettings
from tasks.store.tables import read_array, read_table
from tests.retrieve.build import commit, context, dataset, run

DOCS = [(f"d{number}", f"title {number}", f"Text of document {number}.") for number in range(9)]
QUERIES = [("q1", "first question"), ("q2", "second question"), ("q3", "third question")]


@pytest.fixture
def made(tmp_path):
    setting = context(tmp_path / "root")
    generator = np.random.default_rng(3)
    own = {name: generator.standard_normal(4).astype(np.float32) for name, *_ in [*DOCS, *QUERIES]}
    return setting, dataset(setting.storage, DOCS, QUERIES, [("q1", "d1", 1), ("q2", "d2", 1)], 3, 2, own), own


def source(kind, **settings):
    return FurtherSource.model_validate({"name": "splade", "kind": kind, **settings})


def rows_of(setting, data, part):
    """(query, document, rank, score) of a given source."""
    found = []
    for asked in data.queries:
        queries = read_table(setting.storage, asked.file("queries.parquet"))["query_id"].to_pylist()
        for row in read_table(setting.storage, part.file(f"{asked.index}.parquet")).to_pylist():
            docs = read_table(setting.storage, data.documents[row["doc_partition"]].file("docs.parquet"))["doc_id"].to_pylist()
            found.append((queries[row["query_row"]], docs[row["doc_row"]], row["rank"], row["score"]))
    return sorted(found)


def read(setting, data, settings, *paths, **more):
    (part,) = run(setting, given.STAGE, given.jobs(settings, list(paths), data.documents, data.queries, **more))
    return part


def test_a_trec_run_is_ranked_by_its_scores(made, tmp_path):
    setting, data, _ = made
    path = tmp_path / "run.trec.gz"
    with gzip.open(path, "wt") as file:
        file.write("q1 Q0 d3 1 2.5 splade\nq1\tQ0\td4\t2\t7.25\tsplade\n\nq2 Q0 d0 1 1.0 s\nq2 Q0 d8 2 1.0 s\nq2 Q0 d8 3 0.5 s\n")
    part = read(setting, data, source("run", files=str(path)), path)
    assert rows_of(setting, data, part) == [("q1", "d3", 2, 2.5), ("q1", "d4", 1, 7.25), ("q2", "d0", 1, 1.0), ("q2", "d8", 2, 1.0)]
    assert part.meta == {"rows": 4, "skipped": 0, "repeated": 1, "depth": 2}


def test_unknown_ids_are_named_with_file_and_line_or_skipped(made, tmp_path):
    setting, data, _ = made
    path = tmp_path / "other.run"
    path.write_text("q1 Q0 d3 1 2.5 s\nq9 Q0 d3 1 2.5 s\nq1 Q0 nowhere 2 1.5 s\n")
    with pytest.raises(InputError) as error:
        read(setting, data, source("run", files=str(path)), path)
    assert f"{path}:2: there is no query 'q9' in the dataset" in str(error.value)
    assert f"{path}:3: there is no document 'nowhere' in the dataset" in str(error.value)
    assert "unknown: skip" in error.value.mend
    part = read(setting, data, source("run", files=str(path), unknown="skip"), path)
    assert part.meta["skipped"] == 2
    assert rows_of(setting, data, part) == [("q1", "d3", 1, 2.5)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("q1 d3 2.5\n", "run.trec:1: 3 fields"),
        ("q1 Q0 d3 1 high s\n", "run.trec:1: the score is no finite number: 'high'"),
        ("q1 Q0 d3 1 nan s\n", "no finite number"),
        ("", "there is no row in it"),
    ],
)
def test_broken_runs_say_where(made, tmp_path, text, said):
    setting, data, _ = made
    path = tmp_path / "run.trec"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read(setting, data, source("run", files=str(path)), path)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_score_tables_of_each_kind(made, tmp_path, ending):
    setting, data, _ = made
    path = tmp_path / f"scores.{ending}"
    lines = [{"query-id": "q1", "corpus-id": "d5", "score": 0.5}, {"query-id": "q3", "corpus-id": "d6", "score": -1.5}]
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(lines), path)
    elif ending == "jsonl":
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        between = "," if ending == "csv" else "\t"
        path.write_text("\n".join(between.join(map(str, row)) for row in [list(lines[0]), *(line.values() for line in lines)]))
    part = read(setting, data, source("table", files=str(path)), path)
    assert rows_of(setting, data, part) == [("q1", "d5", 1, 0.5), ("q3", "d6", 1, -1.5)]


def test_a_table_of_ranks_alone_has_no_scores(made, tmp_path):
    setting, data, _ = made
    path = tmp_path / "ranks.csv"
    path.write_text("who,what,place\nq1,d5,2\nq1,d6,1\n")
    named = source("table", files=str(path), columns={"query_id": "who", "doc_id": "what", "rank": "place"})
    assert rows_of(setting, data, read(setting, data, named, path)) == [("q1", "d5", 2, None), ("q1", "d6", 1, None)]
    with pytest.raises(InputError, match=r"ranks\.csv:2: no query_id"):
        read(setting, data, source("table", files=str(path)), path)


def test_triplets_by_text_and_by_id(made, tmp_path):
    setting, data, _ = made
    texts = tmp_path / "triplets.jsonl"
    texts.write_text(
        json.dumps({"anchor": "First  question", "positive": "x", "negative_1": DOCS[7][2], "negative_2": DOCS[8][2]})
        + "\n"
        + json.dumps({"anchor": "second question", "positive": "x", "negative": [DOCS[1][2]]})
    )
    part = read(setting, data, source("triplets", files=str(texts)), texts)
    assert rows_of(setting, data, part) == [("q1", "d7", 1, None), ("q1", "d8", 2, None), ("q2", "d1", 1, None)]
    ids = tmp_path / "ids.parquet"
    pq.write_table(pa.table({"query_id": ["q3"], "negative_ids": [["d0", "d2"]]}), ids)
    assert rows_of(setting, data, read(setting, data, source("triplets", files=str(ids)), ids)) == [
        ("q3", "d0", 1, None),
        ("q3", "d2", 2, None),
    ]
    strange = tmp_path / "strange.jsonl"
    strange.write_text(json.dumps({"anchor": "first question", "negative": "a text of another corpus"}))
    with pytest.raises(InputError, match=r"strange\.jsonl:1: there is no document this text"):
        read(setting, data, source("triplets", files=str(strange)), strange)


def test_negatives_of_earlier_rounds_the_newest_first(made):
    setting, data, _ = made

    def of_round(number, pairs):
        lines = [{"query_id": query, "doc_id": doc, "slot": slot} for query, doc, slot, _ in pairs]
        scores = [{"query_id": query, "doc_id": doc, "dense_score": score} for query, doc, _, score in pairs]
        select = commit(setting.storage, "select", "q0000", {"rows.parquet": pa.Table.from_pylist(lines)})
        scored = commit(setting.storage, "scored", "q0000", {"scored.parquet": pa.Table.from_pylist(scores)})
        return given.Negatives(number, [select], [scored])

    newest = of_round(2, [("q1", "d1", 0, 0.9), ("q1", "d4", 1, 0.7), ("q1", "d5", 2, 0.6)])
    oldest = of_round(1, [("q1", "d5", 1, 0.4), ("q1", "d6", 2, 0.3), ("q1", "gone", 3, 0.2)])
    part = read(setting, data, source("rounds"), earlier=[newest, oldest])
    found = [(query, doc, rank, round(score, 4)) for query, doc, rank, score in rows_of(setting, data, part)]
    assert found == [("q1", "d4", 1, 0.7), ("q1", "d5", 2, 0.6), ("q1", "d6", 3, 0.3)]
    assert part.meta["skipped"] == 1


def saved(folder, own, names, dim=None, ending="npy"):
    """Vectors of documents or queries as files; the source's settings for that side."""
    matrix = np.stack([own[name][: dim or 4] * 3 for name in names])
    folder.mkdir(exist_ok=True)
    if ending == "parquet":
        path = folder / f"{names[0]}.parquet"
        pq.write_table(pa.table({"id": names, "vector": matrix.tolist()}), path)
        return {"": str(path)}
    np.save(folder / f"{names[0]}.npy", matrix)
    (folder / f"{names[0]}.txt").write_text("\n".join(names))
    return {"": str(folder / f"{names[0]}.npy"), "_ids": str(folder / f"{names[0]}.txt")}


def vector_source(folder, own, ending, query_dim=None, without=()):
    documents = saved(folder, own, [name for name, *_ in DOCS if name not in without], None, ending)
    queries = saved(folder, own, [name for name, _ in QUERIES], query_dim, ending)
    settings = {f"document{key}" if key else "documents": value for key, value in documents.items()}
    settings |= {f"query{key}" if key else "queries": value for key, value in queries.items()}
    return source("vectors", top_k=4, **settings)


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_precomputed_vectors_are_searched_and_score_every_candidate(made, tmp_path, ending):
    setting, data, own = made
    named = vector_source(tmp_path / "v", own, ending)
    files = check_vectors(named)
    documents = run(setting, vectors.DOCUMENTS, vectors.jobs(named, files[0], "documents", data.documents))
    queries = run(setting, vectors.QUERIES, vectors.jobs(named, files[1], "queries", data.queries))
    assert np.allclose(np.linalg.norm(read_array(setting.storage, documents[0].file("vectors.npy")), axis=1), 1, atol=1e-6)
    settings = RetrieveSettings(bm25=None, further=(named,))
    settings = settings.model_copy(update={"dense": settings.dense.model_copy(update={"top_k": 2})})
    first = run(setting, dense.STAGE, dense.jobs(settings.dense, data.embed_documents, data.embed_queries))
    searched = run(setting, dense.STAGE, dense.jobs(settings.dense.model_copy(update={"top_k": 4}), documents, queries))
    others = Others({"splade": searched}, {"splade": (documents, queries)})
    jobs = candidates.jobs(
        settings, data.documents, data.queries, data.embed_documents, data.embed_queries, {"dense": first}, 1, 0, others=others
    )
    table = pa.concat_tables(
        [read_table(setting.storage, part.file("candidates.parquet")) for part in run(setting, candidates.STAGE, jobs)]
    )
    assert table.column_names[-4:] == ["dense_rank", "dense_score", "splade_rank", "splade_score"]
    assert table["splade_score"].null_count == 0
    for row in table.to_pylist():
        left, right = own[row["query_id"]], own[row["doc_id"]]
        assert row["splade_score"] == pytest.approx(left @ right / np.linalg.norm(left) / np.linalg.norm(right), abs=1e-5)
        assert row["dense_score"] == pytest.approx(left @ right, abs=1e-5)
    for query, _ in QUERIES:
        mine = [row for row in table.to_pylist() if row["query_id"] == query and row["splade_rank"]]
        assert [row["splade_rank"] for row in sorted(mine, key=lambda row: -row["splade_score"])] == [1, 2, 3, 4]


def test_vectors_that_do_not_fit_are_refused_before_anything_runs(made, tmp_path):
    setting, data, own = made
    with pytest.raises(InputError, match=r"d0.npy has vectors of 4 dimensions, .*q1.npy of 3"):
        check_vectors(vector_source(tmp_path / "v", own, "npy", query_dim=3))
    short = vector_source(tmp_path / "w", own, "npy")
    (tmp_path / "w" / "d0.txt").write_text("d0\nd1")
    with pytest.raises(InputError, match="2 ids for 9 vectors"):
        check_vectors(short)[0].ids()
    lacking = vector_source(tmp_path / "x", own, "parquet", without=("d4",))
    with pytest.raises(InputError, match=r"1 documents of the dataset have no vector in .*, the first 'd4'"):
        run(setting, vectors.DOCUMENTS, vectors.jobs(lacking, check_vectors(lacking)[0], "documents", data.documents))
    ragged = tmp_path / "ragged.parquet"
    pq.write_table(pa.table({"id": [name for name, *_ in DOCS], "vector": [[1.0] * 4] * 8 + [[1.0]]}), ragged)
    broken = source("vectors", documents=str(ragged), queries=str(tmp_path / "x" / "q1.parquet"))
    with pytest.raises(InputError, match="row 9 has a vector of another dimension than 4"):
        run(setting, vectors.DOCUMENTS, vectors.jobs(broken, check_vectors(broken)[0], "documents", data.documents))
    np.save(tmp_path / "whole.npy", np.ones((2, 3), dtype=np.int64))
    with pytest.raises(InputError, match="not float vectors"):
        check_vectors(source("vectors", documents=str(tmp_path / "whole.npy"), document_ids=str(ragged), queries="x"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "dense", "kind": "run", "files": "x"}, "names columns of Hardmine's own"),
        ({"name": "positive_x", "kind": "run", "files": "x"}, "names columns of Hardmine's own"),
        ({"name": "a", "kind": "run"}, "files: kind run needs it"),
        ({"name": "a", "kind": "run", "files": "x", "similarity": "dot"}, "similarity: kind run does not use it"),
        ({"name": "a", "kind": "encoder"}, "model: kind encoder needs it"),
    ],
)
def test_settings_that_do_not_fit_the_kind(settings, said):
    with pytest.raises(ValidationError, match=said):
        FurtherSource.model_validate(settings)


def test_depths_and_names():
    settings = RetrieveSettings.model_validate(
        {"further": [{"name": "splade", "kind": "run", "files": "x"}, {"name": "e5", "kind": "encoder", "model": {}}]}
    )
    assert settings.sources == ["dense", "bm25", "splade", "e5"]
    assert settings.depths == {"dense": 100, "bm25": 50, "splade": ALL, "e5": 100}
    assert settings.deepened({"e5": 300, "splade": 200, "random": 4}).depths == {
        "dense": 100,
        "bm25": 50,
        "random": 4,
        "splade": ALL,
        "e5": 300,
    }
    with pytest.raises(ValidationError, match="two sources are named 'splade'"):
        RetrieveSettings.model_validate({"further": [{"name": "splade", "kind": "run", "files": "x"}] * 2})
