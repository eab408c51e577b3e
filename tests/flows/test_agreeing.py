"""Agreement of judges, teacher and reviewers, against numbers that were computed by hand."""

import pyarrow as pa
import pytest

from flows.agreeing import judge_agreement
from tasks.schema import JUDGEMENTS

#: pair: cheap, strong, teacher's sigmoid, reviewer; None: silent. At 0.7: cheap R R R R n n n n, strong R R n n on the first four
PAIRS = {
    "a": (0.9, 0.9, 0.8, True),
    "b": (0.7, 0.8, 0.6, True),
    "c": (0.8, 0.1, 0.2, False),
    "d": (0.9, 0.69, 0.9, False),
    "e": (0.69, None, 0.5, True),
    "f": (0.1, None, 0.1, False),
    "g": (0.2, None, None, False),
    "h": (0.3, None, 0.3, None),
}


def tables(pairs, calibrated=None):
    rows = [{"query_id": "q", "doc_id": name, "relevance": 0.5, "cheap": cheap, "strong": strong} for name, (cheap, strong, _, _) in pairs]
    scored = pa.table({
        "query_id": pa.array(["q"] * (len(pairs) + 1)), "doc_id": pa.array([*(name for name, _ in pairs), "never judged"]),
        "teacher_calibrated": pa.array(calibrated or [None] * (len(pairs) + 1), pa.float32()),
        "teacher_sigmoid": pa.array([*(one[2] for _, one in pairs), 0.9], pa.float32()),
    })  # fmt: skip
    known = [(name, one[3]) for name, one in pairs if one[3] is not None]
    reviewed = pa.table({
        "query_id": pa.array(["q"] * (len(known) + 1)), "doc_id": pa.array([*(name for name, _ in known), "never judged"]),
        "relevant": pa.array([*(one for _, one in known), True]),
    })  # fmt: skip
    return pa.Table.from_pylist(rows, JUDGEMENTS), scored, reviewed


def told(found):
    return {(one.first, one.second): (one.pairs, round(one.share, 4), None if one.kappa is None else round(one.kappa, 4)) for one in found}


def test_shares_and_kappas_are_those_of_the_tables_by_hand():
    judged, scored, reviewed = tables(list(PAIRS.items()))
    assert told(judge_agreement(judged, [scored], reviewed, 0.7)) == {
        ("cheap", "strong"): (4, 0.5, 0.0),  # a, b agree; cheap calls all four relevant, so chance explains it
        # cheap a–d relevant, e–g not; review a, b, e relevant: agree on a, b, f, g of 7; chance (4·3 + 3·4) / 49
        ("cheap", "review"): (7, round(4 / 7, 4), round((4 / 7 - 24 / 49) / (1 - 24 / 49), 4)),
        # teacher a, b, d, e relevant at 0.5; cheap a–d: agree on a, b, d, f, h of 7; chance (4·4 + 3·3) / 49
        ("cheap", "teacher"): (7, round(5 / 7, 4), round((5 / 7 - 25 / 49) / (1 - 25 / 49), 4)),
        ("review", "strong"): (4, 1.0, 1.0),  # a, b relevant, c, d not
        ("strong", "teacher"): (4, 0.75, 0.5),  # they differ on d; chance (2·3 + 2·1) / 16
    }


def test_a_threshold_is_reached_by_its_own_value_in_float32():
    judged, scored, reviewed = tables([("b", PAIRS["b"])])
    (both, *_) = judge_agreement(judged, [scored], reviewed, 0.7)
    assert ((both.first, both.second), both.share, both.kappa) == (("cheap", "review"), 1.0, None)


def test_a_calibrated_teacher_speaks_by_its_calibration_and_part_by_part():
    judged, scored, reviewed = tables(list(PAIRS.items()), [0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.9])
    halves = [scored.slice(0, 3), scored.slice(3)]
    found = told(judge_agreement(judged, halves, reviewed, 0.7))
    assert found["strong", "teacher"] == (4, 1.0, 1.0)
    assert found["cheap", "teacher"] == (8, 0.75, 0.5)
    assert judge_agreement(judged.slice(0, 0), [scored], reviewed, 0.7) == ()


def test_nobody_to_agree_with_is_no_row():
    judged, scored, reviewed = tables([("g", PAIRS["g"])])
    assert told(judge_agreement(judged, [scored], reviewed.slice(0, 0), 0.7)) == {}
    assert pytest.approx(0.2) == judged["cheap"][0].as_py()
