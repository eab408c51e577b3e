"""A made-up round that fills every section of a report."""

import math
import random

from tasks.compare.curves import Curve, CurvePoint
from tasks.compare.results import Leak, Measures, Metrics, Overlap, Rate, RecipeOutcome, Spread
from tasks.compare.yields import YieldCurve, YieldPoint
from tasks.report.data import ReportData

# name: hardness, leak, share of queries served, backfill, its setting with values
RECIPES = {
    "top": (0.742, 0.314, 1.0, 0.0, None),
    "in-batch": (0.241, 0.011, 1.0, 0.0, None),
    "dpr": (0.566, 0.142, 0.93, 0.0, None),
    "bm25-static": (0.571, 0.118, 1.0, 0.0, ("depth", (20, 50, 100))),
    "ance": (0.655, 0.187, 1.0, 0.0, ("depth", (50, 100, 200))),
    "star": (0.618, 0.151, 1.0, 0.0, None),
    "nv-retriever": (0.668, 0.121, 0.99, 0.0, ("relative_margin", (0.02, 0.05, 0.1, 0.2))),
    "simans": (0.672, 0.166, 1.0, 0.0, ("a", (0.25, 0.5, 1.0, 2.0))),
    "rocketqa": (0.612, 0.031, 1.0, 0.34, ("negative_ceiling", (0.02, 0.05, 0.1, 0.3))),
    "middle-band": (0.628, 0.067, 0.87, 0.0, ("hi", (0.3, 0.5, 0.7))),
    "skip-n": (0.641, 0.128, 1.0, 0.0, ("n", (5, 10, 20, 30))),
    "bge": (0.598, 0.094, 1.0, 0.05, ("range_min", (5, 10, 30))),
    "tas-balanced": (0.587, 0.083, 1.0, 0.0, None),
    "trisampler": (0.649, 0.139, 0.98, 0.0, ("angle", (30, 60, 90))),
    "query-quantiles": (0.633, 0.104, 1.0, 0.0, ("upper", (0.7, 0.8, 0.9))),
    "hardmine": (0.661, 0.029, 0.99, 0.02, ("ceiling", (0.02, 0.05, 0.1, 0.2, 0.4))),
}

TEXT = (
    "The function returns the parsed value of a header, or the default if the header is missing or cannot be read. Values that have "
    "several parts are split at commas outside of quotes, and each part is stripped of white space. A part that is empty is left out. "
)

FACTS = {
    "dataset": "python-docstrings",
    "round": 3,
    "created": "2026-03-02T14:05:09+00:00",
    "documents": 24_812,
    "queries": 1_380,
    "model": "sentence-transformers/all-MiniLM-L6-v2",
    "teacher": "cross-encoder/ms-marco-MiniLM-L6-v2",
    "recipe": "hardmine",
    "baseline": "top",
    "settings": {
        "dataset": "python-docstrings",
        "seed": 0,
        "num_negatives": 5,
        "retrieve": {"dense": {"depth": 100}, "bm25": {"depth": 50, "k1": 1.2, "b": 0.75}},
        "score": {"teacher": "cross-encoder/ms-marco-MiniLM-L6-v2", "depth": 60},
        "recipe": {"name": "hardmine", "ceiling": 0.1, "relative_margin": 0.05},
    },
}

REASONS = [
    {"reason": "teacher_ceiling", "count": 20_114, "meaning": "the teacher calls it likely relevant"},
    {"reason": "rank_range", "count": 9_120, "meaning": "outside the range of ranks"},
    {"reason": "relative_margin", "count": 6_034, "meaning": "too close to the positive's score"},
    {"reason": "near_duplicate", "count": 1_280, "meaning": "near copy of a positive (word shingles)"},
    {"reason": "duplicate", "count": 402, "meaning": "copy of a positive or of the query"},
    {"reason": "max_score", "count": 87, "meaning": "score over the limit"},
]  # 37,037 together

FUNNELS = [
    {
        "recipe": "hardmine",
        "candidates": 138_000,
        "positives": 1_702,
        "rejected": REASONS,
        "unscored": 55_200,
        "not_drawn": 37_161,
        "negatives": 6_900,
    },
    {
        "recipe": "top",
        "candidates": 138_000,
        "positives": 1_702,
        "rejected": [{"reason": "duplicate", "count": 402}],
        "not_drawn": 128_996,
        "negatives": 6_900,
    },
]


def rate(value, pairs=6_900, queries=1_380):
    half = 1.96 * math.sqrt(max(value * (1 - value), 1e-4) / queries)
    return Rate(value=value, low=max(0.0, value - half), high=value + half, pairs=pairs, queries=queries)


def outcome(name, judged=True, estimated=True):
    hardness, leak, served, backfill, _ = RECIPES[name]
    shown = {
        "queries": 1_380,
        "rows": 1_702,
        "served": served,
        "partly_served": 1 - served,
        "negatives": 6_900,
        "negatives_per_query": 5 * served,
        "drawn_as_relevant": 0,
        "backfill": backfill,
        "similarity": Spread(mean=hardness, std=0.09, pairs=6_900),
        "fixed_similarity": Spread(mean=hardness - 0.05, std=0.1, pairs=6_900),
        "teacher_logit": None,
        "teacher_sigmoid": Spread(mean=leak + 0.05, std=0.1, pairs=6_900),
        "rank": Spread(mean=24.0, std=11.0, pairs=6_900),
        "estimated": rate(leak * 1.1) if estimated else None,
        "weighted_estimated": None,
    }
    total = rate(leak)
    found = Leak(total=total, chosen=total, backfill=None, weighted=total, gradient=rate(leak * 0.8), by_draw={})
    metrics = Metrics(**shown, judged=Measures(**shown), leak=found) if judged else Metrics(**shown)
    nearest = "star" if name == "ance" else "ance"
    return RecipeOutcome(recipe=name, seconds=0.4, metrics=metrics, overlap={nearest: Overlap(jaccard=0.31, share=0.5)})


def points(name, judged=True):
    hardness, leak, served, backfill, sweep = RECIPES[name]
    values = sweep[1] if sweep else (None,)
    found = []
    for at, value in enumerate(values):
        step = at - len(values) // 2
        found.append(
            CurvePoint(
                value=value,
                is_default=step == 0,
                served=min(1.0, served + 0.03 * step),
                hardness=hardness + 0.018 * step,
                leak=leak * math.exp(0.35 * step) if judged else None,
                leak_low=rate(leak).low if judged else None,
                leak_high=rate(leak).high if judged else None,
                estimated=leak * 1.1,
                backfill=max(0.0, backfill - 0.05 * step) if backfill > 0.1 else backfill,
            )
        )
    return tuple(found)


def comparison(names=tuple(RECIPES), judged=True):
    swept = [name for name in names if RECIPES[name][4]]
    return {
        "outcomes": tuple(outcome(name, judged) for name in names),
        "curves": tuple(Curve(family=name, parameter=RECIPES[name][4][0], points=points(name, judged)) for name in swept),
        "points": {name: points(name, judged)[0] for name in names if name not in swept},
        "left_out": {"cl-drd": "it looks at 200 dense ranks and this round has 100", "rance": "no judged set was given"},
        "note": "Rates are exact over 1,380 queries whose qrels are declared exhaustive.",
    }


def histogram(score, words, groups, low, high, marks=None):
    bins, numbers = 40, random.Random(7)
    counts = {}
    for name, (size, mean, spread) in groups.items():
        counts[name] = [0] * bins
        for _ in range(size):
            at = int((numbers.gauss(mean, spread) - low) / (high - low) * bins)
            counts[name][min(max(at, 0), bins - 1)] += 1
    edges = [round(low + (high - low) * at / bins, 6) for at in range(bins + 1)]
    return {"score": score, "words": words, "edges": edges, "counts": counts, "marks": marks or {}}


SCORES = [
    histogram(
        "dense_score",
        "similarity of query and document",
        {"positives": (1_702, 0.72, 0.09), "negatives": (6_900, 0.65, 0.07), "suspects": (900, 0.71, 0.06)},
        0.3,
        1.0,
    ),
    histogram(
        "teacher_sigmoid",
        "the teacher's sigmoid",
        {"positives": (1_702, 0.9, 0.12), "negatives": (6_900, 0.03, 0.03), "suspects": (900, 0.6, 0.25)},
        0.0,
        1.0,
        {"ceiling": 0.1},
    ),
]

ESTIMATORS = (
    ("judged qrels", 1.0, ""),
    ("planted positives × reviewed density", 0.92, "116 planted pairs"),
    ("calibrated teacher", 1.12, "uncalibrated for counts"),
)


def estimates():
    found = [
        {"recipe": recipe, "estimator": name, "rate": value * by, "low": 0.7 * value * by, "high": 1.4 * value * by, "note": note}
        for recipe, value in (("top", 0.314), ("nv-retriever", 0.121), ("rocketqa", 0.031), ("hardmine", 0.029))
        for name, by, note in ESTIMATORS
    ]
    planted = {"estimator": "planted positives", "quantity": "survival"}
    return [
        *found,
        {**planted, "recipe": "top", "rate": 0.82, "low": 0.74, "high": 0.88},
        {**planted, "recipe": "hardmine", "rate": 0.07, "low": 0.03, "high": 0.13},
    ]


def calibration():
    bins = [
        {
            "predicted": p,
            "observed": min(1.0, max(0.0, p + 0.06 * math.sin(9 * p))),
            "pairs": int(4_000 * math.exp(-4 * p) + 80),
            "low": max(0.0, p - 0.06),
            "high": min(1.0, p + 0.1),
        }
        for p in (0.02, 0.08, 0.17, 0.29, 0.42, 0.55, 0.68, 0.79, 0.9, 0.97)
    ]
    return {
        "bins": bins,
        "brier": 0.061,
        "auc": 0.947,
        "method": "isotonic",
        "source": "Fitted on held-out labelled pairs against sampled negatives, so uncalibrated for counts.",
        "reviewed": [
            {"recipe": "hardmine", "calibration": "review", "expected": 8.4, "reviewed": 10, "low": 5.1, "high": 17.9, "pairs": 300},
            {"recipe": "top", "expected": 99.0, "reviewed": 91, "low": 77.0, "high": 106.0, "pairs": 300},
        ],
    }


def yield_curve(column, top):
    found = [
        YieldPoint(threshold=top * at / 20, remaining=4.0 * at, served=min(1.0, 0.5 + at / 12), rate=rate(0.02 + 0.015 * at))
        for at in range(1, 21)
    ]
    return YieldCurve(column=column, estimator="truth", num_negatives=5, depth=100, queries=1_380, points=tuple(found))


YIELDS = {
    "rows": [
        {"recipe": name, "stage": "main", "queries": 1_380, "served": int(1_380 * RECIPES[name][2]), "negatives_per_query": 4.9}
        for name in ("hardmine", "trisampler", "middle-band", "top")
    ],
    "curves": [yield_curve("teacher_sigmoid", 1.0), yield_curve("dense_score_ratio", 1.1)],
    "chosen": {"teacher_sigmoid": 0.1},
}


def slice_of(by, name, queries, leak, served, hardness):
    values = {
        "false negatives": {"value": leak, "low": leak * 0.6, "high": leak * 1.7},
        "yield": {"value": served},
        "hardness": {"value": hardness, "share": False},
    }
    return {"by": by, "name": name, "queries": queries, "values": values}


SLICES = [
    slice_of("language", "en", 1_204, 0.028, 0.99, 0.664),
    slice_of("language", "de", 152, 0.034, 0.98, 0.647),
    slice_of("language", "ar", 24, 0.05, 0.96, 0.61),
    slice_of("query_length", "1–5 words", 391, 0.044, 0.99, 0.671),
    slice_of("query_length", "6–12 words", 702, 0.025, 1.0, 0.66),
    slice_of("query_length", "over 12 words", 287, 0.019, 0.99, 0.652),
]


def example(number, query, positive, negative, teacher=0.021, **more):
    scores = {"dense": 0.761, "bm25": 11.402, "teacher": 0.982}
    return {
        "query_id": f"q{number}",
        "query": query,
        "positives": [{"doc_id": f"pkg.module.function_{number}", "title": "function", "text": positive, "scores": scores}],
        "negative": {"doc_id": f"pkg.other.method_{number}", "text": negative, "scores": {**scores, "dense": 0.748, "teacher": teacher}},
        **more,
    }


HARDEST = [
    example(17, "parse a comma separated header into a list of values", TEXT, "Join the values of a header into one line. " + TEXT * 4),
    example(90, "return the first index at which two arrays differ", "Index of the first difference.", "Index of the last difference."),
    example(204, "كيف أقرأ ملف JSON سطرًا سطرًا؟", "قراءة ملف JSON Lines وإرجاع كائن لكل سطر.", "اكتب كل كائن في سطر واحد من ملف JSON."),
    example(311, "does <script>alert('x')</script> \"quoted\" & escaped text survive? 🧪", "It is escaped. 🧪", "It is not touched."),
    example(402, "open a socket with a time limit", "Give up after `timeout` seconds.", "Close the socket.", note="first seen in round 2"),
    example(417, "draw without replacement by weight", "Weighted sampling without replacement.", "Weighted sampling with replacement."),
    example(418, "is a path inside a folder", "Whether a path lies under a folder, links resolved.", "The folder that a path lies in."),
]

COST = [
    {"stage": "corpus", "seconds": 3.1, "bytes": 9_400_000},
    {"stage": "embed_documents", "seconds": 241.0, "model_calls": 24_812, "bytes": 19_100_000, "reused": True},
    {"stage": "embed_queries", "seconds": 9.4, "model_calls": 220, "cache_hits": 1_160, "bytes": 1_100_000},
    {"stage": "retrieve", "seconds": 14.8, "bytes": 6_600_000},
    {"stage": "score", "seconds": 612.0, "model_calls": 21_400, "cache_hits": 61_400, "bytes": 3_200_000},
    {"stage": "select", "seconds": 1.2, "bytes": 2_100_000},
    {"stage": "shards", "seconds": 2.6, "bytes": 14_800_000},
]


def full(**changes):
    """Every section filled."""
    data = {
        "facts": FACTS,
        "warnings": ["The calibration was fitted on labelled pairs: it orders pairs, but does not count them."],
        "notes": ["12 lines of the source were set aside; `hardmine sql` lists them in rejected_input."],
        "funnels": FUNNELS,
        "scores": SCORES,
        "comparison": comparison(),
        "false_negatives": estimates(),
        "calibration": calibration(),
        "yields": YIELDS,
        "slices": SLICES,
        "hardest": HARDEST,
        "suspicious": [
            example(
                500 + at, "read a file line by line", "Yield the lines of a file.", "Iterate over the lines. " + TEXT * at, 0.09 - at / 100
            )
            for at in range(3)
        ],
        "zeros": [example(700 + at, "open a file", "Open a file.", "Open a file and read it.", 0.9 - at / 100) for at in range(2)],
        "zero_count": 14,
        "hubs": [
            {"doc_id": f"pkg.base.run_{at}", "uses": 212 - 9 * at, "queries": 180 - 8 * at, "title": "run", "text": TEXT * (at % 4 + 1)}
            for at in range(20)
        ],
        "cost": COST,
        "staleness": {"statement": "Mined with the checkpoint before the last.", "values": {"top-10 overlap": {"value": 0.83}}},
    }
    return ReportData.model_validate({**data, **changes})


def empty(**changes):
    """Nothing but the name of a round."""
    return ReportData.model_validate({"facts": {"dataset": "d", "round": 1}, **changes})
