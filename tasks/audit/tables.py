"""The snapshot's tables: what each table and column means, and the SQL of its views and its macro."""

from __future__ import annotations

import re

TABLES = {
    "rounds": "One row for each selection of each round: what was mined, by which recipe, how much of it.",
    "stages": "One row for each stage of a round: what it wrote and what it cost.",
    "candidates": "Query-document pairs of each round: rank and score from each source, the teacher's scores. Better is higher.",
    "decisions": "What each selection decided about each candidate, and every reason that applied.",
    "decision_counts": "Exact number of decisions of each kind, also where pairs were sampled.",
    "rejections": "Exact number of rejected candidates by reason, also where pairs were sampled.",
    "rejected_input": "Lines of the sources that were set aside, and why.",
    "rows": "Training rows: the positive in slot 0, then its negatives, hardest first.",
    "rejections_by_reason": "Why candidates were rejected, most frequent reason first.",
    "cost_by_stage": "Seconds, model calls and cache hits of each stage; 0 seconds where an earlier round had done it.",
    "yield": "Share of queries whose training rows all have as many negatives as were asked for.",
}

COLUMNS = {
    "dataset": "Name of the dataset.",
    "round": "Number of the round within its dataset, from 1.",
    "candidate_set_id": "Key of the scored candidates: the same for all selections of a round.",
    "selection_id": "Key of the selection: candidates, recipe and seed.",
    "recipe": "Name of the recipe.",
    "created": "When the round was first published (UTC).",
    "documents": "Documents in the dataset.",
    "queries": "Queries in the dataset; in yield: queries that have training rows.",
    "candidates": "Candidate pairs of the round.",
    "training_rows": "Lines of training rows of the selection; in why(): training rows that use the pair.",
    "num_negatives": "Negatives asked for in a row; NULL: not recorded.",
    "pairs_here": "Whether the round's pairs are in this snapshot; false: its files are gone.",
    "sampled": "Share of the rejected and undrawn pairs that this snapshot holds; 1: all.",
    "settings": "The round's settings as JSON.",
    "stage": "Stage of the pipeline; in decisions, rows and yield: training stage of the recipe.",
    "key": "Content key of the stage: equal keys are one computation.",
    "partitions": "Partitions of the stage.",
    "rows": "Rows in the stage's files.",
    "bytes": "Bytes in the stage's files.",
    "seconds": "Seconds of computing, summed over partitions.",
    "model_calls": "Inputs that a model was run on.",
    "cache_hits": "Inputs whose result was there already.",
    "reused": "Whether an earlier round had done this stage.",
    "query_id": "The user's id of the query.",
    "doc_id": "The user's id of the document.",
    "relevance": "The label's grade; NULL: unlabelled.",
    "is_positive": "Whether the grade reaches positive_min_grade, and the pair is not planted.",
    "planted": "A positive that is hidden from all but the measuring of survival.",
    "query_hash": "Hash of the query's exact text.",
    "doc_hash": "Hash of the document's exact title and text.",
    "copy_of": "'positive' or 'query' if the document is an exact copy of one.",
    "norm_copy_of": "The same after NFKC, case folding and collapsing of white space.",
    "fixed_score": "Cosine of query and document under a fixed encoder, where the round has one.",
    "positive_similarity": "Largest cosine with a positive under a fixed encoder, where the round has one.",
    "teacher_logit": "The teacher's raw score; NULL: not scored.",
    "teacher_sigmoid": "Sigmoid of the logit, which published thresholds (0.1, 0.9) mean.",
    "teacher_calibrated": "Estimated probability that the document is relevant.",
    "positive_id": "The positive of the row; in decisions NULL unless the recipe decides for each positive apart.",
    "decision": "negative, positive, pseudo_positive, rejected, not_drawn or unscored.",
    "reason": "The first of reasons.",
    "reasons": "All reasons that applied.",
    "survivor_rank": "Place among the candidates that no rule rejected.",
    "draw": "The draw that took the candidate.",
    "slot": "Place in the training row: 0 is the positive, 1 the hardest negative.",
    "weight": "Weight in training.",
    "pairs": "How many pairs.",
    "first_count": "Candidates for which this was the first reason.",
    "any_count": "Candidates for which this was one of the reasons.",
    "share": "Share: of the selection's rejections (by first reason), or of its queries.",
    "file": "The source file.",
    "line": "Line in it, from 1.",
    "content": "The first 200 characters.",
    "epoch": "Epoch for which the rows were drawn.",
    "row_no": "Number of the training row; all its slots have it.",
    "label": "Label in training.",
    "served": "Queries whose rows all have as many negatives as asked for.",
}

_PATTERNS = (
    (re.compile(r"^positive_(.+)_(min|mean|max)$"), r"\2 of \1 over the query's positives."),
    (re.compile(r"^(.+)_rank$"), r"Rank in the source \1, from 1; NULL: not retrieved by it."),
    (re.compile(r"^(.+)_score$"), r"Score from the source \1; NULL: not retrieved by it (dense_score is filled in every row)."),
)

VIEWS = {
    "rejections_by_reason": """
SELECT dataset, round, recipe, selection_id, stage, reason, first_count, any_count,
  first_count / nullif(sum(first_count) OVER (PARTITION BY dataset, round, selection_id, stage), 0) AS share
FROM rejections ORDER BY dataset, round, selection_id, stage, first_count DESC, reason""",
    "cost_by_stage": """
SELECT dataset, round, stage, bool_and(reused) AS reused, sum(CASE WHEN reused THEN 0 ELSE seconds END) AS seconds,
  sum(CASE WHEN reused THEN 0 ELSE model_calls END)::BIGINT AS model_calls, sum(cache_hits)::BIGINT AS cache_hits,
  sum("rows")::BIGINT AS "rows", sum(bytes)::BIGINT AS bytes
FROM (SELECT *, round > min(round) OVER (PARTITION BY dataset, stage, key) AS reused FROM stages)
GROUP BY dataset, round, stage ORDER BY dataset, round, stage""",
    "yield": """
SELECT dataset, round, selection_id, recipe, stage, count(*) AS queries,
  count(*) FILTER (fewest >= asked) AS served, served / queries AS share
FROM (
  SELECT q.*, r.recipe, coalesce(r.num_negatives, max(q.most) OVER (PARTITION BY q.dataset, q.round, q.selection_id, q.stage)) AS asked
  FROM (
    SELECT dataset, round, selection_id, stage, query_id, min(negatives) AS fewest, max(negatives) AS most
    FROM (
      SELECT dataset, round, selection_id, stage, epoch, row_no, query_id, count(*) FILTER (slot > 0) AS negatives
      FROM "rows" GROUP BY ALL)
    GROUP BY ALL) q
  JOIN rounds r USING (dataset, round, selection_id))
GROUP BY dataset, round, selection_id, recipe, stage ORDER BY dataset, round, selection_id, stage""",
}

WHY = """
CREATE MACRO why(query_id, doc_id) AS TABLE
SELECT c.dataset, c.round, r.recipe, d.selection_id, d.stage, d.positive_id, d.decision, d.reason, d.reasons,
  d.survivor_rank, d.draw, d.slot,
  (SELECT count(*) FROM "rows" t
    WHERE t.dataset = c.dataset AND t.round = c.round AND t.selection_id = d.selection_id AND t.stage = d.stage
      AND t.query_id = c.query_id AND t.doc_id = c.doc_id) AS training_rows,
  c.* EXCLUDE (dataset, round, query_id, doc_id)
FROM candidates c
LEFT JOIN decisions d ON d.dataset = c.dataset AND d.round = c.round AND d.query_id = c.query_id AND d.doc_id = c.doc_id
LEFT JOIN rounds r ON r.dataset = c.dataset AND r.round = c.round AND r.selection_id = d.selection_id
WHERE c.query_id = query_id AND c.doc_id = doc_id
ORDER BY c.dataset, c.round, d.selection_id, d.stage, d.positive_id"""

WHY_COMMENT = "One pair's story across rounds and selections: why('query', 'document') gives its ranks, scores, decisions and reasons."


def column_comment(name: str) -> str:
    """What a column means.

    >>> column_comment("bm25_rank")
    'Rank in the source bm25, from 1; NULL: not retrieved by it.'
    """
    if name in COLUMNS:
        return COLUMNS[name]
    for pattern, comment in _PATTERNS:
        if pattern.match(name):
            return pattern.sub(comment, name)
    return "A feature of the pair."
