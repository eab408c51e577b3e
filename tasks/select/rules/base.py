"""What a rule is: a row-wise reason to reject a candidate. All are evaluated; a candidate that none rejects survives.

A rule names the columns it compares and says what a missing value means (``on_null``, without a default where the
column can be missing). Adding a rule: one class in the module where it belongs, its line in ``registry.py``, one test.
"""

from __future__ import annotations

from typing import Annotated, Literal

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


# What it means that a feature has no value.
_ABSENT = {
    "fixed_score": "no_fixed_score",
    "positive_similarity": "no_fixed_score",
    "positive_containment": "no_shingles",
    "document_cluster": "no_cluster",
    "query_cluster": "no_cluster",
    "in_positive_cluster": "no_cluster",
    "answer_match": "no_answers",
    "group_id": "no_group",
    "group_position": "no_group",
    "in_positive_group": "no_group",
    "duplicate_cluster": "no_duplicate_cluster",
    "doc_tokens": "no_length",
    "doc_language": "no_language",
    "query_language": "no_language",
    "rance_weight": "no_rank_weight",
    "label_evidence": "no_evidence",
    "judge_relevance": "unjudged",
}


def null_reason(column: str) -> str:
    """Why a column has no value: the reason that a rule with ``on_null: reject`` gives."""
    if column in _ABSENT:
        return _ABSENT[column]
    if column.startswith("teacher_"):
        return "unscored"
    if column.startswith(("positive_", "own_")):
        return "no_positive_score"
    return f"not_retrieved_{column.rsplit('_', 1)[0]}"


def positive_column(score: str, positive: Positive) -> str:
    """The column that holds s⁺ for a score column: min, mean or max over the query's positives, or the row's own."""
    return f"own_{score}" if positive == "own" else f"positive_{score}_{positive}"


def number(value: float) -> str:
    """A setting as a float32 literal, so that comparisons happen in the scores' own precision."""
    return f"{value!r}::FLOAT"
