"""Staleness in the snapshot: what later rounds' checkpoints say of earlier rounds' negatives, and views that read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks import schema
from tasks.audit.records import RoundRecord
from tasks.audit.source import create, files_of, parts_with
from tasks.sql import quote_identifier
from tasks.store.manifest import read_stage
from tasks.store.storage import Storage

if TYPE_CHECKING:
    from tasks.sql import DuckDBPyConnection

STALENESS = pa.schema([("dataset", pa.string()), ("under_round", pa.int32()), *schema.STALENESS])

_FILE = "summary.parquet"
_KEYS = "dataset, from_round, under_round, selection_id, recipe, age, steps, trained_on"


def fill_staleness(database: DuckDBPyConnection, storage: Storage, rounds: Sequence[RoundRecord]) -> None:
    """Create the table ``staleness``: empty where no later checkpoint looked back, or its files are gone."""
    queries = []
    for record in rounds:
        manifest = read_stage(storage, record.staleness.stage, record.staleness.key) if record.staleness else None
        parts = parts_with(manifest.parts if manifest else (), _FILE)
        if parts:
            queries.append(f"SELECT *, round AS under_round FROM ({files_of(storage, record, parts, _FILE).sql()})")
    create(database, "staleness", STALENESS, queries, only=True)


def _cell(measure: str, column: str, cohort: str) -> str:
    return f"max({quote_identifier(column)}) FILTER (measure = '{measure}' AND cohort = '{cohort}')"


def _both(measure: str, name: str) -> str:
    """A measure of trained queries and of the control."""
    return ", ".join(
        f"{_cell(measure, 'value', cohort)} AS {name}{ending}" for cohort, ending in (("trained", ""), ("control", "_control"))
    )


def _count(measure: str) -> str:
    return f"(sum(value) FILTER (measure = '{measure}'))::BIGINT AS {measure}"


_MEMORISED = """(1 - loss_share / nullif(loss_share_at_first, 0)) - (1 - loss_share_control / nullif(loss_share_control_at_first, 0))"""

_BY_ROUND = f"""
SELECT *, 1 - loss_share / nullif(loss_share_at_first, 0) AS lost,
  1 - loss_share_control / nullif(loss_share_control_at_first, 0) AS lost_control,
  CASE WHEN trained_on IS NOT FALSE THEN {_MEMORISED} END AS memorised,
  easy_share - easy_share_at_first AS became_easy, easy_share_control - easy_share_control_at_first AS became_easy_control,
  agreement_floor - overlap AS overlap_less_floor, agreement_floor - rank_biased_overlap AS rank_biased_overlap_less_floor
FROM (
  SELECT {_KEYS},
    {_both("loss_share", "loss_share")}, {_cell("loss_share", "at_first", "trained")} AS loss_share_at_first,
    {_cell("loss_share", "at_first", "control")} AS loss_share_control_at_first,
    {_both("rank_percentile", "rank_percentile")}, {_both("easy_share", "easy_share")},
    {_cell("easy_share", "at_first", "trained")} AS easy_share_at_first,
    {_cell("easy_share", "at_first", "control")} AS easy_share_control_at_first,
    {_both("legacy_easy_share", "legacy_easy_share")}, {_both("teacher_agreement", "teacher_agreement")},
    {_both("overlap", "overlap")}, {_both("rank_biased_overlap", "rank_biased_overlap")},
    max(agreement_floor) AS agreement_floor,
    {_count("retired")}, {_count("newly_hard")}, {_count("gone")},
    max(negatives) FILTER (measure = 'gone' AND cohort = 'trained') AS negatives_trained,
    max(negatives) FILTER (measure = 'gone' AND cohort = 'control') AS negatives_control
  FROM staleness GROUP BY ALL)
ORDER BY dataset, from_round, recipe, selection_id, under_round"""

_HALF_LIFE = """
WITH shares AS (
  SELECT dataset, from_round, under_round, selection_id, recipe, age, steps, cohort, 'loss_share' AS measure, value, at_first
  FROM staleness WHERE measure = 'loss_share' AND cohort <> 'difference'
  UNION ALL
  SELECT dataset, from_round, under_round, selection_id, recipe, age, steps, cohort, 'hard_share', 1 - value, 1 - at_first
  FROM staleness WHERE measure = 'easy_share' AND cohort <> 'difference'),
numbered AS (
  SELECT *, row_number() OVER (PARTITION BY dataset, from_round, selection_id, cohort, measure, age ORDER BY under_round) AS again,
    row_number() OVER (PARTITION BY dataset, from_round, selection_id, cohort, measure ORDER BY under_round) AS place
  FROM shares),
points AS (
  SELECT dataset, from_round, selection_id, recipe, cohort, measure, age, steps, value FROM numbered WHERE again = 1
  UNION ALL
  SELECT dataset, from_round, selection_id, recipe, cohort, measure, 0, 0, at_first FROM numbered WHERE place = 1),
fitted AS (
  SELECT dataset, from_round, selection_id, recipe, cohort, measure, count(*) AS points,
    max(value) FILTER (age = 0) AS at_first, max_by(value, age) AS latest,
    -regr_slope(ln(value), age) AS decay, -regr_slope(ln(value), steps) AS decay_by_steps,
    count(DISTINCT age) AS ages, count(DISTINCT steps) AS lengths
  FROM points WHERE value > 0 GROUP BY ALL)
SELECT dataset, from_round, recipe, selection_id, cohort, measure, points, at_first, latest,
  CASE WHEN ages > 1 AND decay > 0 THEN ln(2) / decay END AS half_life_rounds,
  CASE WHEN lengths > 1 AND decay_by_steps > 0 THEN ln(2) / decay_by_steps END AS half_life_steps
FROM fitted ORDER BY dataset, from_round, recipe, selection_id, cohort DESC, measure DESC"""

STALENESS_VIEWS = {"staleness_by_round": _BY_ROUND, "half_life": _HALF_LIFE}

STALENESS_TABLES = {
    "staleness": "What a later round's checkpoint makes of an earlier round's negatives, by cohort of queries and measure, with intervals; "
    "empty where no later checkpoint looked back.",
    "staleness_by_round": "The same, one row for each earlier selection and later round: trained queries, and the control beside them.",
    "half_life": "How fast negatives lose their loss share, or their hardness: ln 2 / b of the fit a · exp(−b · age).",
}

_OF_CONTROL = "The same of queries that no checkpoint was trained on."

STALENESS_COLUMNS = {
    "from_round": "Round whose negatives are looked at.",
    "under_round": "Later round whose checkpoint looks at them.",
    "age": "Trainings between the two rounds' checkpoints.",
    "steps": "Training steps between the two checkpoints; NULL: not known.",
    "trained_on": "Whether a training behind the later checkpoint took this selection's rows; NULL: not known.",
    "cohort": "trained: queries that checkpoints are trained on; control: never trained on; difference: trained less control.",
    "measure": "loss_share: softmax mass of a training row's negatives, the gradient that is left. rank, rank_percentile: among all "
    "documents; percentiles from 0 (nearest) to 100. easy_share: below the positive by more than the margin. legacy_easy_share: "
    "similarity under 0.3. teacher_agreement: Spearman's correlation with the teacher. overlap, rank_biased_overlap: of both rounds' "
    "candidates. retired, newly_hard, gone: counts.",
    "value": "Mean over queries (of trained less of control for difference); a sum for counts.",
    "at_first": "The same queries' value under the earlier round's own checkpoint.",
    "agreement_floor": "Overlap that would be left if only search errors and seeds told the two rounds apart; 1: both searches are exact.",
    "loss_share": "Softmax mass of the negatives at the training's temperature: the gradient that is left.",
    "loss_share_at_first": "The loss share under the earlier round's own checkpoint.",
    "loss_share_control_at_first": "The control's loss share under the earlier round's own checkpoint.",
    "lost": "Share of the loss share at first that is lost.",
    "lost_control": "Share of the control's loss share at first that is lost.",
    "memorised": "lost − lost_control: what training on these very queries took besides making the model better; NULL: these rows were not "
    "trained on.",
    "rank_percentile": "Mean percentile of the negatives' present ranks among all documents: 0 nearest, 100 farthest.",
    "easy_share": "Share of the negatives that are below their positive by more than the margin.",
    "easy_share_at_first": "The easy share under the earlier round's own checkpoint: what was easy when it was mined.",
    "easy_share_control_at_first": "The control's easy share under the earlier round's own checkpoint.",
    "became_easy": "easy_share − easy_share_at_first: the share that became easy, less what became hard again.",
    "became_easy_control": "The same of queries that no checkpoint was trained on.",
    "overlap_less_floor": "agreement_floor − overlap: the change of the candidates that errors of the searches and seeds do not explain.",
    "rank_biased_overlap_less_floor": "agreement_floor − rank_biased_overlap; for this measure the floor is a stand-in.",
    "legacy_easy_share": "Share of the negatives with a similarity under 0.3: a legacy figure, meaningless for anisotropic models.",
    "teacher_agreement": "Spearman's correlation of similarity and teacher's logit over a query's negatives, mean over queries.",
    "rank_biased_overlap": "Rank-biased overlap of both rounds' candidates.",
    **{
        f"{name}_control": _OF_CONTROL
        for name in (
            "loss_share",
            "rank_percentile",
            "easy_share",
            "legacy_easy_share",
            "teacher_agreement",
            "overlap",
            "rank_biased_overlap",
        )
    },
    "retired": "Negatives that the later round's selection no longer emits.",
    "newly_hard": "Negatives of the later round's selection that the earlier one did not emit.",
    "gone": "Negatives whose document no longer exists.",
    "negatives_trained": "Negatives of trained queries, each document once a query.",
    "negatives_control": "Negatives of the control's queries, each document once a query.",
    "points": "Different ages that the fit rests on, the round's own checkpoint (age 0) among them.",
    "latest": "The share at the greatest age.",
    "half_life_rounds": "Trainings after which half is left; NULL: under two points, or no decay.",
    "half_life_steps": "Training steps after which half is left; NULL: under two points, no decay, or steps are not known.",
}

STALENESS_IN_TABLE = {
    ("staleness", "queries"): "Queries that the value rests on.",
    ("staleness", "negatives"): "Negatives of the cohort, each document once a query.",
    ("staleness_by_round", "overlap"): "Share of the earlier round's candidates that are among the later round's.",
    ("half_life", "measure"): "loss_share, or hard_share: 1 − easy_share.",
    ("half_life", "at_first"): "The share under the earlier round's own checkpoint.",
}
