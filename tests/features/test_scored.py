import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.calibration import Calibration
from tasks.features import scored
from tasks.features.nearest import positive_similarity
from tasks.groups import Groups, equals_positive, pairs_with_positives, statistics
from tasks.runner.stage import Job, Work
from tasks.schema import PAIRS, RELIABILITY, candidates
from tasks.schema import scored as scored_schema
from tasks.store.keys import input_hash, partition_of
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.storage import open_storage
from tasks.store.tables import read_table
from tasks.teacher import teacher_columns
from tests.retrieve.build import checksums, commit, context, dataset, run

GROUPS = st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 3)), min_size=1, max_size=30)

LONG = "the flow over a thin wing at high mach number is studied with care"
DOCS = [
    ("a", "", LONG),  # positive of q0
    ("b", "", LONG),  # same input
    ("c", "a title", LONG),  # same text, other title
    ("d", "", LONG.upper()),  # same normal form
    ("e", "", LONG + " and more words follow here that were not there"),
    ("f", "", "nothing in common with the others at all in this text"),
    ("g", "", "Which wing?"),  # the query
    ("h", "", "which  wing?"),  # its normal form
    ("i", "", "second positive of the first query with its own text"),
    ("j", "alone", ""),
]
QUERIES = [("q0", "Which wing?"), ("q1", "no positives")]
POSITIVES = {("q0", "a"), ("q0", "i")}


def candidate_table(names, scores, parts=1):
    place = {}
    for number in range(parts):
        held = sorted(name for name, _, _ in DOCS if partition_of(name, parts) == number)
        place |= {name: (number, row) for row, name in enumerate(held)}
    texts = {name: (title, text) for name, title, text in DOCS}
    rows = [
        {
            "query_id": query,
            "doc_id": name,
            "query_row": [name for name, _ in QUERIES].index(query),
            "doc_partition": place[name][0],
            "doc_row": place[name][1],
            "relevance": 1 if (query, name) in POSITIVES else None,
            "is_positive": (query, name) in POSITIVES,
            "query_hash": input_hash("", dict(QUERIES)[query]),
            "doc_hash": input_hash(*texts[name]),
            "dense_rank": None,
            "dense_score": score,
            "bm25_rank": None,
            "bm25_score": bm25,
        }
        for (query, name), (score, bm25) in zip(names, scores, strict=True)
    ]
    return pa.Table.from_pylist(rows, candidates(["dense", "bm25"]))


def scored_rows(tmp_path, pairs=(), vectors=None, parts=1, threads=1, calibration=None):
    setting = context(tmp_path, threads)
    data = dataset(setting.storage, DOCS, QUERIES, doc_parts=parts, vectors=vectors)
    names = [("q0", name) for name, _, _ in DOCS] + [("q1", "a"), ("q1", "j")]
    table = candidate_table(names, [(0.1 * number, None if number % 2 else float(number)) for number in range(len(names))], parts)
    mined = commit(setting.storage, "candidates", "q0000", {"candidates.parquet": table})
    committed = [commit(setting.storage, "score", f"q0000.b{number:03d}", {"pairs.parquet": piece}) for number, piece in enumerate(pairs)]
    fixed = (data.embed_documents, data.embed_queries) if vectors else ()
    fitted = calibration_part(setting.storage, calibration) if calibration is not None else None
    jobs = scored.jobs(["dense", "bm25"], [mined], data.queries, data.documents, committed, *fixed, calibration=fitted)
    (part,) = run(setting, scored.STAGE, jobs)
    assert setting.progress.units["scored"] == len(names)
    result = read_table(setting.storage, part.file("scored.parquet"))
    assert result.schema == scored_schema(["dense", "bm25"])
    assert result.select(["query_id", "doc_id"]).equals(table.select(["query_id", "doc_id"]))
    return result, part


def calibration_part(storage, text):
    """A part of stage calibrate; an empty text: there were too few labels, and it has no calibration."""
    output = Output(storage, "data/calibrate/c")
    output.table("reliability.parquet", RELIABILITY.empty_table())
    if text:
        output.data("calibration.json", text.encode())
    return Part(stage="calibrate", key="c", index="all", files=tuple(output.files))


def column(table, name, query="q0"):
    return {row["doc_id"]: row[name] for row in table.to_pylist() if row["query_id"] == query}


@pytest.mark.parametrize("parts", [1, 3])
def test_copies_of_the_query_and_of_positives(tmp_path, parts):
    table, part = scored_rows(tmp_path, parts=parts)
    none = dict.fromkeys("abcdefghij")
    assert column(table, "copy_of") == none | {"b": "positive", "c": "positive", "g": "query"}
    assert column(table, "norm_copy_of") == none | {"b": "positive", "c": "positive", "d": "positive", "g": "query", "h": "query"}
    assert column(table, "copy_of", "q1") == {"a": None, "j": None}
    assert part.meta["copies"] == {"copy_of": 3, "norm_copy_of": 5}


def test_cosine_with_the_query_under_a_fixed_encoder(tmp_path):
    """q0 is (3, 4), q1 (0, 1). a at (4, 3): 24/25; b at (6, 8): 1; c at (-3, -4): -1; j at (0, 0): 0, having no direction."""
    vectors = {"q0": (3, 4), "q1": (0, 1), "a": (4, 3), "b": (6, 8), "c": (-3, -4), "j": (0, 0)}
    for parts in (1, 3):
        table, _ = scored_rows(tmp_path / str(parts), vectors={name: np.array(value) for name, value in vectors.items()}, parts=parts)
        found = column(table, "fixed_score")
        assert [found[name] for name in "abcj"] == [float(np.float32(0.96)), 1.0, -1.0, 0.0]
        assert column(table, "fixed_score", "q1") == {"a": float(np.float32(0.6)), "j": 0.0}
        # the positives are a at (4, 3) and i without direction: c has cosine -24/25 with a and 0 with i
        assert column(table, "positive_similarity")["c"] == 0.0
        assert column(table, "positive_similarity")["b"] == float(np.float32(0.96))


def test_no_fixed_encoder_no_cosines(tmp_path):
    table, _ = scored_rows(tmp_path)
    assert table["fixed_score"].null_count == table["positive_similarity"].null_count == 12


def test_teacher_scores_are_joined_by_hashes(tmp_path):
    query, texts = input_hash("", "Which wing?"), {name: input_hash(title, text) for name, title, text in DOCS}
    logits = {"a": 2.0, "f": -1.0, "i": -1000.0}
    pieces = [pa.Table.from_pylist([{"query_hash": query, "doc_hash": texts[name], "logit": logits[name]}], PAIRS) for name in logits]
    table, part = scored_rows(tmp_path, pieces)
    none = dict.fromkeys("abcdefghij")
    assert column(table, "teacher_logit") == none | {"a": 2.0, "b": 2.0, "f": -1.0, "i": -1000.0}
    sigmoid = column(table, "teacher_sigmoid")
    assert sigmoid["a"] == np.float32(1 / (1 + np.exp(-2.0))) and sigmoid["i"] == 0.0 and sigmoid["c"] is None
    assert table["teacher_calibrated"].null_count == 12
    assert column(table, "positive_teacher_logit_max")["j"] == 2.0
    assert column(table, "positive_teacher_logit_mean")["j"] == -499.0
    assert column(table, "positive_teacher_logit_min", "q1") == {"a": None, "j": None}
    assert part.meta["scored"] == 4


def test_calibrated_scores(tmp_path):
    """Platt with slope ln 3: a logit of 1 has odds 3, of -1 odds 1/3, of -1000 none. a and i are positives: least 0, most 0.75."""
    query, texts = input_hash("", "Which wing?"), {name: input_hash(title, text) for name, title, text in DOCS}
    rows = [{"query_hash": query, "doc_hash": texts[name], "logit": logit} for name, logit in {"a": 1.0, "f": -1.0, "i": -1000.0}.items()]
    pairs = [pa.Table.from_pylist(rows, PAIRS)]
    fitted = Calibration(kind="platt", source="held-out labels, uncalibrated for counts", slope=float(np.log(3)))
    table, _ = scored_rows(tmp_path, pairs, calibration=fitted.model_dump_json())
    none = dict.fromkeys("abcdefghij")
    assert column(table, "teacher_calibrated") == none | {"a": 0.75, "b": 0.75, "f": 0.25, "i": 0.0}
    assert set(column(table, "positive_teacher_calibrated_max").values()) == {0.75}
    assert set(column(table, "positive_teacher_calibrated_min").values()) == {0.0}


def test_without_a_calibration_there_are_no_calibrated_scores(tmp_path):
    query = input_hash("", "Which wing?")
    pairs = [pa.Table.from_pylist([{"query_hash": query, "doc_hash": input_hash("", LONG), "logit": 1.0}], PAIRS)]
    table, part = scored_rows(tmp_path / "few", pairs, calibration="")
    assert table["teacher_calibrated"].null_count == 12
    assert checksums([part]) == checksums([scored_rows(tmp_path / "none", pairs)[1]])
    assert part.key == scored_rows(tmp_path / "again", pairs)[1].key


def test_statistics_of_positives(tmp_path):
    table, _ = scored_rows(tmp_path)
    # positives of q0: a (0.0, bm25 0) and i (0.8, bm25 8)
    assert set(column(table, "positive_dense_score_min").values()) == {0.0}
    assert set(column(table, "positive_dense_score_max").values()) == {float(np.float32(0.8))}
    assert set(column(table, "positive_dense_score_mean").values()) == {float(np.float32(0.4))}
    assert set(column(table, "positive_bm25_score_mean").values()) == {4.0}
    assert set(column(table, "positive_teacher_sigmoid_mean").values()) == {None}
    assert column(table, "positive_dense_score_mean", "q1") == {"a": None, "j": None}


def test_equal_inputs_give_equal_bytes(tmp_path):
    parts = [scored_rows(tmp_path / str(number), parts=2, threads=number)[1] for number in (1, 2)]
    assert checksums(parts[:1]) == checksums(parts[1:])


def test_score_parts_go_to_their_query_partition(tmp_path):
    setting = context(tmp_path)
    data = dataset(setting.storage, DOCS, QUERIES, query_parts=2)
    mined = [commit(setting.storage, "candidates", f"q000{n}", {"candidates.parquet": candidates(["dense"]).empty_table()}) for n in (0, 1)]
    pairs = [
        commit(setting.storage, "score", index, {"pairs.parquet": PAIRS.empty_table()})
        for index in ("q0001.b000", "q0000.b000", "q0001.b001")
    ]
    jobs = scored.jobs(["dense"], mined, data.queries, data.documents, pairs)
    assert [[part.index for part in job.inputs["scores"]] for job in jobs] == [["q0000.b000"], ["q0001.b000", "q0001.b001"]]
    assert read_table(setting.storage, run(setting, scored.STAGE, jobs)[0].file("scored.parquet")).num_rows == 0


@given(GROUPS)
def test_groups_agree_with_loops(rows):
    groups = Groups(np.array([q for q, _, _ in rows], dtype=np.int64), np.array([p for _, p, _ in rows]))
    code = np.array([c for _, _, c in rows], dtype=np.int64)
    others = [
        any(q == query and p and c == number and at != place for at, (q, p, c) in enumerate(rows))
        for place, (query, _, number) in enumerate(rows)
    ]
    assert equals_positive(groups, code).tolist() == others
    scores = np.where(code == 3, np.nan, code).astype(np.float32)
    found = statistics(groups, scores)
    for place, (query, _, _) in enumerate(rows):
        held = [c for q, p, c in rows if q == query and p and c != 3]
        if held:
            assert [found[name][place] for name in ("min", "mean", "max")] == [min(held), np.float32(np.mean(held)), max(held)]
        else:
            assert all(np.isnan(found[name][place]) for name in found)
    pairs = {
        (int(a), int(b)) for left, right in pairs_with_positives(groups, np.arange(len(rows))) for a, b in zip(left, right, strict=True)
    }
    assert pairs == {(a, b) for a, (q, _, _) in enumerate(rows) for b, (r, p, _) in enumerate(rows) if q == r and p}


def test_similarity_to_the_nearest_positive_under_a_fixed_encoder(tmp_path):
    """One positive (1, 0) and one (0, 2): a document at (3, 4) has cosines 0.6 and 0.8."""
    storage = open_storage(str(tmp_path))
    output = Output(storage, "data/v")
    output.array("vectors.npy", np.array([[1, 0], [0, 2], [3, 4]], dtype=np.float32))
    part = Part(stage="embed-documents", key="k", index="d0000", files=tuple(output.files))
    work = Work(Job(index="q0000", inputs={"fixed_documents": (part,)}), storage, lambda units: None)
    table = pa.table({"doc_partition": pa.array([0, 0, 0], pa.int32()), "doc_row": pa.array([0, 1, 2], pa.int64())})
    found = positive_similarity(work, table, Groups(np.array([0, 0, 0]), np.array([True, True, False]))).to_pylist()
    assert found[:2] == [None, None]
    assert found[2] == pytest.approx(0.8)


def test_a_teacher_that_gives_probabilities_is_taken_as_it_is():
    table = pa.table({"query_hash": ["q", "q"], "doc_hash": ["a", "b"]})
    pairs = pa.table({"query_hash": ["q"], "doc_hash": ["a"], "logit": pa.array([0.0], pa.float32())}, schema=PAIRS)
    for activation, expected in (("sigmoid", 0.5), ("identity", 0.0)):
        columns = teacher_columns(table, pairs, activation)
        assert columns["teacher_sigmoid"].to_pylist() == [expected, None]
        assert columns["teacher_logit"].to_pylist() == [0.0, None]
