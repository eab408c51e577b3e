"""Multilingual pairs: the same paragraphs and questions in three languages, searched in the query's own, in others, in a list."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import UsageError
from tasks.retrieve import bm25, candidates, dense
from tasks.retrieve.settings import RetrieveSettings
from tasks.store.tables import read_table
from tests.retrieve.build import context, dataset, run

CODES = ("en", "de", "es")
PARAGRAPHS = 12


def found_by(root, languages, depth=5, **settings):
    """Rows of the candidates by (query's language, document's language)."""
    setting = context(root)
    generator = np.random.default_rng(4)
    meaning = [generator.standard_normal(6) for _ in range(PARAGRAPHS)]
    docs, queries, qrels, vectors, spoken = [], [], [], {}, {}
    for number in range(PARAGRAPHS):
        for code in CODES:
            doc, query = f"{code}-d{number}", f"{code}-q{number}"
            docs.append((doc, "", f"common words of paragraph {number} in {code}"))
            queries.append((query, f"common paragraph {number}"))
            qrels.append((query, doc, 1))
            spoken |= {doc: code, query: code}
            vectors[doc] = (meaning[number] + (0.5 if code == "en" else 0) + 0.05 * generator.standard_normal(6)).astype(np.float32)
            vectors[query] = (meaning[number] + 0.5).astype(np.float32)  # English lies nearest to all
    data = dataset(setting.storage, docs, queries, qrels, 2, 2, vectors, languages=spoken)
    given = RetrieveSettings.model_validate(
        {"dense": {"top_k": depth}, "bm25": {"top_k": depth, "stopwords": "none"}, "languages": languages, **settings}
    )
    read = (data.embed_documents, data.embed_queries, data.queries, None, (), given.languages, data.documents)
    statistics = run(setting, bm25.STATISTICS_STAGE, bm25.statistics_jobs(given.bm25, data.documents))
    found = {
        "dense": run(setting, dense.STAGE, dense.jobs(dense.settled(given.dense, data.embed_documents), *read)),
        "bm25": run(setting, bm25.STAGE, bm25.jobs(given.bm25, data.documents, statistics, data.queries, None, given.languages)),
    }
    jobs = candidates.jobs(given, data.documents, data.queries, data.embed_documents, data.embed_queries, found, 1, 0)
    parts = run(setting, candidates.STAGE, jobs)
    rows = pa.concat_tables([read_table(setting.storage, part.file("candidates.parquet")) for part in parts]).to_pylist()
    return rows, vectors


@pytest.mark.parametrize(
    ("languages", "fits"),
    [
        ("same", lambda query, document: query == document),
        ("cross", lambda query, document: query != document),
        (["en", "es"], lambda query, document: document in ("en", "es")),
        ("any", lambda query, document: True),
    ],
)
def test_every_source_keeps_to_the_languages_at_full_depth(tmp_path, languages, fits):
    rows, vectors = found_by(tmp_path, languages, random={"count": 6})
    for query in {row["query_id"] for row in rows}:
        mine = [row for row in rows if row["query_id"] == query]
        for source in ("dense", "bm25", "random"):
            spoken = [row["doc_id"][:2] for row in mine if row[f"{source}_rank"]]
            assert all(fits(query[:2], one) for one in spoken), f"{source} of {query}"
            if source != "random":
                assert len(spoken) == 5, "no depth is lost to other languages"
        names = [f"{code}-d{number}" for code in CODES for number in range(PARAGRAPHS) if fits(query[:2], code)]
        best = sorted(names, key=lambda name: (-float(vectors[name] @ vectors[query]), name))[:5]
        assert [row["doc_id"] for row in sorted((one for one in mine if one["dense_rank"]), key=lambda row: row["dense_rank"])] == best
        assert any(row["is_positive"] and row["doc_id"] == query.replace("q", "d") for row in mine), (
            "labels are there whatever their language"
        )


def test_an_ivf_index_is_not_searched_by_language(tmp_path):
    with pytest.raises(UsageError, match="an ivf index is searched as a whole"):
        found_by(tmp_path, "same", dense={"index": "ivf", "top_k": 5})
