"""Write one partition's training files."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.runner.stage import Work
from tasks.shards.formats.registry import Format, format_named
from tasks.shards.layouts import Layout
from tasks.shards.material import Material, check_slots, drop_unscored, gather, of_training, with_scores
from tasks.shards.settings import ShardSettings
from tasks.shards.sidecar import sidecar, suspected
from tasks.store.output import Output


def run(work: Work, out: Output) -> None:
    """See :mod:`tasks.shards.stage`.

    Facts: rows, anchors, dropped_short, dropped_unscored, rows_without_scores;
    left_out and of_split: queries with rows, by split, that are not written, and that are only because ``settings.split`` names theirs.
    """
    settings = ShardSettings.model_validate({name: work.job.settings[name] for name in ShardSettings.model_fields})
    wanted = format_named(str(work.job.settings["format"]))
    facts = dict.fromkeys(("rows", "anchors", "dropped_short", "dropped_unscored", "rows_without_scores"), 0)
    columns = list(dict.fromkeys(["query_id", "doc_id", "dense_score", "teacher_logit", "relevance", settings.score]))
    queries = work.table("queries", "queries.parquet", ["text", "split"])
    rows, left_out, of_split = of_training(work.table("select", "rows.parquet"), queries["split"], settings.split)
    scored = work.table("scored", "scored.parquet")
    lines = with_scores(rows, scored.select([name for name in columns if name in scored.column_names]), settings.score)
    decisions = work.table("select", "decisions.parquet", ["stage", "query_id", "doc_id", "decision", "reasons"])
    for stage, epoch in sorted(set(zip(rows["stage"].to_pylist(), rows["epoch"].to_pylist(), strict=True))):
        chosen = lines.filter(pc.and_(pc.equal(lines["stage"], stage), pc.equal(lines["epoch"], epoch))).sort_by(
            [("row_no", "ascending"), ("slot", "ascending")]
        )
        check_slots(chosen)
        facts["anchors"] += int((chosen["slot"].to_numpy() == 0).sum())
        if wanted.scores and settings.output_scores:
            chosen, dropped = drop_unscored(chosen)
            facts["dropped_unscored"] += dropped
        if not len(chosen):
            continue
        material = gather(work.storage, chosen, queries, work.job.inputs["documents"], settings)
        layout = wanted.layout(material.anchors, settings)
        facts["rows"] += len(layout)
        facts["dropped_short"] += layout.dropped
        facts["rows_without_scores"] += _without_scores(material, layout)
        _write(work, out, wanted, material, layout, settings, suspected(decisions, stage, settings.suspect_reasons), _suffix(stage, epoch))
    out.meta.update(facts, left_out=left_out, of_split=of_split)


def _write(
    work: Work, out: Output, wanted: Format, material: Material, layout: Layout, settings: ShardSettings, suspects: pa.Table, suffix: str
) -> None:
    for number, start in enumerate(range(0, len(layout), settings.rows_per_shard)):
        piece = layout.slice(start, min(start + settings.rows_per_shard, len(layout)))
        name = f"train-{work.job.index}-{number:05d}"
        table = wanted.render(material, piece, settings)
        if wanted.encode is None:
            out.table(f"data{suffix}/{name}.parquet", table)
        else:
            out.data(f"data{suffix}/{name}.{wanted.extension}", wanted.encode(table), table.num_rows)
        for kind, texts in wanted.lookup(material, piece).items() if wanted.lookup else ():
            _write_lookup(out, wanted, f"lookup{suffix}/{kind}-{name.removeprefix('train-')}", texts)
        out.table(f"sidecar{suffix}/{name}.parquet", sidecar(material, piece, suspects))
        work.report(len(piece.lines))


def _write_lookup(out: Output, wanted: Format, name: str, texts: pa.Table) -> None:
    if wanted.encode is None:
        out.table(f"{name}.parquet", texts)
    else:
        out.data(f"{name}.{wanted.extension}", wanted.encode(texts), texts.num_rows)


def _without_scores(material: Material, layout: Layout) -> int:
    missing = pc.is_null(material.line_column("score", layout.lines)).to_numpy(zero_copy_only=False)
    return len(np.unique(np.repeat(np.arange(len(layout)), np.diff(layout.offsets))[missing]))


def _suffix(stage: str, epoch: int) -> str:
    if stage == "main" and epoch == 0:
        return ""
    return f"-{stage}" if epoch == 0 else f"-{stage}-{epoch}"
