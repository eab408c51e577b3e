"""Which threshold gives which rate of false negatives, over one round. No model runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flows.selection import compute_features
from flows.stored import stored_facts, stored_table
from flows.tuning import Tuning, record_reading, tuned_on
from tasks.audit.records import RoundRecord
from tasks.compare.advice import Advice, advise
from tasks.compare.truth import Truth
from tasks.compare.yields import YieldCurve, YieldSettings, measures, yield_curve
from tasks.errors import UsageError, nearest
from tasks.runner.runner import Context
from tasks.select.rules.evidence import LikelyRelevant
from tasks.sql import run
from tasks.store.tables import read_parts

# What a threshold on a measure is as a recipe's setting.
_SETTINGS = {
    "likely_relevance": "{{name: hardmine, ceiling: {0:.3g}}}",
    "teacher_sigmoid": "{{name: rocketqa, ceiling: {0:.3g}}}",
    "dense_score_ratio": "{{name: nv-retriever, percentage: {0:.3g}}}",
    "dense_score_margin": "{{name: nv-retriever, method: margin-pos, margin: {1:.3g}}}",
    "dense_score": "{{name: nv-retriever, method: absolute, max_score: {0:.3g}}}",
}
_ADVISED = (
    "likely_relevance",
    "label_evidence",
    "teacher_calibrated",
    "teacher_sigmoid",
    "dense_score_ratio",
    "dense_score_margin",
    "dense_score",
)


@dataclass(frozen=True)
class AdviceRequest:
    """What threshold is looked for.

    Args:
        columns: measures to look at; none: those that the round has a score for.
        rate: of false negatives, 0 … 1.
        truth: exhaustive judgements, or none.
        min_yield: share of queries that must keep enough negatives.
        features: feature stages whose columns are looked at too.
        split: as :class:`flows.compare.CompareRequest` has it.
    """

    rate: float
    columns: Sequence[str] = ()
    truth: Truth | None = None
    min_yield: float = 0.95
    num_negatives: int | None = None
    features: Sequence[str] = ("evidence",)
    split: str = ""


def find_threshold(context: Context, record: RoundRecord, request: AdviceRequest) -> tuple[list[YieldCurve], list[Advice], Tuning]:
    """For each measure, how many negatives remain under which rate, and the threshold for the wanted one; and on which queries.

    Raises:
        UsageError: there is no such measure or split, or the round's candidates are partial.
        InputError: the truth is of another collection, or judges none of these queries.
    """
    table, facts = stored_table(context.storage, record), stored_facts(record, request.num_negatives)
    if table.is_partial:
        raise UsageError(
            f"round {record.dataset}/{record.number}: its teacher scored a part of the candidates (teacher.lazy), and a threshold is read "
            "from all of them",
            "mine with teacher.lazy: false: pairs that were scored are reused",
        )
    scored = read_parts(context.storage, table.scored, "scored.parquet")
    for manifest in compute_features(context, table, {name: {} for name in request.features}).values():
        joined = read_parts(context.storage, manifest.parts, "features.parquet")
        for name in joined.column_names:
            scored = scored.append_column(name, joined[name])
    if "label_evidence" in scored.column_names:
        relevance = LikelyRelevant(on_null="keep").relevance()
        scored = run(f"SELECT *, ({relevance})::FLOAT AS likely_relevance FROM scored ORDER BY query_id, doc_id", {"scored": scored})
    looked = tuned_on(context.storage, table.queries, request.split, request.truth, scored)
    record_reading(context.storage, record, looked)
    scored = looked.of(scored)
    known = measures(scored)
    for column in request.columns:
        if column not in known:
            raise UsageError(f"there is nothing called {column!r} to set a threshold on", nearest(column, known))
    columns = request.columns or [name for name in _ADVISED if name in known and scored[_base(name)].null_count < scored.num_rows]
    settings = YieldSettings(num_negatives=facts.num_negatives, depth=int(table.depths["dense"]))
    curves = [yield_curve(scored, column, settings, truth=looked.truth, groups=looked.groups) for column in columns]
    return curves, [_as_setting(advise(line, request.rate, request.min_yield)) for line in curves], looked


def _as_setting(advice: Advice) -> Advice:
    """The same, with the recipe's setting that the threshold stands for."""
    if advice.threshold is None or advice.column not in _SETTINGS:
        return advice
    setting = _SETTINGS[advice.column].format(advice.threshold, -advice.threshold)
    return advice.model_copy(update={"statement": f"{advice.statement}. Setting: recipe: {setting}"})


def _base(measure_name: str) -> str:
    return measure_name.removesuffix("_ratio").removesuffix("_margin")
