"""Synthetic queries as a dataset of their own: written for documents, filtered by the round trip, laid out as a BEIR folder."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flows.asking import About, ask_for
from flows.checks import check_new_folder
from flows.settings import MineSettings
from tasks.audit.build import build_audit
from tasks.corpus.task import ingest_documents
from tasks.embed.task import embed_documents
from tasks.folds import group_draws
from tasks.models.fingerprint import query_spec
from tasks.models.remote import open_embedder
from tasks.remote.budget import Budget
from tasks.runner.runner import Context
from tasks.store.folders import whole_folder
from tasks.store.keys import digest, norm_hash
from tasks.store.manifest import Part
from tasks.store.tables import read_array, read_table
from tasks.write.queries import (
    AWAY,
    KEPT,
    Queries,
    QueryWriteSettings,
    Source,
    counted,
    query_prompt,
    query_questions,
    round_trip,
    written_queries,
)

SPLIT = "synthetic"  #: name of the file of judgements
_OWN = {"corpus.jsonl.gz", "queries.jsonl", "qrels", "aside.jsonl", "written.json"}  # a folder with other files in it is left alone
RECORD = "written.json"  #: what was done, and whether documents are left to ask about


@dataclass(frozen=True)
class WrittenQueries:
    """What came of it: documents asked about and answered for, queries by status, why it ended early, and where they are."""

    folder: Path
    documents: int
    answered: int
    queries: dict[str, int]
    stopped: str

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {**self.__dict__, "folder": str(self.folder)}


def write_queries(
    context: Context, mined: MineSettings, settings: QueryWriteSettings, target: Path, export: Path | None = None
) -> WrittenQueries:
    """Write queries for the documents of a dataset, which may have none.

    Args:
        context: storage, executor, progress.
        mined: a run's settings: the dataset, and the retriever of the round trip.
        settings: writer, how many, filter, budget.
        target: a new or empty folder, or one that this left unfinished: corpus.jsonl.gz, queries.jsonl, qrels/synthetic.tsv, aside.jsonl,
            written.json.
        export: a file that open questions are written to instead of being asked.

    Raises:
        Exported: questions are open, and in the file.
        UsageError: the folder is not empty, or a setting is wrong.
        ModelError: an endpoint refuses.
    """
    about = _about(mined, settings)
    _check_folder(target, about)
    prompt = query_prompt(settings)
    settings.budget.check(settings.model)
    manifest, own = ingest_documents(context, mined.dataset)
    documents = manifest.parts
    sources = _chosen(context, documents, settings)
    asking = About(mined.dataset.name, 0, "write queries", "documents", prompt.label)
    questions = query_questions(prompt, settings, sources)
    asked = ask_for(context, asking, settings.model, questions, Queries, Budget(settings.budget), export)
    build_audit(context.storage)
    written = written_queries(sources, asked.forms, frozenset(norm_hash(text) for text in own))
    _filter(context, mined, settings, documents, sources, written)
    found = WrittenQueries(target, len(sources), len(sources) - asked.open, counted(written), asked.stopped)
    record = {**found.as_json(), "folder": target.name, "about": about, "open": asked.open}
    if target.exists():
        shutil.rmtree(target)  # empty, or what this left unfinished
    whole_folder(target, lambda folder: _lay_out(context, documents, written, folder, record))
    return found


def _about(mined: MineSettings, settings: QueryWriteSettings) -> str:
    """What decides what is written, besides how far it went."""
    asked = settings.model_dump(mode="json", exclude={"budget", "model"})
    model = settings.model
    by = [
        model.model,
        model.revision,
        model.parameters(),
        mined.model.model_dump(mode="json"),
        mined.document_encoder.model_dump(mode="json"),
    ]
    return digest(mined.dataset.model_dump(mode="json"), asked, by)


def _check_folder(target: Path, about: str) -> None:
    """Fail before anything runs where files would be written among others; a folder that the same command left unfinished is gone on with.

    Raises:
        UsageError: the folder is not empty.
    """
    try:
        record = json.loads((target / RECORD).read_text(encoding="utf-8"))
        unfinished = record["about"] == about and record["open"] > 0 and {path.name for path in target.iterdir()} <= _OWN
    except (OSError, ValueError, TypeError, KeyError):
        unfinished = False
    if not unfinished:
        check_new_folder(target)


def _chosen(context: Context, documents: Sequence[Part], settings: QueryWriteSettings) -> list[Source]:
    """The documents to write for: all, or those of the least draws."""
    found = []
    for partition, part in enumerate(documents):
        table = read_table(context.storage, part.file("docs.parquet"), ["doc_id", "title", "text"])
        for row, one in enumerate(table.to_pylist()):
            found.append(Source(one["doc_id"], one["title"] or "", one["text"] or "", partition, row))
    if settings.documents and settings.documents < len(found):
        draws = group_draws([one.doc_id for one in found], settings.seed)
        found = [found[place] for place in np.sort(np.argsort(draws, kind="stable")[: settings.documents]).tolist()]
    return found


def _filter(
    context: Context,
    mined: MineSettings,
    settings: QueryWriteSettings,
    documents: Sequence[Part],
    sources: Sequence[Source],
    written: list[dict[str, Any]],
) -> None:
    """Give each query that is kept so far its rank; those that do not lead back are kept no longer."""
    kept = [one for one in written if one["status"] == KEPT]
    if not kept:
        return
    vectors = [
        read_array(context.storage, part.file("vectors.npy"))
        for part in embed_documents(context, mined.document_encoder, mined.dataset.name, documents).parts
    ]
    encoded = open_embedder(context.storage, query_spec(mined.model, context.storage)).encode([one["text"] for one in kept]).vectors
    places = [sources[one["place"]] for one in kept]
    ranks = round_trip(encoded, vectors, [place.partition for place in places], [place.row for place in places])
    for one, rank in zip(kept, ranks.tolist(), strict=True):
        one["rank"] = rank
        one["status"] = KEPT if rank <= settings.keep_rank else AWAY


def _lay_out(
    context: Context, documents: Sequence[Part], written: Sequence[dict[str, Any]], target: Path, record: Mapping[str, Any]
) -> None:
    """A BEIR folder of the whole corpus and the queries that are kept; what is set aside with why; what was done."""
    kept = [one for one in written if one["status"] == KEPT]
    (target / "qrels").mkdir(parents=True, exist_ok=True)
    with gzip.open(target / "corpus.jsonl.gz", "wt", encoding="utf-8") as file:
        for part in documents:
            for row in read_table(context.storage, part.file("docs.parquet"), ["doc_id", "title", "text"]).to_pylist():
                line = {"_id": row["doc_id"], "title": row["title"] or "", "text": row["text"] or ""}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
    _write(target / "queries.jsonl", ({"_id": one["query_id"], "text": one["text"], "metadata": {"synthetic": True}} for one in kept))
    _write(target / "aside.jsonl", (one for one in written if one["status"] != KEPT))
    lines = ["query-id\tcorpus-id\tscore", *(f"{one['query_id']}\t{one['doc_id']}\t1" for one in kept)]
    (target / "qrels" / f"{SPLIT}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (target / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _write(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
