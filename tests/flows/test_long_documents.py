"""A round over long documents and several teachers: siblings are negatives only where a recipe takes them; mean and disagreement."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from flows.cut import cut_notes
from flows.labels import further_labels
from flows.mine import mine_round
from flows.review import import_labels
from flows.review_sample import export_sample
from flows.round import prepare_dataset
from flows.settings import MineSettings
from flows.stored import find_round, stored_settings, stored_stage, stored_table
from tasks.review.settings import ExportSettings
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.storage import open_storage
from tasks.store.tables import read_parts
from tasks.truth.settings import SamplingSettings
from tests.e2e.conftest import ASPECTS, SUBJECTS, cross_encoder
from tests.runner.test_runner import Recorder

assert cross_encoder  # a fixture that is used below
MODEL = {"path": "packaged", "max_length": 16, "dtype": "float32", "device": "cpu"}


@pytest.fixture(scope="module")
def mined(tmp_path_factory, cross_encoder):
    folder = tmp_path_factory.mktemp("long")
    with (folder / "docs.jsonl").open("w") as docs, (folder / "queries.jsonl").open("w") as queries:
        for number, subject in enumerate(SUBJECTS):
            text = " ".join(f"Of the {aspect} of the {subject} it was found in case {number} that it holds." for aspect in ASPECTS)
            docs.write(json.dumps({"doc_id": f"d{number}", "text": text}) + "\n")
            aspect = ASPECTS[number % len(ASPECTS)]
            row = {
                "query_id": f"q{number}",
                "query": f"{aspect} of a {subject}",
                "answers": [f"{aspect} of the {subject}"],
                "positive_ids": [f"d{number}"],
            }
            queries.write(json.dumps(row) + "\n")
    lines = [f"q{number} Q0 d{number}#{chunk:04d} {1 + chunk} {9 - chunk} run\n" for number in range(len(SUBJECTS)) for chunk in (0, 1)]
    (folder / "splade.trec").write_text("".join(lines))
    further = [{"name": "splade", "kind": "run", "files": [str(folder / "splade.trec")]}]
    teacher = {"path": str(cross_encoder), "dtype": "float32", "device": "cpu"}
    settings = MineSettings.model_validate(
        {
            "root": str(folder / "root"),
            "dataset": {
                "name": "long",
                "format": "jsonl",
                "corpus": str(folder / "docs.jsonl"),
                "queries": str(folder / "queries.jsonl"),
                "chunk": {"tokens": 16, "tokenizer": "words", "labels": "answer"},
                "cut_answers": "keep",
                "document_partitions": 2,
                "query_partitions": 1,
            },
            "model": MODEL,
            "retrieve": {"dense": {"top_k": 20}, "bm25": None, "further": further},
            "teacher": {**teacher, "depth": 20, "max_length": 48, "ensemble": [{**teacher, "max_length": 12}]},
            "recipe": {"name": "top", "depth": 20, "duplicates": False},
            "recipes": [{"name": "improved-contrast", "depth": 20, "bm25": 0, "own": 0, "duplicates": False}],
            "num_negatives": 3,
            "planted": 0,
        }
    )
    context = Context(open_storage(settings.root), lambda: InlineExecutor(1), Recorder())
    return context, mine_round(settings, context)


def decisions(context, result, place):
    record = find_round(context.storage, result.round)
    parts = stored_stage(context.storage, record.selections[place].select).parts
    return read_parts(context.storage, parts, "decisions.parquet").to_pylist()


def test_siblings_are_negatives_only_of_the_recipe_that_takes_them(mined):
    context, result = mined
    assert [one.recipe for one in result.selections] == ["top", "improved-contrast"]
    of_top, of_contrast = decisions(context, result, 0), decisions(context, result, 1)

    def siblings(rows):
        return {
            (row["query_id"], row["doc_id"])
            for row in rows
            if row["decision"] == "negative" and row["doc_id"].startswith("d" + row["query_id"][1:] + "#")
        }

    assert any("sibling_chunk" in (row["reasons"] or []) for row in of_top)
    assert any(row["decision"] == "negative" for row in of_top)
    assert not siblings(of_top)
    assert siblings(of_contrast)
    assert "sibling_chunk" in result.selections[0].reasons
    assert any("embed-documents: " in note and "were cut at its max_length" in note for note in result.notes)


def test_a_run_names_chunks_wherever_their_documents_lie(mined):
    context, result = mined
    table = stored_table(context.storage, find_round(context.storage, result.round))
    rows = read_parts(context.storage, table.scored, "scored.parquet").to_pylist()
    named = {(row["query_id"], row["doc_id"]) for row in rows if row["splade_rank"] is not None}
    assert named == {(f"q{number}", f"d{number}#{chunk:04d}") for number in range(len(SUBJECTS)) for chunk in (0, 1)}


def test_an_ensemble_gives_the_mean_and_how_far_its_teachers_disagree(mined):
    context, result = mined
    table = stored_table(context.storage, find_round(context.storage, result.round))
    rows = read_parts(context.storage, table.scored, "scored.parquet")
    assert rows.column_names[-1] == "teacher_disagreement"
    record = find_round(context.storage, result.round)
    parts = [stored_stage(context.storage, stage).parts for stage in record.stages if stage.stage == "score"]
    assert len(parts) == 2, "each teacher scored"
    own = []
    for member in parts:
        pairs = read_parts(context.storage, member, "pairs.parquet").to_pylist()
        own.append({(row["query_hash"], row["doc_hash"]): row["logit"] for row in pairs})
    logits = rows.filter(rows["teacher_logit"].is_valid()).to_pylist()
    assert logits
    for row in logits:
        both = [member[row["query_hash"], row["doc_hash"]] for member in own]
        assert row["teacher_logit"] == pytest.approx(np.mean(both), abs=1e-5)
        assert row["teacher_disagreement"] == pytest.approx(np.std(both), abs=1e-5)
    assert max(row["teacher_disagreement"] for row in logits) > 0


def test_a_review_of_chunks_is_kept_by_the_next_version_however_it_is_cut(mined):
    """Exported, labelled and imported as users do; the next ingest cuts at other places."""
    context, result = mined
    record = find_round(context.storage, result.round)
    folder = Path(context.storage.root).parent / "review"
    folder.mkdir()
    exported = folder / "sample.csv"
    export_sample(context, record, ["top"], exported, SamplingSettings(budget=12), ExportSettings(), 0)
    rows = list(csv.DictReader(exported.open(newline="")))
    for number, row in enumerate(rows):
        row["label"] = "relevant" if number % 2 else "not"
    with exported.open("w", newline="") as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    import_labels(context, [exported])
    settings = stored_settings(record).dataset
    labels = [source for source in further_labels(context.storage, settings) if source.role == "chunk-labels"]
    assert [source.provenance for source in labels] == ["reviewed"]
    docs = read_parts(context.storage, stored_table(context.storage, record).documents, "docs.parquet").to_pylist()
    texts = {row["doc_id"]: row["text"] for row in docs}
    wanted = {(row["query_id"], texts[row["doc_id"]]): int(row["label"] == "relevant") for row in rows}
    run = stored_settings(record).model_copy(update={"root": context.storage.root})
    counts = []
    for chunk in ({}, {"stride": 8}, {"tokens": 20}):
        changed = settings.model_copy(update={"chunk": settings.chunk.model_copy(update=chunk)})
        dataset = prepare_dataset(context, run.model_copy(update={"dataset": changed}))
        known = {row["doc_id"]: row["text"] for row in read_parts(context.storage, dataset.documents, "docs.parquet").to_pylist()}
        found = {
            (row["query_id"], known[row["doc_id"]]): row["relevance"]
            for row in read_parts(context.storage, dataset.queries, "qrels.parquet").to_pylist()
            if row["provenance"] == "reviewed"
        }
        assert found.items() <= wanted.items()
        (note,) = [note for note in cut_notes(dataset.stages, 0) if "labels of chunks" in note]
        assert note.startswith(f"of {len(wanted)} labels of chunks, reviewed or promoted, {len(found)} are labels")
        assert note.split(", ")[-1].startswith(f"{len(wanted) - len(found)} are set aside")
        counts.append(len(found))
    assert counts[0] == len(wanted) >= 10
    assert len(wanted) >= counts[1] > counts[2]
