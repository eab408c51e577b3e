"""The work of the score stage: look pairs up, score what is missing, write all of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.folds import Fold
from tasks.models.cross_encoder import Scores
from tasks.models.fingerprint import ModelSpec
from tasks.models.materialise import materialise
from tasks.models.remote import open_cross_encoder
from tasks.runner.stage import Work
from tasks.schema import PAIRS
from tasks.score.pair_store import first_of_each, lookup, put_marker
from tasks.score.pairs import marked, of_fold, unique_pairs
from tasks.score.stage import STAGE
from tasks.store.manifest import FileRecord, Part
from tasks.store.output import Output
from tasks.store.tables import take_texts
from tasks.teacher import to_score
from tasks.templates import document_inputs

_LEAST = 500  # pairs of a piece: enough to tell whether a teacher scores at all
_COLUMNS = ["query_row", "doc_partition", "doc_row", "is_positive", "query_hash", "doc_hash"]


def run(work: Work, out: Output) -> None:
    """Write ``pairs.parquet``: every pair of the block, whether it was scored now or before."""
    settings = work.job.settings
    sources = [str(source) for source in settings["sources"]]
    table = work.table("candidates", "candidates.parquet", [*_COLUMNS, *(f"{source}_rank" for source in sources)])
    wanted = _wanted(work, table, sources)
    start, stop = int(settings["start"]), int(settings["stop"])
    table, wanted = table.slice(start, stop - start), wanted[start:stop]
    if "fold" in settings:
        number, count, seed = settings["fold"]
        wanted &= of_fold(table, work.table("queries", "queries.parquet", ["query_id", "group"]), Fold(number, count), seed)
    table = table.filter(pa.array(wanted))
    pairs, rows = unique_pairs(table["query_hash"], table["doc_hash"])
    known = lookup(work.storage, [FileRecord.model_validate(record) for record in work.job.options["segments"]], pairs)
    missing, at = _missing(pairs, rows, known)
    work.afford(missing.num_rows, known.num_rows)
    work.report(table.num_rows - len(at))
    scores = _score(work, table.take(pa.array(at)))
    new = missing.append_column("logit", pa.array(scores.logits, pa.float32())).cast(PAIRS)
    out.table("pairs.parquet", first_of_each(pa.concat_tables([known, new])))
    if new.num_rows:
        put_marker(work.storage, str(settings["teacher"]), work.job.key(STAGE), out.files[-1])
    out.count(model_calls=new.num_rows, cache_hits=known.num_rows, tokens=scores.tokens, truncated=scores.truncated)


def _wanted(work: Work, table: pa.Table, sources: list[str]) -> NDArray[np.bool_]:
    """Which candidates of the partition are scored."""
    if "asked" in work.job.inputs:
        return marked(work.table("asked", "asked.parquet"), table.num_rows)
    return to_score(table, int(work.job.settings["depth"]), sources)


def _missing(pairs: pa.Table, rows: NDArray[np.int64], known: pa.Table) -> tuple[pa.Table, NDArray[np.int64]]:
    """The pairs that no segment holds, sorted, and a candidate row for each."""
    marked = known.select(["query_hash", "doc_hash"]).append_column("known", pa.array(np.ones(known.num_rows, dtype=bool)))
    numbered = pairs.append_column("row", pa.array(rows))
    joined = numbered.join(marked, keys=["query_hash", "doc_hash"], join_type="left outer", use_threads=False)
    left = joined.filter(pc.is_null(joined["known"])).sort_by([("query_hash", "ascending"), ("doc_hash", "ascending")])
    return left.select(["query_hash", "doc_hash"]), np.asarray(left["row"].to_numpy(), dtype=np.int64)


def _score(work: Work, table: pa.Table) -> Scores:
    """Score the pairs of a table of candidates; the model is loaded only if there are any."""
    if table.num_rows == 0:
        return Scores(np.empty(0, dtype=np.float32), 0, 0)
    size = max(_LEAST, -(-table.num_rows // work.pieces))
    made = [_score_piece(work, table.slice(start, size)) for start in range(0, table.num_rows, size)]
    return Scores(np.concatenate([one.logits for one in made]), sum(one.tokens for one in made), sum(one.truncated for one in made))


def _score_piece(work: Work, table: pa.Table) -> Scores:
    """The pairs whose texts and tokens are in memory together."""
    spec = ModelSpec.model_validate(work.job.options["spec"])
    if work.job.options.get("teacher"):
        folder = materialise(work.storage, Part.model_validate(work.job.options["teacher"]))
        spec = spec.model_copy(update={"path": str(folder)})
    addresses = [np.asarray(table[name].to_numpy(), dtype=np.int64) for name in ("doc_partition", "doc_row")]
    texts = take_texts(work.storage, work.job.inputs["documents"], addresses[0], addresses[1], ["title", "text"])
    queries = work.table("queries", "queries.parquet", ["text"])["text"].take(table["query_row"].combine_chunks())
    pairs = list(zip(queries.to_pylist(), document_inputs(spec.title_template, texts), strict=True))
    return open_cross_encoder(work.storage, spec).score(pairs, work.report)
