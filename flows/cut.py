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
    if set_aside:
        yield (
            f"{set_aside:,} positives are set aside, neither positives nor negatives: cut before their answer, or no chunk holds it "
            "(set_aside.parquet of their stage names them)"
        )
