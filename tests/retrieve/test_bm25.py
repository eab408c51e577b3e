import bm25s
import numpy as np
import pytest

from tasks.retrieve import bm25
from tasks.retrieve.bm25_index import Postings, plural_stem, postings, tokenise
from tasks.retrieve.settings import Bm25Settings
from tasks.store.tables import read_array, read_table
from tests.retrieve.build import checksums, context, dataset, run

WORDS = ["wing", "flow", "shock", "layer", "heat", "drag", "lift", "nose", "cone", "plate", "jet", "mach", "skin", "boundary", "pressure"]


def corpus(count=120, queries=15):
    generator = np.random.default_rng(3)
    docs = [
        (f"doc{number:03d}", "on the " + WORDS[number % 15], " ".join(generator.choice(WORDS, generator.integers(0, 25))))
        for number in range(count)
    ]
    asked = [(f"q{number}", " ".join(generator.choice(WORDS, 4)) + " unknownword the") for number in range(queries)]
    return [*docs, ("empty", "", "")], [*asked, ("qnone", "nothing known"), ("qstop", "the of and")]


def retrieved(setting, data, settings):
    statistics = run(setting, bm25.STATISTICS_STAGE, bm25.statistics_jobs(settings, data.documents))
    done = run(setting, bm25.STAGE, bm25.jobs(settings, data.documents, statistics, data.queries))
    found = {}
    for part, docs in zip(done, data.documents, strict=True):
        names = read_table(setting.storage, docs.file("docs.parquet"))["doc_id"].to_pylist()
        for asked in data.queries:
            queries = read_table(setting.storage, asked.file("queries.parquet"))["query_id"].to_pylist()
            for row in read_table(setting.storage, part.file(f"{asked.index}.parquet")).to_pylist():
                found.setdefault(queries[row["query_row"]], []).append((names[row["doc_row"]], row["score"]))
    return found, done


@pytest.mark.parametrize("method", ["lucene", "robertson", "atire", "bm25l", "bm25+"])
def test_scores_equal_one_index_over_the_whole_corpus(tmp_path, method):
    docs, queries = corpus()
    setting = context(tmp_path)
    data = dataset(setting.storage, docs, queries, doc_parts=4, query_parts=2)
    found, done = retrieved(setting, data, Bm25Settings(top_k=500, method=method))
    whole = bm25s.BM25(method=method)
    whole.index(bm25s.tokenize([f"{title} {text}" for _, title, text in docs], show_progress=False), show_progress=False)
    for name, text in queries:
        tokens = bm25s.tokenize(text, return_ids=False, show_progress=False)[0]
        scores = dict(zip([doc[0] for doc in docs], whole.get_scores(tokens).tolist() if tokens else [0.0] * len(docs), strict=True))
        mine = dict(found.get(name, []))
        sharing = {doc for doc, title, body in docs if set(tokens) & set(f"{title} {body}".split())}
        if method not in ("robertson", "atire"):  # these give a term of most documents no weight
            assert set(mine) == sharing
        assert all(abs(scores[doc] - score) < 1e-5 for doc, score in mine.items())
        base = whole.get_scores(tokens).min() if tokens and method in ("bm25l", "bm25+") else 0
        assert all(scores[doc] <= base + 1e-5 for doc in scores if doc not in mine)
    assert setting.progress.units == setting.progress.total
    assert done[0].meta["documents"] == 121


def test_top_k_takes_ties_by_row(tmp_path):
    setting = context(tmp_path)
    data = dataset(setting.storage, [(name, "", "same words here") for name in "edcba"] + [("z", "", "other thing")], [("q", "same")])
    found, _ = retrieved(setting, data, Bm25Settings(top_k=3))
    assert [doc for doc, _ in found["q"]] == ["a", "b", "c"]
    # lucene: ln(1 + (6 - 5 + .5) / (5 + .5)) * tf / (k1 * (1 - b + b * length / mean) + tf); "same" and "here" are no stop words
    length, mean = 3, 17 / 6
    assert found["q"][0][1] == pytest.approx(np.log(1 + 1.5 / 5.5) / (1.5 * (0.25 + 0.75 * length / mean) + 1), abs=1e-6)


def test_statistics_are_sorted_and_counted(tmp_path):
    setting = context(tmp_path)
    data = dataset(setting.storage, [("a", "Wing", "wing flow"), ("b", "", "flow the flow"), ("c", "", "")], [("q", "wing")])
    (part,) = run(setting, bm25.STATISTICS_STAGE, bm25.statistics_jobs(Bm25Settings(), data.documents))
    assert read_table(setting.storage, part.file("terms.parquet")).to_pydict() == {"term": ["flow", "wing"], "documents": [2, 1]}
    assert read_array(setting.storage, part.file("lengths.npy")).tolist() == [3, 2, 0]


def test_bytes_do_not_depend_on_the_number_of_threads(tmp_path):
    docs, queries = corpus()
    results = []
    for threads in (1, 3):
        setting = context(tmp_path / str(threads), threads)
        results.append(
            checksums(retrieved(setting, dataset(setting.storage, docs, queries, doc_parts=3, query_parts=2), Bm25Settings())[1])
        )
    assert results[0] == results[1]


def test_formula_settings_do_not_change_the_statistics_key(tmp_path):
    setting = context(tmp_path)
    data = dataset(setting.storage, [("a", "", "x y")], [("q", "x")])
    keys = [
        bm25.statistics_jobs(wanted, data.documents)[0].key(bm25.STATISTICS_STAGE)
        for wanted in (Bm25Settings(), Bm25Settings(k1=1.2, top_k=7))
    ]
    assert keys[0] == keys[1]
    assert bm25.statistics_jobs(Bm25Settings(stopwords="none"), data.documents)[0].key(bm25.STATISTICS_STAGE) != keys[0]


def test_tokenise_and_postings():
    tokens = tokenise(["The Wing and wing-tips", "", "tips a"], Bm25Settings())
    assert tokens.vocabulary == ["wing", "tips"]
    assert (tokens.terms.tolist(), tokens.starts.tolist()) == ([0, 0, 1, 1], [0, 3, 3, 4])
    assert postings(tokens, np.array([5, -1])) == Postings(*(pytest.approx(np.array([value])) for value in (0, 5, 2)))


def test_plural_stems_are_one_term():
    tokens = tokenise(["wings wing", "bodies body"], Bm25Settings(stemmer="plural"))
    assert sorted(tokens.vocabulary) == ["body", "wing"]
    assert plural_stem("series") == "sery"
