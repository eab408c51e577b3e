"""The pairs of one review: what was drawn, with which probability, and the manifest that stays behind when reviewers get the texts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from tasks.errors import InputError
from tasks.store.keys import digest

SAMPLE = pa.schema(
    [
        ("query_id", pa.string()),
        ("doc_id", pa.string()),
        ("query", pa.string()),  # text of the query
        ("title", pa.string()),
        ("text", pa.string()),
        ("positives", pa.list_(pa.string())),  # texts of the query's labelled positives
        ("stratum", pa.int64()),
        ("inclusion", pa.float64()),  # π: probability with which the pair was drawn
        ("teacher_score", pa.float64()),  # NULL: not scored
        ("dense_rank", pa.int64()),  # NULL: not retrieved
        ("dense_score", pa.float64()),
        ("recipes", pa.list_(pa.string())),  # that emitted the pair
    ]
)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Stratum(_Record):
    """One stratum: pairs in it, and how many of them were drawn."""

    number: int
    size: int = Field(ge=1)
    draws: int = Field(ge=0)


class Drawn(_Record):
    """A selection whose negatives were there to be drawn. ``key``: of its stage ``select``, so that decisions made anew are noticed."""

    selection_id: str
    recipe: str
    key: str


class Origin(_Record):
    """Where a sample comes from. Without ``selections`` (of earlier exports), the pairs' recipes tell."""

    dataset: str
    round: int
    candidate_set_id: str
    seed: int
    budget: int
    strata: tuple[Stratum, ...]
    selections: tuple[Drawn, ...] = ()


class SampledPair(_Record):
    """One drawn pair, without texts."""

    pair: str
    query_id: str
    doc_id: str
    stratum: int
    inclusion: float = Field(gt=0, le=1)
    teacher_score: float | None = None
    dense_rank: int | None = None
    dense_score: float | None = None
    recipes: tuple[str, ...] = ()


class Manifest(_Record):
    """What import must know of an export. ``checksum``: of origin and pairs, so that a changed manifest is noticed."""

    origin: Origin
    pairs: tuple[SampledPair, ...]
    checksum: str

    def verified(self) -> Manifest:
        """The manifest itself.

        Raises:
            InputError: it is not what was exported.
        """
        if self.checksum != checksum(self.origin, self.pairs):
            raise InputError(
                "the review's manifest was changed since the export", "take the .review.json that export wrote, or export again"
            )
        return self


def pair_id(origin: Origin, query_id: str, doc_id: str) -> str:
    """A pair's stable name. It begins with a letter, so that no spreadsheet takes it for a number."""
    return "p" + digest("review", origin.dataset, origin.round, origin.candidate_set_id, query_id, doc_id)[:16]


def manifest_of(sample: pa.Table, origin: Origin) -> Manifest:
    """The manifest of a drawn sample.

    Args:
        sample: as :data:`SAMPLE`; its texts are left out.
        origin: the round, the draw, the strata.

    Raises:
        InputError: columns are missing, a pair is there twice, or the rows do not fit the strata.
    """
    missing = [name for name in SAMPLE.names if name not in sample.column_names]
    if missing:
        raise InputError(f"the sample has no column {', '.join(missing)}", f"it needs {', '.join(SAMPLE.names)}")
    columns = sample.select([name for name in SAMPLE.names if name not in ("query", "title", "text", "positives")])
    pairs = tuple(_pair(origin, row) for row in columns.to_pylist())
    twice = [pair for pair, count in Counter(one.pair for one in pairs).items() if count > 1]
    if twice:
        same = next(one for one in pairs if one.pair == twice[0])
        raise InputError(f"the sample has query {same.query_id!r} with document {same.doc_id!r} twice", "draw without replacement")
    drawn = Counter(one.stratum for one in pairs)
    wrong = [one for one in origin.strata if drawn.pop(one.number, 0) != one.draws]
    if wrong or drawn:
        number = wrong[0].number if wrong else next(iter(drawn))
        raise InputError(f"the sample's rows of stratum {number} are not as many as were drawn from it", "give the strata of this draw")
    return Manifest(origin=origin, pairs=pairs, checksum=checksum(origin, pairs))


def checksum(origin: Origin, pairs: tuple[SampledPair, ...]) -> str:
    """Digest of an export: the same draw gives the same, in any order of rows."""
    ordered = sorted(pairs, key=lambda one: one.pair)
    stated = origin.model_dump(mode="json", exclude=None if origin.selections else {"selections"})
    return digest("review", stated, [one.model_dump(mode="json") for one in ordered])


def _pair(origin: Origin, row: dict[str, Any]) -> SampledPair:
    given = {**row, "recipes": tuple(row["recipes"] or ())}
    return SampledPair(pair=pair_id(origin, row["query_id"], row["doc_id"]), **given)
