import shutil

import numpy as np
import pytest

from tasks.folds import Fold
from tasks.models.cross_encoder import CrossEncoder
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context, run_job, run_stage
from tasks.schema import PAIRS
from tasks.score.pair_store import segments
from tasks.score.stage import STAGE, jobs
from tasks.store.keys import input_hash
from tasks.store.tables import read_table


class Silent:
    def start(self, stage, unit, total, done):
        self.total = total

    def advance(self, stage, units):
        self.units = getattr(self, "units", 0) + units

    def finish(self, manifest, cached):
        self.cached = cached


@pytest.fixture
def score(storage, world, spec):
    documents, queries, _ = world

    def run(candidates, depth=3, size=9, teacher=spec, fold=None):
        progress = Silent()
        made = jobs(storage, candidates, queries, documents, teacher, depth, ["dense"], size, fold=fold)
        manifest = run_stage(Context(storage, lambda: InlineExecutor(1), progress), STAGE, made)
        return manifest, progress

    return run


def pairs_of(storage, manifest):
    rows = [row for part in manifest.parts for row in read_table(storage, part.file("pairs.parquet")).to_pylist()]
    return {(row["query_hash"], row["doc_hash"]): row["logit"] for row in rows}


def test_logits_are_the_teachers(storage, world, spec, make_candidates, score):
    manifest, progress = score(make_candidates())
    assert [part.index for part in manifest.parts] == ["q0000.b000", "q0000.b001"]
    found = pairs_of(storage, manifest)
    asked, expected = [], {}
    for query, text in enumerate(world[2]):
        for at in (0, 1, 2, 4):
            document = f"document {at % 2} about topic {(query + at) % 5}"
            asked.append((text, document))
            expected[input_hash("", text), input_hash("", document)] = None
    logits = CrossEncoder(spec).score(asked).logits
    for (text, document), logit in zip(asked, logits.tolist(), strict=True):
        assert found[input_hash("", text), input_hash("", document)] == np.float32(logit)
    assert set(found) == set(expected)
    assert progress.units == progress.total == 24
    for part in manifest.parts:
        table = read_table(storage, part.file("pairs.parquet"))
        assert table.schema.equals(PAIRS)
        keys = list(zip(table["query_hash"].to_pylist(), table["doc_hash"].to_pylist(), strict=True))
        assert keys == sorted(set(keys))


def test_folds_cut_the_queries_by_group(storage, make_candidates, score):
    whole, _ = score(make_candidates(), size=99)
    folds = [score(make_candidates(), size=99, fold=Fold(number, 2))[0] for number in range(2)]
    assert [part.index for manifest in folds for part in manifest.parts] == ["q0000.f0.b000", "q0000.f1.b000"]
    found = [pairs_of(storage, manifest) for manifest in folds]
    assert not set(found[0]) & set(found[1])  # queries 0 and 5 have one text and one group
    assert found[0] | found[1] == pairs_of(storage, whole)
    assert found[0] and found[1]


def test_a_pair_is_scored_once(storage, make_candidates, score):
    first, _ = score(make_candidates(range(5)), size=99)
    assert first.counters["model_calls"] == 20
    again, progress = score(make_candidates(range(5)), size=99)
    assert progress.cached
    assert again == first
    more, _ = score(make_candidates(), size=99)
    assert (more.counters["model_calls"], more.counters["cache_hits"]) == (0, 20)
    assert pairs_of(storage, more) == pairs_of(storage, first)
    deeper, _ = score(make_candidates(), depth=4, size=99)
    assert (deeper.counters["model_calls"], deeper.counters["cache_hits"]) == (5, 20)
    assert len(segments(storage, first.settings["teacher"])) == 2


def test_the_store_changes_no_byte(storage, world, spec, make_candidates, score, tmp_path):
    score(make_candidates(range(2)))
    mixed, _ = score(make_candidates())
    assert mixed.counters["cache_hits"] > 0
    checksums = [file.checksum for part in mixed.parts for file in part.files]
    other = spec.model_copy(update={"path": spec.path})
    for marker in storage.list_names("manifests/"):
        (tmp_path / "root" / marker).unlink()
    fresh, _ = score(make_candidates(), teacher=other)
    assert fresh.counters["cache_hits"] == 0
    assert [file.checksum for part in fresh.parts for file in part.files] == checksums


def test_in_pieces_it_gives_the_same_bytes(storage, world, spec, make_candidates, score, tmp_path, monkeypatch):
    whole, _ = score(make_candidates(), size=24)
    shutil.rmtree(tmp_path / "root/manifests/score")
    shutil.rmtree(tmp_path / "root/manifests/pairs")
    monkeypatch.setattr("tasks.score.run._LEAST", 5)
    (job,) = jobs(storage, make_candidates(), world[1], world[0], spec, 3, ["dense"], 24)
    told = []
    part = run_job(storage.root, STAGE, job.smaller(STAGE), told.append)
    assert part.meta["pieces"] == 4
    assert [file.checksum for file in part.files] == [file.checksum for file in whole.parts[0].files]
    assert sum(told) == job.units


def test_killed_between_marker_and_commit(storage, make_candidates, score, tmp_path):
    first, _ = score(make_candidates(), size=99)
    for name in storage.list_names("manifests/score/"):
        (tmp_path / "root" / name).unlink()
    again, _ = score(make_candidates(), size=99)
    assert (again.counters["model_calls"], again.counters["cache_hits"]) == (0, 20)
    assert [part.files for part in again.parts] == [part.files for part in first.parts]


def test_killed_between_segment_and_marker(storage, make_candidates, score, tmp_path):
    first, _ = score(make_candidates(), size=99)
    for name in storage.list_names("manifests/"):
        (tmp_path / "root" / name).unlink()
    again, _ = score(make_candidates(), size=99)
    assert again.counters["model_calls"] == 20
    assert [part.files for part in again.parts] == [part.files for part in first.parts]
    assert len(segments(storage, first.settings["teacher"])) == 1


def test_another_prompt_is_another_teacher(make_candidates, score, spec):
    score(make_candidates(), size=99)
    other, _ = score(make_candidates(), size=99, teacher=spec.model_copy(update={"prompt": "find: "}))
    assert other.counters["cache_hits"] == 0
