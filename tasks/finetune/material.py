"""From committed tables to the samples that the trainer is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.errors import InputError
from tasks.finetune import lines as tables
from tasks.finetune.corpora import Corpora
from tasks.finetune.grid import Grid, Ints, grid, lessons
from tasks.finetune.mix import pair_keys, with_earlier, with_random, without_known
from tasks.finetune.splits import is_trained, refuse_others
from tasks.models.losses.registry import LOSSES
from tasks.models.samples import Frozen, Names, Samples
from tasks.models.train_settings import TrainSettings
from tasks.runner.stage import Work
from tasks.store.tables import read_array, read_table
from tasks.templates import document_inputs

_SCORES = {"teacher": "teacher", "lexical": "bm25"}  # values that a loss may need, and how facts call them
_SCORED = ["query_id", "doc_id", "query_hash", "doc_hash", "is_positive", "teacher_logit"]


@dataclass
class Found:
    """What the rounds' tables say.

    Args:
        grids: of each round, the one that is trained on first.
        known: (query hash, document hash) of labelled positives.
        suspected: the same of probable ones, by round.
        scores: query_hash, doc_hash, teacher_logit, where the loss asks for them.
    """

    grids: list[Grid] = field(default_factory=list)
    known: list[pa.Table] = field(default_factory=list)
    suspected: list[pa.Table] = field(default_factory=list)
    scores: list[pa.Table] = field(default_factory=list)


def gather(work: Work, settings: TrainSettings) -> tuple[Samples, dict[str, Any]]:
    """The samples, and facts about them: samples, queries, documents, left_out (by split), dropped_short and more.

    Raises:
        InputError: nothing is left to train on.
    """
    job = work.job
    queries = work.table("queries", "queries.parquet", ["query_id", "text", "input_hash", "split"])
    rounds = range(len(job.settings["rounds"]))
    corpora = Corpora.of([job.inputs[f"documents.{number}"] for number in rounds])
    found = Found()
    facts: dict[str, Any] = {}
    for number in rounds:
        facts |= _read(work, settings, corpora, queries, number, found)
    made, changed = with_earlier(found.grids[0], found.grids[1:], settings.earlier, settings.seed)
    hashes = queries["input_hash"].take(pc.index_in(pa.array(made.query_ids, pa.string()), value_set=queries["query_id"].combine_chunks()))
    names = np.asarray(hashes.to_pylist(), dtype=object)
    positives, suspects = _pairs(found.known), _suspects(found, names, corpora, work)
    known = _known(work, corpora, names, positives, suspects)
    dropped = 0
    if changed:
        made, dropped = without_known(made, known)
    made, replaced = with_random(made, settings.random, settings.seed, corpora.count, known)
    full = _full(made, settings)
    facts |= {
        "earlier_rows": changed,
        "earlier_dropped": dropped,
        "random_negatives": replaced,
        "dropped_short": len(made) - int(full.sum()),
    }
    made = made.take(full)
    if not len(made):
        raise InputError("there is nothing to train on: every row is short of negatives", "lower train.num_negatives, or set another loss")
    refuse_others(pa.chunked_array([pa.array(made.query_ids, pa.string())]), queries)
    samples = _samples(work, made, settings, corpora, queries, positives, suspects, found.scores)
    facts |= _unscored(made, settings)
    facts |= {
        "samples": len(samples),
        "queries": len(samples.query_texts),
        "documents": len(samples.document_texts),
        "negatives": int((samples.documents[:, 1:] >= 0).sum()),
        "known_positives": len(positives[0]),
        "suspected": len(suspects[0]),
    }
    return samples, facts


def _unscored(made: Grid, settings: TrainSettings) -> dict[str, int]:
    """``pairs_without_teacher``, ``pairs_without_bm25``: pairs of positive and negative that a loss on such scores leaves out.

    One of the two has no such score.
    """
    found = {}
    for name, words in _SCORES.items():
        if name in LOSSES[settings.loss.kind].values:
            known = np.isfinite(made.values[name])
            found[f"pairs_without_{words}"] = int(((made.documents[:, 1:] >= 0) & ~(known[:, :1] & known[:, 1:])).sum())
    return found


def frozen_index(work: Work) -> Frozen | None:
    """The documents' vectors, of copies the first only; nothing where the loss searches none."""
    if "vectors" not in work.job.inputs:
        return None
    vectors = np.concatenate([np.asarray(read_array(work.storage, part.file("vectors.npy"))) for part in work.job.inputs["vectors"]])
    names = np.asarray(work.table("documents.0", "docs.parquet", ["input_hash"])["input_hash"].to_pylist(), dtype=object)
    first = np.flatnonzero(~pd.Index(names).duplicated())
    return Frozen(vectors[first], names[first])


def _read(work: Work, settings: TrainSettings, corpora: Corpora, queries: pa.Table, number: int, found: Found) -> dict[str, Any]:
    """Add one round's rows and pairs; facts about who was left out."""
    inputs, keyed = work.job.inputs, work.job.settings
    trained = queries.filter(is_trained(queries["split"]))
    pieces, left_out = [], []
    for chosen, scores in zip(inputs[f"select.{number}"], inputs[f"scored.{number}"], strict=True):
        rows = work.part_table(chosen, "rows.parquet")
        scored = _scored(work, scores)
        decisions = work.part_table(chosen, "decisions.parquet", ["query_id", "doc_id", "decision", "reasons"])
        pieces.append(tables.lines(rows, scored, trained))
        left_out.append(rows["query_id"].unique())
        found.known.append(tables.known_positives(scored, trained))
        found.suspected.append(tables.suspected(decisions, scored, trained, keyed["suspect_reasons"]))
        if number == 0 and "in_batch_teacher" in LOSSES[settings.loss.kind].materials:
            found.scores.append(tables.teacher_scores(scored, trained))
    table = pa.concat_tables(pieces)
    numbers = corpora.numbers(number, table["doc_partition"].to_numpy(), table["doc_row"].to_numpy())
    found.grids.append(grid(table, numbers, keyed["stages"], settings.num_negatives))
    return {"left_out": _left_out(pa.chunked_array(left_out, pa.string()), queries)} if number == 0 else {}


def _scored(work: Work, part: Any) -> pa.Table:
    table = read_table(work.storage, part.file("scored.parquet"))
    return table.select([name for name in (*_SCORED, "bm25_score") if name in table.column_names])


def _left_out(query_ids: pa.ChunkedArray, queries: pa.Table) -> dict[str, int]:
    """Queries with training rows that are of another split, by split."""
    own = queries.filter(pc.is_in(queries["query_id"], value_set=query_ids.combine_chunks()))
    counts = own["split"].filter(pc.invert(is_trained(own["split"]))).value_counts()
    return dict(sorted(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)))


def _pairs(found: Sequence[pa.Table]) -> tuple[Names, Names]:
    table = pa.concat_tables(found).group_by(["query_hash", "doc_hash"], use_threads=False).aggregate([])
    return tuple(np.asarray(table[name].to_pylist(), dtype=object) for name in ("query_hash", "doc_hash"))  # type: ignore[return-value]


def _suspects(found: Found, names: Names, corpora: Corpora, work: Work) -> tuple[Names, Names]:
    """Suspected pairs of all rounds, without those that the present round trains with: its judgement is newer."""
    queries, documents = _pairs(found.suspected)
    present = found.grids[0].documents
    unique = np.unique(present[present >= 0])
    hashes = _hashes(work, corpora, unique)
    rows, slots = np.nonzero(present >= 0)
    negative = slots > 0
    trained = pair_keys(names[rows[negative]], hashes[np.searchsorted(unique, present[rows, slots][negative])])
    keep = ~pair_keys(queries, documents).isin(trained)
    return queries[keep], documents[keep]


def _hashes(work: Work, corpora: Corpora, numbers: Ints) -> Names:
    """Content hashes of documents, ascending numbers."""
    return np.asarray(corpora.take(work.storage, numbers, ["input_hash"])["input_hash"].to_pylist(), dtype=object)


def _known(work: Work, corpora: Corpora, names: Names, positives: tuple[Names, Names], suspects: tuple[Names, Names]) -> Any:
    """For :func:`tasks.finetune.mix.with_random`."""

    def known(rows: Ints, documents: Ints) -> NDArray[np.bool_]:
        unique, place = np.unique(documents, return_inverse=True)
        asked = pair_keys(names[rows], _hashes(work, corpora, unique)[place.reshape(-1)])
        return np.asarray(asked.isin(pair_keys(*positives).append(pair_keys(*suspects))), dtype=bool)

    return known


def _full(made: Grid, settings: TrainSettings) -> NDArray[np.bool_]:
    """Rows that the loss can take: one without masks needs all of them equally long."""
    if LOSSES[settings.loss.kind].uses_rows:
        return np.ones(len(made), dtype=bool)
    return np.asarray((made.documents >= 0).all(axis=1), dtype=bool)


def _samples(
    work: Work,
    made: Grid,
    settings: TrainSettings,
    corpora: Corpora,
    queries: pa.Table,
    positives: tuple[Names, Names],
    suspects: tuple[Names, Names],
    scores: Sequence[pa.Table],
) -> Samples:
    ids, query = np.unique(made.query_ids.astype(str), return_inverse=True)
    asked = queries.take(pc.index_in(pa.array(ids, pa.string()), value_set=queries["query_id"].combine_chunks()))
    numbers, place = np.unique(made.documents[made.documents >= 0], return_inverse=True)
    documents = np.full(made.documents.shape, -1, dtype=np.int64)
    documents[made.documents >= 0] = place.reshape(-1)
    texts = corpora.take(work.storage, numbers, ["title", "text", "input_hash"])
    known = None
    if scores:
        table = pa.concat_tables(scores)
        pair = tuple(np.asarray(table[name].to_pylist(), dtype=object) for name in ("query_hash", "doc_hash"))
        known = ((pair[0], pair[1]), table["teacher_logit"].to_numpy().astype(np.float32))
    return Samples(
        queries=query.reshape(-1).astype(np.int64),
        documents=documents,
        query_texts=asked["text"].to_pylist(),
        document_texts=document_inputs(str(work.job.settings["title_template"]), texts),
        query_names=np.asarray(asked["input_hash"].to_pylist(), dtype=object),
        document_names=np.asarray(texts["input_hash"].to_pylist(), dtype=object),
        lessons=lessons(made, settings.epochs),
        positives=positives,
        suspected=suspects,
        values={name: value for name, value in made.values.items() if np.isfinite(value).any() and not _trivial(name, value)},
        scores=known,
    )


def _trivial(name: str, value: NDArray[np.float32]) -> bool:
    return name == "weight" and bool((np.isnan(value) | (value == 1)).all())
