"""The snapshot's tables and views: what each and its columns mean."""

from __future__ import annotations

import re

from tasks.audit.asked import ASKED_COLUMNS, ASKED_IN_TABLE, ASKED_TABLES
from tasks.audit.staleness import STALENESS_COLUMNS, STALENESS_IN_TABLE, STALENESS_TABLES
from tasks.audit.trained import CHECKPOINT_COLUMNS, CHECKPOINT_IN_TABLE, CHECKPOINT_TABLES
from tasks.calibration import ON_LABELS

TABLES = {
    "rounds": "One row for each selection of each round: what was mined, by which recipe, how much of it.",
    "stages": "One row for each stage of a round: what it wrote and what it cost.",
    "outlays": "What each stage was planned to take and took, in the run that made a round; no rows where nothing was planned.",
    "candidates": "Query-document pairs of each round: rank and score from each source, the teacher's scores. Better is higher.",
    "decisions": "What each selection decided about each candidate, and every reason that applied.",
    "decision_counts": "Exact number of decisions of each kind, also where pairs were sampled.",
    "rejections": "Exact number of rejected candidates by reason, also where pairs were sampled.",
    "rejected_input": "Lines of the sources that were set aside, and why.",
    "rows": "Training rows: the positive in slot 0, then its negatives, hardest first.",
    "rejections_by_reason": "Why candidates were rejected, most frequent reason first.",
    "cost_by_stage": "Seconds, model calls and cache hits of each stage; 0 seconds where an earlier round had done it.",
    "yield": "Share of queries whose training rows all have as many negatives as were asked for.",
    "false_negatives": "Rates of false negatives of each selection, by estimator and slice of the queries, with intervals.",
    "calibration": "How well the teacher's probabilities fit: one row a bin of each fit, with the figures of the whole fit beside it.",
    "review_check": "How many negatives the calibrated teacher expects to be relevant, beside how many reviewers found, by selection.",
    "suspect_zeros": "Documents that are labelled as not relevant and look relevant: some such labels are wrong.",
    "hardness": "Histograms of each selection: pairs of each kind by score.",
    "suspected": "Negatives in training files that are likely relevant, by selection: the first truth.suspects (200) of each; "
    "suspects(round, n) gives them by round.",
    "slices": "Yield and hardness of each selection by slices of the queries.",
    "query_difficulty": "How each query's positives rank, and what negatives each selection gave it. Exact, also where pairs were sampled.",
    "hubs": "Of how many queries each document is a negative, by selection.",
    "overlap": "How far two selections of a dataset agree: all pairs within a round, and each recipe with its next round.",
    "promotions": "Pseudo-positives that became labels of later rounds: which independent signals agreed, and what each of them said.",
    **STALENESS_TABLES,
    **CHECKPOINT_TABLES,
    **ASKED_TABLES,
}

COLUMNS = {
    "dataset": "Name of the dataset.",
    "round": "Number of the round within its dataset, from 1.",
    "candidate_set_id": "Key of the scored candidates: the same for all selections of a round.",
    "selection_id": "Key of the selection: candidates, recipe and seed.",
    "recipe": "Name of the recipe.",
    "created": "When the round was first published (UTC).",
    "documents": "Documents in the dataset.",
    "queries": "Queries in the dataset.",
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
    "planned_seconds": "Seconds of computing as they were planned; NULL: the stage was not.",
    "planned_calls": "Inputs that a model was to be run on; NULL: not planned.",
    "planned_bytes": "Bytes that were to be written; NULL: not planned.",
    "model_calls": "Inputs that a model was run on.",
    "cache_hits": "Inputs whose result was there already.",
    "reused": "Whether an earlier round had done this stage.",
    "estimator": "What the rate rests on: planted_survival, planted_survival_weighted (no rates), planted, judged, review, review_design "
    "(the sample alone, without the teacher's help), calibrated_teacher; in_batch_pairs and "
    "in_batch_rows are counted, …_estimated by similarity on a review, …_by_labels as if labels were a random draw.",
    "slice": "What the queries are sliced by; all: not sliced. For in-batch rates: batch_size. Of planted_survival also rank × score: "
    "strata of planted pairs by dense rank and the teacher's score, as the weighted survival has them.",
    "value_of_slice": "Which slice; empty for all. Of rank × score as in 'rank ≤ 2, score ≥ 0.8'; of more than two that were merged, the "
    "first … the last.",
    "rate": "Share of negatives (in_batch_rows…: of rows) that are relevant; survival: share of planted positives that would be emitted.",
    "low": "Lower end of the interval.",
    "high": "Upper end of the interval.",
    "level": "Confidence of the interval, as 0.95.",
    "small": "Whether it rests on fewer than 30 queries.",
    "note": "What else is to be said.",
    "bin": "Number of the bin; NULL: there is no fit.",
    "predicted": "Mean probability in the bin.",
    "observed": "Share of the bin that is relevant.",
    "auc": "Chance that a relevant pair scores above another.",
    "brier": "Mean squared distance of probability and label.",
    "ece": "Mean distance of predicted and observed over the bins.",
    "source": "Where it is from.",
    "calibration": "What the teacher's probabilities were fitted on: held-out labels, or the review (out of fold).",
    "emitted": "Negatives that the reviewed ones stand for: inverse probabilities of being drawn, summed.",
    "expected": "Relevant negatives among them as the teacher expects them.",
    "best_positive": "Dense score of the query's best positive; NULL: none.",
    "why": "rank: among the first ranks; above positives: a higher score than every positive of the query; or both.",
    "verdict": "Whether the teacher can tell relevant from not: can tell, cannot tell, unknown, too few labels.",
    "score": "The column whose values are binned.",
    "kind": "positive, negative, rejected, suspect (rejected as likely relevant) or planted.",
    "probability": "Probability that the document is relevant, by the basis; NULL: it gives none. Of the basis calibrated: by the teacher, "
    f"{ON_LABELS}.",
    "basis": "What the pair is suspected for: review, calibrated, label_evidence, teacher, dense ratio.",
    "suspicion": "The basis' own value: higher is more suspicious; values of different bases do not compare.",
    "place": "Place in the selection's list, the most suspicious first.",
    "best_positive_rank": "Dense rank of the query's best positive; NULL: none was retrieved.",
    "best_positive_score": "Dense score of the query's best positive; NULL: it has none.",
    "candidates_above": "Candidates that are no known positives with a higher dense score than the best positive.",
    "negatives": "Negatives that the query got.",
    "mean_negative_score": "Mean dense score of the negatives.",
    "rejected_share": "Share of the decisions, positives aside, that are rejections.",
    "number": "Number of the promotion within its dataset, from 1.",
    "withdrawn": "When it was withdrawn (UTC); NULL: it stands.",
    "signals": "The signals that spoke for the pair: teacher, label_evidence, review, second_teacher; or judge, alone.",
    "teacher_probability": "The teacher's calibrated probability; NULL: none.",
    "teacher_margin": "The teacher's logit less that of the query's weakest positive; NULL: none.",
    "label_evidence": "What neighbouring labels say: 0 unrelated, 1 as alike as two halves of one answer.",
    "second_score": "Score by a second teacher; NULL: none was given.",
    "provenance": "Where the label is from; NULL: the source's own, or none; reviewed (also what is not relevant) or promoted.",
    "other_round": "Round of the other selection.",
    "other_recipe": "Recipe of the other selection.",
    "other_selection_id": "Key of the other selection.",
    "mean_jaccard": "Mean over queries: negatives in both selections by negatives in either.",
    "shared_pairs": "Pairs that are negatives in both selections.",
    **STALENESS_COLUMNS,
    **CHECKPOINT_COLUMNS,
    **ASKED_COLUMNS,
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
    "teacher_calibrated": f"The teacher's score as a probability that the document is relevant, {ON_LABELS}.",
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
    "share": "Share.",
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

# Columns that mean something else in one table.
_IN_TABLE = {
    ("outlays", "seconds"): "Seconds of computing in that run, summed over partitions; 0: it was cached.",
    ("outlays", "bytes"): "Bytes written in that run.",
    ("rejections", "reason"): "Why candidates were rejected: one of the reasons that applied.",
    ("rejections_by_reason", "reason"): "Why candidates were rejected: one of the reasons that applied.",
    ("rejected_input", "reason"): "Why the line was set aside.",
    ("yield", "queries"): "Queries that have training rows.",
    ("yield", "share"): "Share of the queries that are served.",
    ("rejections_by_reason", "share"): "Share of the selection's rejections, by first reason.",
    ("false_negatives", "pairs"): "Pairs that the estimate rests on: planted, judged, reviewed or emitted.",
    ("false_negatives", "queries"): "Queries that the estimate rests on.",
    ("hardness", "low"): "Lower edge of the bin.",
    ("hardness", "high"): "Upper edge of the bin.",
    ("hardness", "pairs"): "Pairs of the kind in the bin.",
    ("review_check", "pairs"): "Reviewed negatives of the selection with a sure answer and a score.",
    ("review_check", "observed"): "Relevant negatives among them as reviewers found them.",
    ("review_check", "low"): "Lower end of the interval of what was found.",
    ("review_check", "high"): "Upper end of the interval of what was found.",
    ("review_check", "brier"): "Mean squared distance of probability and reviewed label.",
    ("calibration", "selection_id"): "Whose review it was fitted on; NULL: the round's fit on labels.",
    ("calibration", "recipe"): "Of the selection whose review it was fitted on; NULL: the round's fit on labels.",
    ("calibration", "source"): "What the calibration was fitted on, and whether its sums are counts.",
    ("calibration", "pairs"): "Labelled pairs in the bin.",
    ("calibration", "weight"): "Share of the pairs by weight.",
    ("hubs", "queries"): "Queries that have the document as a negative in a training row.",
    ("overlap", "queries"): "Queries with a negative in either selection.",
    ("overlap", "share"): "Share of the selection's negatives that are negatives of the other too.",
    ("slices", "queries"): "Queries with a training row.",
    ("slices", "served"): "Share of them whose rows all have their negatives.",
    ("slices", "hardness"): "Mean dense score of the negatives.",
    ("slices", "negatives"): "Negatives in all.",
    ("query_difficulty", "negatives"): "Different documents that are negatives of the query.",
    ("promotions", "round"): "The round whose candidates they are; they are labels of later rounds.",
    ("promotions", "created"): "When the pairs were promoted (UTC).",
    ("promotions", "score"): "What the best of a query were taken by: the teacher's logit, else the second score, else the evidence.",
    **STALENESS_IN_TABLE,
    **CHECKPOINT_IN_TABLE,
    **ASKED_IN_TABLE,
}


def column_comment(name: str, table: str = "") -> str:
    """What a column means, of a table if it is given.

    >>> column_comment("bm25_rank")
    'Rank in the source bm25, from 1; NULL: not retrieved by it.'
    """
    if (table, name) in _IN_TABLE or name in COLUMNS:
        return _IN_TABLE.get((table, name)) or COLUMNS[name]
    for pattern, comment in _PATTERNS:
        if pattern.match(name):
            return pattern.sub(comment, name)
    return "A feature of the pair."
