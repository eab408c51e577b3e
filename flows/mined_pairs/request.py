"""What the drop-in is asked for, checked as sentence-transformers checks it, with its errors and warnings."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

logger = logging.getLogger(__name__)

OUTPUT_FORMATS = ("triplet", "n-tuple", "labeled-pair", "labeled-list")
FILTERS = ("absolute_margin", "relative_margin", "max_score", "min_score")


@dataclass(frozen=True)
class Request:
    """One call, with defaults filled in.

    Args:
        anchor: name of the column of queries.
        positive: name of the column of positives.
        output_format: one of :data:`OUTPUT_FORMATS`.
        output_scores: whether rows have scores.
        num_negatives: of a row.
        range_min: rank of the first candidate that may be taken, after what is filtered.
        range_max: rank of the last one.
        max_positives: rows of the query that has most: so much deeper is searched.
        sampling_strategy: top or random.
        include_positives: whether positives are candidates, too.
        rescored: whether a cross-encoder's scores are compared instead of the cosine.
        filters: by name, those that are given.
    """

    anchor: str
    positive: str
    output_format: str
    output_scores: bool
    num_negatives: int
    range_min: int
    range_max: int
    max_positives: int
    sampling_strategy: str
    include_positives: bool
    rescored: bool
    filters: Mapping[str, float] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """To which rank is searched."""
        return self.range_max + self.max_positives


def checked(dataset: Any, given: Mapping[str, Any], say: Any) -> Request:
    """The request of a call.

    Args:
        dataset: the pairs.
        given: the call's other arguments, by name.
        say: takes a line of what is to be told.

    Raises:
        ValueError: as sentence-transformers does.
    """
    if len(dataset) == 0:
        raise ValueError("The dataset is empty. Please provide a non-empty dataset.")
    if given["faiss_batch_size"] <= 0:
        raise ValueError(f"faiss_batch_size must be a positive integer, got {given['faiss_batch_size']}.")
    anchor, positive = _columns(dataset, given["anchor_column_name"], given["positive_column_name"])
    output_format, output_scores = _output(given)
    filters = _filters(given)
    counts = dataset.to_pandas().groupby(anchor)[positive].count()
    most = int(counts.max())
    range_max = _range(given, filters, most, say)
    return Request(
        anchor=anchor,
        positive=positive,
        output_format=output_format,
        output_scores=output_scores,
        num_negatives=given["num_negatives"],
        range_min=given["range_min"],
        range_max=range_max,
        max_positives=most,
        sampling_strategy=given["sampling_strategy"],
        include_positives=given["include_positives"],
        rescored=given["cross_encoder"] is not None and bool(filters),
        filters=filters,
    )


def _columns(dataset: Any, anchor: str | None, positive: str | None) -> tuple[str, str]:
    columns = dataset.column_names
    if not anchor or anchor not in columns:
        anchor = columns[0]
    if not positive or positive not in columns:
        if len(columns) < 2:
            raise ValueError("Dataset must contain at least two columns to select the positive column automatically.")
        positive = columns[1]
    return str(anchor), str(positive)


def _output(given: Mapping[str, Any]) -> tuple[str, bool]:
    output_format, output_scores = given["output_format"], given["output_scores"]
    if given["as_triplets"] is not None:
        output_format = "triplet" if given["as_triplets"] else "n-tuple"
        logger.warning("`as_triplets` is deprecated: `output_format` is set to `%s`.", output_format)
    if given["include_positives"]:
        changed = [name for name, default in _DEFAULTS.items() if given[name] != default]
        if changed:
            logger.warning("With `include_positives=True`, %s may still discard the positives.", ", ".join(changed))
        if output_format != "n-tuple":
            logger.warning('With `include_positives=True`, `output_format` is set to `"n-tuple"`, which keeps the order of the ranking.')
            output_format = "n-tuple"
    if output_format == "n-tuple-scores":
        logger.warning('`output_format="n-tuple-scores"` is deprecated: use `"n-tuple"` with `output_scores=True`.')
        output_format, output_scores = "n-tuple", True
    if output_format not in OUTPUT_FORMATS:
        raise ValueError(f"Invalid output_format: {output_format}. Must be one of 'triplet', 'n-tuple', 'labeled-pair', or 'labeled-list'.")
    return output_format, output_scores


_DEFAULTS = {
    "range_min": 0, "range_max": None, "max_score": None, "min_score": None, "absolute_margin": None, "relative_margin": None,
    "margin": None, "sampling_strategy": "top",
}  # fmt: skip


def _filters(given: Mapping[str, Any]) -> dict[str, float]:
    filters = {name: given[name] for name in FILTERS if given[name] is not None}
    if given["margin"] is not None:
        filters["absolute_margin"] = given["margin"]
        logger.warning("`margin` is deprecated: `absolute_margin` is set to `%s`.", given["margin"])
    return {name: float(filters[name]) for name in FILTERS if name in filters}


def _range(given: Mapping[str, Any], filters: Mapping[str, float], most: int, say: Any) -> int:
    number, range_min, range_max = given["num_negatives"], given["range_min"], given["range_max"]
    if number < 1:
        raise ValueError(f"num_negatives must be at least 1, got num_negatives={number}.")
    if range_max is None:
        many = set(filters) - {"min_score"} or (given["cross_encoder"] is not None and "min_score" in filters)
        range_max = range_min + number * (10 if many else 1) + most
        say(f"Setting range_max to {range_max} based on the provided parameters.")
    if range_min < 0:
        raise ValueError(f"range_min must be non-negative, got range_min={range_min}.")
    if range_min >= range_max:
        raise ValueError(f"range_min must be smaller than range_max, got range_min={range_min} and range_max={range_max}.")
    if number > range_max - range_min:
        raise ValueError(
            f"Cannot mine {number} negatives per query: only {range_max - range_min} candidates remain after skipping the first "
            f"range_min={range_min} of range_max={range_max}. Consider decreasing num_negatives or range_min, or increasing range_max."
        )
    return int(range_max)
