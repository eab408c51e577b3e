"""The list of formats. Adding one: a module with a render function, its line here, its test."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pyarrow as pa

from tasks.errors import UsageError, nearest
from tasks.shards import layouts
from tasks.shards.encoding import json_lines
from tasks.shards.formats import flagembedding, ids, listwise, llamaindex, sentence_transformers, swift, tevatron, trec
from tasks.shards.layouts import Anchors, Layout
from tasks.shards.material import Material
from tasks.shards.settings import ShardSettings

Encode = Callable[[pa.Table], bytes]
Render = Callable[[Material, Layout, ShardSettings], pa.Table]


@dataclass(frozen=True)
class Format:
    """A training format.

    Args:
        name: as users write it.
        extension: the files' ending.
        layout: which lines make up a row.
        render: the rows' columns.
        encode: the rows as a file's content; none: Parquet.
        scores: whether ``output_scores`` applies, so that pairs without a score must go.
        lookup: texts that the rows name by ids, as tables by name.
        join: several files' contents as one; none: the files stay apart when they are exported.
    """

    name: str
    extension: str
    layout: Callable[[Anchors, ShardSettings], Layout]
    render: Render
    encode: Encode | None = None
    scores: bool = False
    lookup: Callable[[Material, Layout], dict[str, pa.Table]] | None = None
    join: Callable[[Iterable[bytes]], bytes] | None = None


def _sentence_transformers(name: str, layout: Callable[[Anchors, ShardSettings], Layout], render: Render) -> Format:
    return Format(name, "parquet", layout, render, scores=True)


def _merged(anchors: Anchors, _: ShardSettings) -> Layout:
    return layouts.merged(anchors)


def _queries(anchors: Anchors, _: ShardSettings) -> Layout:
    return layouts.queries(anchors)


FORMATS = (
    _sentence_transformers("triplet", lambda anchors, _: layouts.triplets(anchors), sentence_transformers.triplet),
    _sentence_transformers(
        "n-tuple", lambda anchors, settings: layouts.tuples(anchors, settings.num_negatives), sentence_transformers.n_tuple
    ),
    _sentence_transformers("labeled-pair", lambda anchors, _: layouts.pairs(anchors), sentence_transformers.labeled_pair),
    _sentence_transformers("labeled-list", lambda anchors, _: layouts.lists(anchors), sentence_transformers.labeled_list),
    Format("flagembedding", "jsonl", _merged, flagembedding.flagembedding, json_lines),
    Format("tevatron", "jsonl", _merged, tevatron.tevatron, json_lines),
    Format("tevatron-ids", "jsonl", _merged, ids.tevatron_ids, json_lines, lookup=ids.corpus),
    Format("listwise", "parquet", _merged, listwise.listwise),
    Format("ids", "parquet", _merged, ids.ids, lookup=ids.texts),
    Format("trec-run", "trec", lambda anchors, _: layouts.queries(anchors, bare=False), trec.trec_run, trec.run_lines, join=b"".join),
    Format("trec-qrels", "qrels", _queries, trec.trec_qrels, trec.qrels_lines, join=b"".join),
    Format("swift", "jsonl", lambda anchors, _: layouts.lists(anchors), swift.swift, json_lines),
    Format("llamaindex", "json", _queries, llamaindex.llamaindex, llamaindex.dataset_json, join=llamaindex.join_json),
    Format("llamaindex-rerank", "jsonl", _merged, llamaindex.llamaindex_rerank, json_lines),
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
