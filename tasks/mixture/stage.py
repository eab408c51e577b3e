"""The stage ``mixture``: one set of training files over the shards of several datasets.

Files: ``data/train-00000.parquet`` (or ``.jsonl``) and, row-aligned, ``sidecar/train-00000.parquet`` with ``dataset`` and ``task``
besides the shards' own columns; ``mixture.json``: each dataset's task, weight, prompts, share and counts. Rows lie batch by batch,
``batch_size`` of one dataset each, and a file holds whole batches: read in order, every batch has one source, and its rows are parted
as :mod:`tasks.mixture.arrange` says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import UsageError
from tasks.mixture.arrange import arranged
from tasks.mixture.plan import batches_of, order, shares, windows
from tasks.mixture.settings import MixtureSettings
from tasks.mixture.stream import Stream, labelled
from tasks.mixture.texts import Corpus
from tasks.runner.stage import Job, Stage, Work
from tasks.store.manifest import Part
from tasks.store.output import Output

STAGE = Stage(name="mixture", version=4, function="tasks.mixture.stage:run", unit="rows", folder="data/mixture/{folder}")
_AT_ONCE = 1 << 15  # rows of a dataset that are arranged together, at least


@dataclass(frozen=True)
class Ingredient:
    """One dataset of a mixture.

    Args:
        name: of the dataset.
        task: as the rows are to say it.
        weight: of its share.
        prompts: ``query`` and ``document``, for whoever trains.
        round: its name, as in ``cranfield/2``.
        recipe: that made the selection.
        selection_id: of the selection.
        shards: parts of its stage ``shards``.
        queries: parts with queries.parquet and qrels.parquet.
        documents: parts with docs.parquet.
        positive_min_grade: what a labelled positive is.
    """

    name: str
    task: str
    weight: float
    prompts: Mapping[str, str]
    round: str
    recipe: str
    selection_id: str
    shards: Sequence[Part]
    queries: Sequence[Part]
    documents: Sequence[Part]
    positive_min_grade: int = 1

    @property
    def inputs(self) -> dict[str, tuple[Part, ...]]:
        """What is read of it."""
        rows = [tuple(file.name for file in part.files if file.name.startswith(("data/", "sidecar/"))) for part in self.shards]
        return {
            "shards": tuple(part.only(*names) for part, names in zip(self.shards, rows, strict=True)),
            "queries": tuple(part.only("queries.parquet", "qrels.parquet") for part in self.queries),
            "documents": tuple(part.only("docs.parquet") for part in self.documents),
        }

    @property
    def described(self) -> dict[str, Any]:
        """What is said of it, as JSON."""
        told = {"name": self.name, "task": self.task, "weight": self.weight, "prompts": dict(self.prompts)}
        return {**told, "round": self.round, "recipe": self.recipe, "selection_id": self.selection_id}


def jobs(format_name: str, ingredients: Sequence[Ingredient], settings: MixtureSettings, rows_per_shard: int) -> list[Job]:
    """The one job of a format.

    Args:
        format_name: of all the shards.
        ingredients: the datasets, in the order of the settings.
        settings: of the mixture.
        rows_per_shard: most rows in one file; at least a batch.
    """
    inputs = {f"{role}.{number}": parts for number, one in enumerate(ingredients) for role, parts in one.inputs.items()}
    keyed = {
        "format": format_name,
        "datasets": [one.described for one in ingredients],
        "least": [one.positive_min_grade for one in ingredients],
        "rows_per_shard": max(settings.batch_size, rows_per_shard),
        **settings.model_dump(mode="json"),
    }
    shards = [part for name, parts in inputs.items() if name.startswith("shards.") for part in parts]
    units = sum(file.rows or 0 for part in shards for file in part.files if file.name.startswith("data/"))
    job = Job(format_name, inputs, keyed, units=max(1, units))
    return [Job(format_name, inputs, keyed, {"folder": f"{settings.name}-{format_name}-{job.key(STAGE)[:12]}"}, job.units)]


def folder_of(jobs: Sequence[Job]) -> str:
    """The folder under the root in which the training files lie."""
    return f"data/mixture/{jobs[0].options['folder']}/data"


def run(work: Work, out: Output) -> None:
    """Write the files. Meta ``datasets``: by name rows that there are, capped, share asked for, batches, written, repeated, left_out.

    ``clashing``: rows beside which, in their batch, stands another one of their query, or a text that is relevant to it.

    Raises:
        InputError: a dataset has no row.
        UsageError: the datasets' rows have different columns, or there is not even one batch.
    """
    given = work.job.settings
    settings = MixtureSettings.model_validate({name: given[name] for name in MixtureSettings.model_fields})
    datasets, inputs = given["datasets"], work.job.inputs
    streams = [
        Stream(work.storage, inputs[f"shards.{number}"], one["name"], settings.max_rows_per_positive) for number, one in enumerate(datasets)
    ]
    counted = [stream.count() for stream in streams]
    rows = [one.rows for one in counted]
    share = shares(rows, [one["weight"] for one in datasets], settings.temperature)
    total = (settings.rows or sum(rows)) // settings.batch_size
    if not total:
        raise UsageError(f"mixture: {sum(rows)} rows are less than one batch of {settings.batch_size}", "set mixture.batch_size lower")
    counts = batches_of(total, share)
    sources = [
        _Source(replace(stream, counted=one, wanted=batches * settings.batch_size), _corpus(work, number), settings, (number, batches))
        for number, (stream, one, batches) in enumerate(zip(streams, counted, counts.tolist(), strict=True))
    ]
    _write(work, out, sources, order(counts, [one["name"] for one in datasets], settings.seed).tolist(), settings.batch_size)
    facts = {}
    for one, found, source, batches, asked in zip(datasets, counted, sources, counts.tolist(), share.tolist(), strict=True):
        written = batches * settings.batch_size
        facts[one["name"]] = {
            "rows": found.rows,
            "capped": found.capped,
            "share": round(asked, 6),
            "batches": batches,
            "written": written,
            "repeated": max(0, written - found.rows),
            "left_out": max(0, found.rows - written),
            "clashing": source.clashing,
        }
    told = [{**one, **facts[one["name"]]} for one in datasets]
    out.data("mixture.json", json.dumps({"batch_size": settings.batch_size, "datasets": told}, indent=1, ensure_ascii=False).encode())
    out.meta.update(datasets=facts, rows=total * settings.batch_size)


@dataclass
class _Source:
    """The batches of one dataset, arranged some thousand rows at a time."""

    stream: Stream
    corpus: Corpus
    settings: MixtureSettings
    place: tuple[int, int]  # its number among the datasets, and its batches
    clashing: int = 0
    _batches: Iterator[tuple[pa.Table, pa.Table]] | None = field(default=None, repr=False)

    def batch(self) -> tuple[pa.Table, pa.Table]:
        """The next one, with its sidecar."""
        if self._batches is None:
            self._batches = self._arranged()
        return next(self._batches)

    def _arranged(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        number, batches = self.place
        size = self.settings.batch_size
        most = len(self.stream.counted.places) if self.stream.counted else 1
        for window, together in enumerate(windows(batches, max(-(-_AT_ONCE // size), most))):
            data, side, passes = self.stream.take(together * size)
            entries = self.corpus.entries(side)
            rows, clashing = arranged(entries, passes - passes[0], size, (self.settings.seed, number, window))
            self.clashing += clashing
            data, side = data.take(pa.array(rows)), side.take(pa.array(rows))
            for start in range(0, len(rows), size):
                yield data.slice(start, size), side.slice(start, size)


def _corpus(work: Work, number: int) -> Corpus:
    """A dataset's texts."""
    qrels = work.table(f"queries.{number}", "qrels.parquet", ["query_id", "doc_id", "relevance"])
    positives = qrels.filter(pc.greater_equal(qrels["relevance"], work.job.settings["least"][number]))
    documents = work.table(f"documents.{number}", "docs.parquet", ["doc_id", "norm_hash"])
    return Corpus.of(documents, work.table(f"queries.{number}", "queries.parquet", ["query_id", "norm_hash"]), positives)


def _write(work: Work, out: Output, sources: Sequence[_Source], batches: Sequence[int], size: int) -> None:
    """Batch by batch; some batches in memory at a time."""
    datasets, per_file = work.job.settings["datasets"], int(work.job.settings["rows_per_shard"]) // size
    for number, start in enumerate(range(0, len(batches), per_file)):
        pieces, sides = [], []
        for dataset in batches[start : start + per_file]:
            data, side = sources[dataset].batch()
            name, task = datasets[dataset]["name"], datasets[dataset]["task"]
            pieces.append(labelled(data, name, task))
            for column, value in (("dataset", name), ("task", task)):
                side = side.append_column(column, pa.array([value] * side.num_rows, pa.string()))
            sides.append(side)
            work.report(size)
        _refuse_different(pieces, [datasets[one]["name"] for one in batches[start : start + per_file]])
        table = pa.concat_tables(pieces)
        if table.column_names == ["line"]:
            lines = "".join(line + "\n" for line in table["line"].to_pylist())
            out.data(f"data/train-{number:05d}.jsonl", lines.encode(), table.num_rows)
        else:
            out.table(f"data/train-{number:05d}.parquet", table)
        out.table(f"sidecar/train-{number:05d}.parquet", pa.concat_tables(sides))


def _refuse_different(pieces: Sequence[pa.Table], names: Sequence[str]) -> None:
    for piece, name in zip(pieces, names, strict=True):
        if piece.column_names != pieces[0].column_names:
            raise UsageError(
                f"mixture: rows of {name} have other columns ({', '.join(piece.column_names)}) than rows of {names[0]}",
                "give all datasets the same num_negatives: their recipes must not set their own",
            )
