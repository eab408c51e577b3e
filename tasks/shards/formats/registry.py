"""The list of formats. Adding one: a module with a render function, its line here, its test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from tasks.errors import UsageError, nearest
from tasks.shards import layouts
from tasks.shards.formats import flagembedding, listwise, sentence_transformers, tevatron
from tasks.shards.layouts import Anchors, Layout
from tasks.shards.material import Material
from tasks.shards.settings import ShardSettings


@dataclass(frozen=True)
class Format:
    """A training format.

    Args:
        name: as users write it.
        extension: the files' ending and encoding.
        layout: which lines make up a row.
        render: the rows' columns.
        scores: whether ``output_scores`` applies, so that pairs without a score must go.
    """

    name: str
    extension: Literal["parquet", "jsonl"]
    layout: Callable[[Anchors, ShardSettings], Layout]
    render: Callable[[Material, Layout, ShardSettings], pa.Table]
    scores: bool = False


FORMATS = (
    Format("triplet", "parquet", lambda anchors, _: layouts.triplets(anchors), sentence_transformers.triplet, scores=True),
    Format(
        "n-tuple",
        "parquet",
        lambda anchors, settings: layouts.tuples(anchors, settings.num_negatives),
        sentence_transformers.n_tuple,
        scores=True,
    ),
    Format("labeled-pair", "parquet", lambda anchors, _: layouts.pairs(anchors), sentence_transformers.labeled_pair, scores=True),
    Format("labeled-list", "parquet", lambda anchors, _: layouts.lists(anchors), sentence_transformers.labeled_list, scores=True),
    Format("flagembedding", "jsonl", lambda anchors, _: layouts.merged(anchors), flagembedding.flagembedding),
    Format("tevatron", "jsonl", lambda anchors, _: layouts.merged(anchors), tevatron.tevatron),
    Format("listwise", "parquet", lambda anchors, _: layouts.merged(anchors), listwise.listwise),
)


def format_named(name: str) -> Format:
    """A format by its name.

    Raises:
        UsageError: there is none of that name.
    """
    for known in FORMATS:
        if known.name == name:
            return known
    raise UsageError(f"there is no format {name!r}", nearest(name, [known.name for known in FORMATS]))
