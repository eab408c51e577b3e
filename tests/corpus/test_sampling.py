import gzip
import json

import pytest

from tasks.corpus import sampling
from tasks.corpus.sampling import Thinned, sample
from tasks.corpus.settings import DatasetSettings
from tasks.corpus.sources import find_sources
from tasks.store.keys import digest


def look(**settings):
    wanted = DatasetSettings(name="d", **{"format": "jsonl", **settings})
    return sample(find_sources(wanted), wanted)


def test_thinned_keeps_an_even_spread():
    kept = Thinned(wanted=3)
    for number in range(10):
        kept.add(number)
    # six are held at most: 0…5 thinned to 0 2 4, then every second, thinned again at 0 2 4 6 8 10
    assert (kept.kept, kept.seen) == ([0, 2, 4, 6, 8], 10)


def test_small_files_are_counted(small):
    found = look(**small)
    # three documents, two queries; of three judgements one has grade 0
    assert (found.documents, found.queries, found.positives, found.estimated) == (3, 2, 2, False)
    assert [one.text for one in found.texts] == ["text 0", "text 1", "text 2"]
    assert [one.text for one in found.asked] == ["first", "second"]
    assert found.seconds > 0


def test_unusable_rows_are_skipped(site):
    corpus = site.write("c.jsonl", '{"doc_id": "a", "text": "x"}\nnot json\n{"doc_id": "b", "text": " "}\n')
    queries = site.jsonl("q.jsonl", [{"query_id": "a", "query": "first", "positive_ids": ["a", "b"]}])
    found = look(corpus=corpus, queries=queries)
    assert (found.documents, found.queries, found.positives) == (1, 1, 2)


@pytest.mark.parametrize("packed", [False, True])
def test_large_files_are_estimated(site, small, monkeypatch, packed):
    monkeypatch.setattr(sampling, "WHOLE", 10_000)
    monkeypatch.setattr(sampling, "_PLACES", 5)
    monkeypatch.setattr(sampling, "_EACH", 20)
    monkeypatch.setattr(sampling, "_FIRST", 2_048)
    lines = "".join(json.dumps({"doc_id": f"d{n:05d}", "text": digest(n) * 4}) + "\n" for n in range(5_000))
    corpus = site.write("big.jsonl.gz", gzip.compress(lines.encode())) if packed else site.write("big.jsonl", lines)
    found = look(**{**small, "corpus": corpus})
    assert found.estimated
    assert found.documents == pytest.approx(5_000, rel=0.2 if packed else 0.1)  # all lines are equally long; packed ones are read ahead
    assert found.queries == 2
    if not packed:
        assert [int(one.doc_id[1:]) // 1_000 for one in found.texts[::20]] == [0, 1, 2, 3, 4]  # from all over the file
