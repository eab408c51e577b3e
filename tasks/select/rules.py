"""Rules: row-wise reasons to reject a candidate. All are evaluated; a candidate that none rejects survives.

A rule names the columns it compares and says what a missing value means (``on_null``, without a default where the
column can be missing). Adding a rule: one class here, its line in ``AnyRule``, one test.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from tasks.settings import Settings
from tasks.sql import quote_identifier, quote_literal

OnNull = Literal["keep", "reject"]
Positive = Literal["min", "mean", "max", "own"]
ScoreColumn = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="A score column, as in dense_score or teacher_sigmoid.")]
SourceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="A source, as in dense or bm25.")]


class Rule(Settings):
    """What all rules share.

    ``reason`` is the short word that decisions carry; by default the rule's kind.
    """

    kind: str
    reason: str = Field("", pattern=r"^[a-z0-9_]*$", description="The reason given in decisions; by default the kind.")

    @property
    def name(self) -> str:
        """The reason that decisions carry."""
        return self.reason or self.kind

    def columns(self) -> list[str]:
        """Columns that may be NULL and whose absence ``on_null`` decides."""
        return []

    def rejects(self) -> str:
        """SQL: true where the candidate is rejected; evaluated only where no column of :meth:`columns` is NULL."""
        raise NotImplementedError(type(self))

    def sql(self) -> str:
        """SQL: the reason, or NULL for a candidate that the rule lets pass."""
        on_null = getattr(self, "on_null", "keep")
        cases = [
            f"WHEN {quote_identifier(column)} IS NULL THEN {quote_literal(null_reason(column)) if on_null == 'reject' else 'NULL'}"
            for column in self.columns()
        ]
        return f"CASE {' '.join([*cases, f'WHEN {self.rejects()} THEN {quote_literal(self.name)}'])} END"


def null_reason(column: str) -> str:
    """Why a column has no value: the reason that a rule with ``on_null: reject`` gives."""
    if column.startswith("teacher_"):
        return "unscored"
    if column.startswith(("positive_", "own_")):
        return "no_positive_score"
    return f"not_retrieved_{column.rsplit('_', 1)[0]}"


def positive_column(score: str, positive: Positive) -> str:
    """The column that holds s⁺ for a score column: min, mean or max over the query's positives, or the row's own."""
    return f"own_{score}" if positive == "own" else f"positive_{score}_{positive}"


class RankRange(Rule):
    """Keeps ranks above ``range_min`` up to ``range_max`` of one source, as a slice ``[range_min:range_max]`` does."""

    kind: Literal["rank_range"] = "rank_range"
    source: SourceName = "dense"
    range_min: int = Field(0, ge=0, description="Skip so many of the best ranks.")
    range_max: int | None = Field(None, ge=1, description="The last rank that is kept.")
    on_null: OnNull

    def columns(self) -> list[str]:
        """The source's rank."""
        return [f"{self.source}_rank"]

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        rank = quote_identifier(f"{self.source}_rank")
        beyond = f" OR {rank} > {self.range_max}" if self.range_max is not None else ""
        return f"({rank} <= {self.range_min}{beyond})"


class RankSkip(Rule):
    """Drops the ``n`` best ranks of one source."""

    kind: Literal["rank_skip"] = "rank_skip"
    source: SourceName = "dense"
    n: int = Field(ge=1, description="How many of the best ranks to drop.")
    on_null: OnNull

    def columns(self) -> list[str]:
        """The source's rank."""
        return [f"{self.source}_rank"]

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        return f"{quote_identifier(f'{self.source}_rank')} <= {self.n}"


class _ScoreRule(Rule):
    score: ScoreColumn = "dense_score"
    on_null: OnNull

    def columns(self) -> list[str]:
        """The score column."""
        return [self.score]


class MaxScore(_ScoreRule):
    """Drops s > value, as sentence-transformers' ``max_score``."""

    kind: Literal["max_score"] = "max_score"
    value: float

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        return f"{quote_identifier(self.score)} > {_number(self.value)}"


class MinScore(_ScoreRule):
    """Drops s < value, as sentence-transformers' ``min_score``."""

    kind: Literal["min_score"] = "min_score"
    value: float

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        return f"{quote_identifier(self.score)} < {_number(self.value)}"


class TeacherCeiling(_ScoreRule):
    """Drops candidates that the teacher calls likely relevant: s ≥ ceiling (RocketQA keeps those under 0.1)."""

    kind: Literal["teacher_ceiling"] = "teacher_ceiling"
    score: ScoreColumn = "teacher_sigmoid"
    ceiling: float = Field(description="The least score that is rejected.")

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        return f"{quote_identifier(self.score)} >= {_number(self.ceiling)}"


class MiddleBand(_ScoreRule):
    """Keeps low < s < high of a teacher's score."""

    kind: Literal["middle_band"] = "middle_band"
    score: ScoreColumn = "teacher_sigmoid"
    low: float
    high: float

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        column = quote_identifier(self.score)
        return f"({column} <= {_number(self.low)} OR {column} >= {_number(self.high)})"


class _MarginRule(_ScoreRule):
    margin: float
    positive: Positive = Field("min", description="s⁺: min, mean or max over the query's positives, or the row's own.")

    def columns(self) -> list[str]:
        """The score column and that of s⁺."""
        return [self.score, positive_column(self.score, self.positive)]

    def _pair(self) -> tuple[str, str]:
        return quote_identifier(self.score), quote_identifier(positive_column(self.score, self.positive))


class AbsoluteMargin(_MarginRule):
    """Drops s + margin > s⁺, as sentence-transformers' ``absolute_margin`` (NV-Retriever's MarginPos)."""

    kind: Literal["absolute_margin"] = "absolute_margin"

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        score, positive = self._pair()
        return f"{score} + {_number(self.margin)} > {positive}"


class RelativeMargin(_MarginRule):
    """Drops s > s⁺ − |s⁺|·margin, as sentence-transformers' ``relative_margin`` (NV-Retriever's PercPos at 0.05)."""

    kind: Literal["relative_margin"] = "relative_margin"

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        score, positive = self._pair()
        return f"{score} > {positive} - abs({positive}) * {_number(self.margin)}"


class Window(_MarginRule):
    """Keeps s⁺ − margin < s < s⁺ + margin: the ambiguous window around the positive."""

    kind: Literal["window"] = "window"

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        score, positive = self._pair()
        return f"abs({score} - {positive}) >= {_number(self.margin)}"


class Duplicate(Rule):
    """Drops exact or normalised copies (NFKC, case, white space) of a positive or of the query itself."""

    kind: Literal["duplicate"] = "duplicate"
    match: Literal["exact", "normalised"] = "normalised"
    of: tuple[Literal["positive", "query"], ...] = ("positive", "query")

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        columns = ["copy_of"] if self.match == "exact" else ["copy_of", "norm_copy_of"]
        wanted = ", ".join(quote_literal(name) for name in self.of)
        return "(" + " OR ".join(f"coalesce({column} IN ({wanted}), false)" for column in columns) + ")"


class NearDuplicate(Rule):
    """Drops near-copies of a positive: estimated containment of word shingles at or over a threshold.

    Containment is measured on texts, not vectors: a trained encoder's cosine drifts from round to round and would
    drop the minimal-edit negatives that teach most.
    """

    kind: Literal["near_duplicate"] = "near_duplicate"
    containment: float = Field(0.9, gt=0, le=1)
    on_null: OnNull = "keep"

    def columns(self) -> list[str]:
        """The containment feature."""
        return ["positive_containment"]

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        return f"positive_containment >= {_number(self.containment)}"


class NearDuplicateCosine(Rule):
    """Drops documents whose cosine with a positive, under a fixed encoder, reaches a threshold."""

    kind: Literal["near_duplicate_cosine"] = "near_duplicate_cosine"
    cosine: float = Field(0.95, gt=-1, le=1)
    on_null: OnNull

    def columns(self) -> list[str]:
        """The similarity feature."""
        return ["positive_similarity"]

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        return f"positive_similarity >= {_number(self.cosine)}"


class Where(Rule):
    """A free rule: keeps the candidates for which an SQL predicate over the scored table's columns is true."""

    kind: Literal["where"] = "where"
    predicate: str = Field(min_length=1, description="SQL over the scored table's columns, as in dense_score < 0.8.")
    on_null: OnNull

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        kept = "true" if self.on_null == "keep" else "false"
        return f"NOT coalesce(({self.predicate}), {kept})"


AnyRule = Annotated[
    RankRange
    | RankSkip
    | MaxScore
    | MinScore
    | TeacherCeiling
    | MiddleBand
    | AbsoluteMargin
    | RelativeMargin
    | Window
    | Duplicate
    | NearDuplicate
    | NearDuplicateCosine
    | Where,
    Field(discriminator="kind"),
]

RULES: tuple[type[Rule], ...] = get_args(get_args(AnyRule)[0])


def _number(value: float) -> str:
    """A setting as a float32 literal, so that comparisons happen in the scores' own precision."""
    return f"{value!r}::FLOAT"
