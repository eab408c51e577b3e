"""What models do not see: texts that are cut at their length, and positives that are set aside for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tasks.store.manifest import StageManifest


def cut_notes(stages: Sequence[StageManifest], set_aside: int) -> Iterator[str]:
    """Notes of a summary.

    Args:
        stages: of the round; each model counts the texts that it was given and that lost tokens at its max_length.
        set_aside: positives whose answer no chunk holds, or the retriever does not see.
    """
    for stage in stages:
        cut, given = stage.counters.get("truncated", 0), stage.counters.get("model_calls", 0)
        if cut:
            yield f"{stage.stage}: {cut:,} of {given:,} texts that the model was given were cut at its max_length"
    yield from _label_notes(stages)
    if set_aside:
        yield (
            f"{set_aside:,} positives are set aside, neither positives nor negatives: cut before their answer, or no chunk holds it "
            "(set_aside.parquet of their stage names them)"
        )


def _label_notes(stages: Sequence[StageManifest]) -> Iterator[str]:
    """What became of labels that people and signals gave of chunks."""
    given = sum(int(part.meta["rows"].get("chunk-labels", 0)) for stage in stages if stage.stage == "ingest" for part in stage.parts)
    if given:
        parts = [part for stage in stages if stage.stage == "chunks" for part in stage.parts]
        carried, moved = (sum(int(part.meta[name]) for part in parts) for name in ("carried", "moved"))
        to_documents = f", {moved:,} became labels of their documents" if moved else ""
        yield (
            f"of {given:,} labels of chunks, reviewed or promoted, {carried:,} are labels of chunks with the same text{to_documents}, "
            f"{given - carried - moved:,} are set aside: their text is in no chunk any more"
        )
