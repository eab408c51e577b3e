"""The tables' columns: names here are the contract between stages, audits and users.

Scores are float32 and higher means more similar, for every source and teacher. A rank starts at 1 and is NULL where
that source did not retrieve the document. Ties in a rank are broken by document id.
"""

from __future__ import annotations

import pyarrow as pa

DOCS = pa.schema(
    [
        ("doc_id", pa.string()),  # the user's
        ("title", pa.string()),
        ("text", pa.string()),
        ("group_id", pa.string()),  # parent document, or NULL
        ("language", pa.string()),  # a code, or NULL
        ("position", pa.int64()),  # place in the source, from 0
        ("input_hash", pa.string()),  # of the exact title and text
        ("norm_hash", pa.string()),  # of the normalised text
    ]
)

QUERIES = pa.schema(
    [
        ("query_id", pa.string()),
        ("text", pa.string()),
        ("answers", pa.list_(pa.string())),
        ("group", pa.string()),
        ("split", pa.string()),
        ("language", pa.string()),  # a code, or NULL
        ("position", pa.int64()),
        ("input_hash", pa.string()),
        ("norm_hash", pa.string()),
    ]
)

#: what the ids of documents and queries that a language model wrote begin with; no document of a user's own may
SYNTHETIC = "synthetic:"

#: provenance of labels that are not the source's own: people's, and pseudo-positives on which independent signals agree
REVIEWED, PROMOTED = "reviewed", "promoted"

QRELS = pa.schema(
    [
        ("query_id", pa.string()),
        ("doc_id", pa.string()),
        ("relevance", pa.int32()),
        ("fold", pa.int32()),  # 0 … 99, hash of (seed, query, doc)
        ("doc_partition", pa.int32()),
        ("doc_row", pa.int64()),
        ("provenance", pa.string()),  # NULL: the source's own; reviewed | promoted
    ]
)

# Pseudo-positives that became labels: the signals that agreed, and what each of them said.
PROMOTIONS = pa.schema(
    [
        ("query_id", pa.string()),
        ("doc_id", pa.string()),
        ("score", pa.float64()),  # by which the best of a query were taken
        ("signals", pa.list_(pa.string())),  # teacher, label_evidence, review, second_teacher: those over their thresholds, sorted; judge
        ("teacher_probability", pa.float64()),  # calibrated; NULL: none
        ("teacher_margin", pa.float64()),  # logit less that of the query's weakest positive; NULL: none
        ("label_evidence", pa.float64()),
        ("second_score", pa.float64()),
    ]
)

# What judges said of mined negatives.
JUDGEMENTS = pa.schema(
    [
        ("query_id", pa.string()),
        ("doc_id", pa.string()),
        ("relevance", pa.float32()),  # 0 … 1, by the judge that decided; NULL: nobody answered
        ("decided_by", pa.string()),  # cheap | strong; empty: nobody
        ("cheap", pa.float32()),  # NULL: not asked, refused or malformed
        ("strong", pa.float32()),
        ("reason", pa.string()),  # the deciding judge's words
    ]
)

REJECTED_INPUT = pa.schema(
    [
        ("file", pa.string()),
        ("line", pa.int64()),
        ("reason", pa.string()),
        ("content", pa.string()),  # the first 200 characters
    ]
)

RETRIEVED = pa.schema(
    [
        ("query_row", pa.int64()),  # row of the query in its partition
        ("doc_row", pa.int64()),  # row of the document in the part that was searched
        ("score", pa.float32()),
    ]
)

CANDIDATE_BASE = [
    ("query_id", pa.string()),
    ("doc_id", pa.string()),
    ("query_row", pa.int64()),
    ("doc_partition", pa.int32()),
    ("doc_row", pa.int64()),
    ("relevance", pa.int32()),  # NULL: unlabelled
    ("is_positive", pa.bool_()),  # relevance reaches positive_min_grade, and it is not planted
    ("planted", pa.bool_()),  # a positive that is hidden from all but the measuring of survival
    ("provenance", pa.string()),  # of the label; NULL: the source's own, or none; reviewed (also trusted zeros) | promoted
    ("query_hash", pa.string()),  # input_hash of the query
    ("doc_hash", pa.string()),  # input_hash of the document
]


def candidates(sources: list[str]) -> pa.Schema:
    """Candidates of one round: the base columns, then rank and score of each source.

    ``dense_score`` is filled in every row; other scores only where their source retrieved the document.
    """
    columns = list(CANDIDATE_BASE)
    for source in sources:
        columns += [(f"{source}_rank", pa.int32()), (f"{source}_score", pa.float32())]
    return pa.schema(columns)


PAIRS = pa.schema([("query_hash", pa.string()), ("doc_hash", pa.string()), ("logit", pa.float32())])

FEATURES = [
    ("copy_of", pa.string()),  # 'query', 'positive', or NULL: exact copy of one of them
    ("norm_copy_of", pa.string()),  # the same by normalised text
    ("fixed_score", pa.float32()),  # cosine of query and document under the fixed encoder; NULL without one
    ("positive_similarity", pa.float32()),  # largest cosine with a positive under the fixed encoder; NULL without one
]

# What feature stages give, row by row beside the scored table. A selection joins only those that its recipe asks for.
OPTIONAL_FEATURES: dict[str, list[tuple[str, pa.DataType]]] = {
    "containment": [("positive_containment", pa.float32())],  # largest estimated shingle containment with a positive; 0 … 1
    "positive-score": [("positive_document_score", pa.float32())],  # largest similarity with a positive under the retriever
    "clusters": [
        ("document_cluster", pa.int32()),
        ("query_cluster", pa.int32()),
        ("in_positive_cluster", pa.bool_()),  # the document's cluster is that of one of the query's positives
    ],
    "answers": [("answer_match", pa.bool_())],  # the document contains an answer; NULL: the query has none
    "context": [
        ("group_id", pa.string()),  # parent document, or NULL
        ("group_position", pa.int64()),  # place among the documents of the source
        ("in_positive_group", pa.bool_()),  # same parent as a positive; NULL: no parent is known
    ],
    "duplicates": [("duplicate_cluster", pa.int64())],  # equal for documents that are near copies of each other, directly or in a chain
    "size": [("doc_tokens", pa.int32()), ("doc_language", pa.string()), ("query_language", pa.string())],
    "rank-weights": [("rance_weight", pa.float32())],  # RANCE's weight of the document's dense rank
    "evidence": [("label_evidence", pa.float32())],  # what neighbouring labels say for relevance
    "judged": [
        ("judge_relevance", pa.float32()),  # 0 … 1, by a judge; NULL: not judged
        ("judged_by", pa.string()),  # cheap | strong
    ],
}

TEACHER = [
    ("teacher_logit", pa.float32()),  # NULL: not scored
    ("teacher_sigmoid", pa.float32()),
    ("teacher_calibrated", pa.float32()),
]

# Of an ensemble of teachers alone: the standard deviation of their logits, of which teacher_logit is the mean.
DISAGREEMENT = ("teacher_disagreement", pa.float32())

STATISTICS = ("min", "mean", "max")


def scored(sources: list[str], ensemble: bool = False) -> pa.Schema:
    """The scored table: candidates, features, teacher's scores, and positive_* for each score column; ``ensemble``: of several teachers."""
    base = list(candidates(sources))
    columns = [*base, *(pa.field(*feature) for feature in FEATURES), *(pa.field(*teacher) for teacher in TEACHER)]
    for score in score_columns(sources):
        columns += [pa.field(f"positive_{score}_{statistic}", pa.float32()) for statistic in STATISTICS]
    return pa.schema([*columns, pa.field(*DISAGREEMENT)] if ensemble else columns)


def score_columns(sources: list[str]) -> list[str]:
    """The columns that rules may compare: each source's score, then the teacher's."""
    return [f"{source}_score" for source in sources] + [name for name, _ in TEACHER]


DECISIONS = pa.schema(
    [
        ("selection_id", pa.string()),
        ("stage", pa.string()),
        ("query_id", pa.string()),
        ("doc_id", pa.string()),
        ("positive_id", pa.string()),  # NULL unless the recipe decides for each positive apart
        ("decision", pa.string()),  # negative | positive | pseudo_positive | rejected | not_drawn | unscored
        ("reason", pa.string()),  # the first of reasons
        ("reasons", pa.list_(pa.string())),
        ("survivor_rank", pa.int32()),
        ("draw", pa.string()),
        ("slot", pa.int32()),  # place among the query's negatives, hardest first
        ("label", pa.float32()),
        ("weight", pa.float32()),
    ]
)

ROWS = pa.schema(
    [
        ("selection_id", pa.string()),
        ("stage", pa.string()),
        ("epoch", pa.int32()),
        ("row_no", pa.int64()),
        ("query_id", pa.string()),
        ("positive_id", pa.string()),
        ("slot", pa.int32()),  # 0: the positive itself; 1 …: negatives
        ("doc_id", pa.string()),
        ("label", pa.float32()),
        ("weight", pa.float32()),
        ("query_row", pa.int64()),
        ("doc_partition", pa.int32()),
        ("doc_row", pa.int64()),
    ]
)

# What stage ``probe`` says of each planted positive that some source retrieved, by recipe.
PROBES = pa.schema(
    [
        ("query_id", pa.string()),
        ("doc_id", pa.string()),
        ("dense_rank", pa.int32()),
        ("dense_score", pa.float32()),
        ("teacher_logit", pa.float32()),
        ("emitted", pa.bool_()),  # the recipe would have trained with it as a negative
        ("reason", pa.string()),  # of the decision
    ]
)

# What stage ``measure`` says of one selection: rates of false negatives, by estimator and slice of the queries.
ESTIMATES = pa.schema(
    [
        # planted_survival, planted_survival_weighted, planted, judged, review, review_design, calibrated_teacher
        ("estimator", pa.string()),
        ("slice", pa.string()),  # all, or as in positives
        ("value_of_slice", pa.string()),  # as in 2; empty for all
        ("rate", pa.float64()),  # survival estimators: share of planted positives emitted; the others: share of negatives that are relevant
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("level", pa.float64()),
        ("pairs", pa.int64()),  # that the estimate rests on: planted, judged, reviewed or emitted
        ("queries", pa.int64()),
        ("small", pa.bool_()),  # fewer than 30 queries
        ("note", pa.string()),
    ]
)

# Histograms of a selection: pairs by kind within equal-width bins of a score.
HISTOGRAM = pa.schema(
    [
        ("score", pa.string()),  # dense_score, teacher_logit, label_evidence …
        ("kind", pa.string()),  # positive | negative | rejected | suspect (rejected as likely relevant) | planted
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("pairs", pa.int64()),
    ]
)

# How well a calibration's probabilities fit: one bin a row.
RELIABILITY = pa.schema(
    [
        ("bin", pa.int32()),
        ("predicted", pa.float64()),
        ("observed", pa.float64()),
        ("pairs", pa.int64()),
        ("weight", pa.float64()),
    ]
)

# What stage ``staleness-summary`` says of earlier rounds' negatives under a later checkpoint.
STALENESS = pa.schema(
    [
        ("from_round", pa.int32()),  # whose negatives
        ("selection_id", pa.string()),
        ("recipe", pa.string()),
        ("age", pa.int32()),  # trainings between the two checkpoints
        ("steps", pa.int64()),  # steps of those trainings; NULL: not known
        ("trained_on", pa.bool_()),  # whether trainings behind the later checkpoint took this selection's rows; NULL: not known
        ("cohort", pa.string()),  # trained | control (queries never trained on) | difference (trained − control)
        ("measure", pa.string()),  # loss_share, rank_percentile, easy_share, overlap, retired …
        ("value", pa.float64()),  # mean over queries; a count for retired, newly_hard, gone
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("level", pa.float64()),
        ("at_first", pa.float64()),  # the same queries' value under the earlier round's own checkpoint
        ("agreement_floor", pa.float64()),  # overlap that search errors and seeds alone would leave
        ("queries", pa.int64()),
        ("negatives", pa.int64()),
    ]
)
