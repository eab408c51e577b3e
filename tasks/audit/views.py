"""The SQL of the snapshot's counted tables, of its views and of its macros."""

from __future__ import annotations

from tasks.audit.staleness import STALENESS_VIEWS

# Counted tables read every_decision and every_candidate, which hold all pairs, also where the snapshot keeps a sample.
COUNTS = """
SELECT dataset, round, selection_id, $recipe AS recipe, stage, decision, count(*) AS pairs
FROM every_decision GROUP BY ALL ORDER BY ALL"""

REJECTIONS = """
SELECT dataset, round, selection_id, $recipe AS recipe, stage, reason, count(*) FILTER (is_first) AS first_count, count(*) AS any_count
FROM (SELECT dataset, round, selection_id, stage, unnest(reasons) AS reason, unnest(reasons) = d.reason AS is_first
  FROM every_decision d WHERE decision IN ('rejected', 'unscored'))
GROUP BY ALL ORDER BY ALL"""

# Negatives and their candidates are always kept, so they are read from the tables.
DIFFICULTY = """
WITH best AS (
  SELECT dataset, round, query_id, min(dense_rank) FILTER (is_positive) AS positive_rank,
    max(dense_score) FILTER (is_positive) AS positive_score
  FROM every_candidate GROUP BY ALL),
above AS (
  SELECT c.dataset, c.round, c.query_id, count(*) AS found
  FROM every_candidate c JOIN best b ON b.dataset = c.dataset AND b.round = c.round AND b.query_id = c.query_id
  WHERE NOT c.is_positive AND NOT coalesce(c.planted, false) AND c.dense_score > b.positive_score GROUP BY ALL),
decided AS (
  SELECT dataset, round, selection_id, query_id,
    count(*) FILTER (decision IN ('rejected', 'unscored')) / nullif(count(*) FILTER (decision <> 'positive'), 0) AS rejected
  FROM every_decision GROUP BY ALL),
got AS (
  SELECT d.dataset, d.round, d.selection_id, d.query_id, count(*) AS negatives, avg(c.dense_score) AS score
  FROM (SELECT DISTINCT dataset, round, selection_id, query_id, doc_id FROM decisions WHERE decision = 'negative') d
  JOIN candidates c ON c.dataset = d.dataset AND c.round = d.round AND c.query_id = d.query_id AND c.doc_id = d.doc_id
  GROUP BY ALL)
SELECT dataset, round, selection_id, $recipe AS recipe, query_id, positive_rank AS best_positive_rank,
  positive_score AS best_positive_score,
  CASE WHEN positive_score IS NOT NULL THEN coalesce(found, 0) END AS candidates_above,
  coalesce(negatives, 0) AS negatives, score AS mean_negative_score, rejected AS rejected_share
FROM decided JOIN best USING (dataset, round, query_id)
LEFT JOIN above USING (dataset, round, query_id) LEFT JOIN got USING (dataset, round, selection_id, query_id)"""

_OVERLAP = """
WITH negatives AS (SELECT DISTINCT dataset, round, selection_id, query_id, doc_id FROM decisions WHERE decision = 'negative'),
sizes AS (SELECT dataset, round, selection_id, query_id, count(*) AS size FROM negatives GROUP BY ALL),
totals AS (SELECT dataset, round, selection_id, count(*) AS queries, sum(size) AS pairs FROM sizes GROUP BY ALL),
following AS (
  SELECT dataset, recipe, round, lead(round) OVER (PARTITION BY dataset, recipe ORDER BY round) AS next_round
  FROM (SELECT DISTINCT dataset, recipe, round FROM rounds)),
compared AS (
  SELECT a.dataset, a.round, a.selection_id, a.recipe, b.round AS other_round, b.selection_id AS other_selection_id,
    b.recipe AS other_recipe
  FROM rounds a JOIN following f ON f.dataset = a.dataset AND f.recipe = a.recipe AND f.round = a.round
  JOIN rounds b ON b.dataset = a.dataset
  WHERE a.pairs_here AND b.pairs_here
    AND ((b.round = a.round AND (a.recipe < b.recipe OR (a.recipe = b.recipe AND a.selection_id < b.selection_id)))
      OR (b.round = f.next_round AND b.recipe = a.recipe))),
met AS (
  SELECT p.dataset, p.selection_id, p.round, p.other_selection_id, p.other_round, x.query_id, x.size + y.size AS size
  FROM compared p JOIN sizes x ON x.dataset = p.dataset AND x.round = p.round AND x.selection_id = p.selection_id
  JOIN sizes y ON y.dataset = p.dataset AND y.round = p.other_round AND y.selection_id = p.other_selection_id AND y.query_id = x.query_id),
shared AS (
  SELECT p.dataset, p.selection_id, p.round, p.other_selection_id, p.other_round, x.query_id, count(*) AS common
  FROM compared p JOIN negatives x ON x.dataset = p.dataset AND x.round = p.round AND x.selection_id = p.selection_id
  JOIN negatives y ON y.dataset = p.dataset AND y.round = p.other_round AND y.selection_id = p.other_selection_id
    AND y.query_id = x.query_id AND y.doc_id = x.doc_id
  GROUP BY ALL),
added AS (
  SELECT dataset, selection_id, round, other_selection_id, other_round, count(*) AS queries,
    coalesce(sum(common), 0) AS pairs, coalesce(sum(common / (size - common)), 0) AS jaccard
  FROM met LEFT JOIN shared USING (dataset, selection_id, round, other_selection_id, other_round, query_id) GROUP BY ALL)
SELECT p.dataset, p.round, p.recipe, p.other_round, p.other_recipe, p.selection_id, p.other_selection_id,
  (coalesce(t.queries, 0) + coalesce(o.queries, 0) - coalesce(a.queries, 0))::BIGINT AS queries,
  coalesce(a.jaccard, 0) / nullif(coalesce(t.queries, 0) + coalesce(o.queries, 0) - coalesce(a.queries, 0), 0) AS mean_jaccard,
  coalesce(a.pairs, 0)::BIGINT AS shared_pairs, coalesce(a.pairs, 0) / nullif(t.pairs, 0) AS share
FROM compared p LEFT JOIN added a USING (dataset, selection_id, round, other_selection_id, other_round)
LEFT JOIN totals t ON t.dataset = p.dataset AND t.round = p.round AND t.selection_id = p.selection_id
LEFT JOIN totals o ON o.dataset = p.dataset AND o.round = p.other_round AND o.selection_id = p.other_selection_id
ORDER BY p.dataset, p.round, p.recipe, p.other_round, p.other_recipe, p.selection_id, p.other_selection_id"""

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
    "overlap": _OVERLAP,
    **STALENESS_VIEWS,
}

# An unqualified name that is a parameter means the parameter, so columns of the same name are always qualified.
_WHY = """why(query_id, doc_id) AS TABLE
SELECT c.dataset, c.round, r.recipe, d.selection_id, d.stage, d.positive_id, d.decision,
  last_value(d.decision) OVER (PARTITION BY c.dataset, r.recipe, d.stage, d.positive_id ORDER BY c.round
    RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS previous_decision,
  d.reason, d.reasons, d.survivor_rank, d.draw, d.slot, d.label, d.weight,
  (SELECT count(*) FROM "rows" t
    WHERE t.dataset = c.dataset AND t.round = c.round AND t.selection_id = d.selection_id AND t.stage = d.stage
      AND t.query_id = c.query_id AND t.doc_id = c.doc_id) AS training_rows,
  c.* EXCLUDE (dataset, round, query_id, doc_id)
FROM candidates c
LEFT JOIN decisions d ON d.dataset = c.dataset AND d.round = c.round AND d.query_id = c.query_id AND d.doc_id = c.doc_id
LEFT JOIN rounds r ON r.dataset = c.dataset AND r.round = c.round AND r.selection_id = d.selection_id
WHERE c.query_id = query_id AND c.doc_id = doc_id
ORDER BY c.dataset, c.round, r.recipe, d.selection_id, d.stage, d.positive_id"""

# Places tell which basis comes before which; within a basis its values compare, also between selections.
_SUSPECTS = """suspects(round, n) AS TABLE
WITH emitted AS (
  SELECT s.* FROM suspected s
  WHERE s.round = round AND EXISTS (FROM "rows" t WHERE t.slot > 0 AND t.dataset = s.dataset AND t.round = s.round
    AND t.selection_id = s.selection_id AND t.query_id = s.query_id AND t.doc_id = s.doc_id)),
bases AS (
  SELECT dataset, basis, max(first) AS first
  FROM (SELECT dataset, selection_id, basis, min(place) AS first FROM emitted GROUP BY ALL) GROUP BY ALL),
found AS (
  SELECT e.dataset, e.query_id, e.doc_id, e.basis, max(e.suspicion) AS suspicion, max(e.probability) AS probability,
    list(DISTINCT e.recipe ORDER BY e.recipe) AS recipes
  FROM emitted e GROUP BY ALL),
placed AS (
  SELECT f.*, row_number() OVER (
    PARTITION BY f.dataset ORDER BY b.first, f.suspicion DESC NULLS LAST, f.probability DESC NULLS LAST, f.query_id, f.doc_id) AS place
  FROM found f JOIN bases b ON b.dataset = f.dataset AND b.basis = f.basis
  QUALIFY row_number() OVER (PARTITION BY f.dataset, f.query_id, f.doc_id ORDER BY b.first) = 1)
SELECT p.dataset, p.query_id, p.doc_id, p.probability, p.basis, p.suspicion, p.recipes, c.dense_rank, c.dense_score, c.teacher_sigmoid
FROM placed p
LEFT JOIN candidates c ON c.dataset = p.dataset AND c.round = round AND c.query_id = p.query_id AND c.doc_id = p.doc_id
WHERE p.place <= n
ORDER BY p.dataset, p.place"""

MACROS = {
    "why": (
        _WHY,
        "One pair's story across rounds and selections: why('query', 'document') gives its ranks, scores, decisions and reasons.",
    ),
    "suspects": (
        _SUSPECTS,
        "The likeliest false negatives in the training files of a round: suspects(1, 20) gives the first 20 of each dataset. Each "
        "selection lists truth.suspects (200) of them, of queries that may be trained on.",
    ),
}
