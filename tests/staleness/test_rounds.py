"""Two rounds by hand: two queries that are trained on, one that never is; similarities double a document's mass every tenth.

        round 1: a   b   c   d      round 2: a   b   c   d      negatives of round 1, of round 2
t1 (a)          .5  .4  .4   0              .9  .8  .6  .85     b c   d b
t2 (a)          .5  .5  .4  .1              .7  .5  .4  .1      b c   b c
k1 (b)          .5  .6  .2  .4              .6  .6  .5  .4      a d   a c
"""

import base64
import math
from dataclasses import replace
from io import StringIO

import pytest
from pydantic import ValidationError
from rich.console import Console

from flows.staleness import owe_stale_event, stale, staleness, staleness_curves, staleness_lines, staleness_rows
from flows.staleness_bars import print_staleness
from flows.staleness_report import staleness_section
from tasks.audit.build import build_audit, latest_audit
from tasks.audit.checkpoints import TrainingRecord, publish_training
from tasks.audit.records import StageRef, list_rounds, publish_round
from tasks.models.fingerprint import weights_of
from tasks.report.data import ReportData
from tasks.report.pictures import staleness_picture
from tasks.report.render import render_report
from tasks.sql import query_snapshot
from tasks.staleness.facts import StalenessFacts
from tasks.staleness.settings import StalenessSettings
from tasks.store.manifest import read_stage
from tasks.store.pointers import read_pointer
from tasks.store.tables import read_parts
from tests.retrieve.build import context
from tests.staleness.world import Given, round_of

SPLITS = {"t1": "train", "t2": None, "k1": "test"}
FIRST = Given(
    model="one",
    similar={
        "t1": {"a": 0.5, "b": 0.4, "c": 0.4, "d": 0.0},
        "t2": {"a": 0.5, "b": 0.5, "c": 0.4, "d": 0.1},
        "k1": {"a": 0.5, "b": 0.6, "c": 0.2, "d": 0.4},
    },
    rows={"t1": "abc", "t2": "abc", "k1": "bad"},
    splits=SPLITS,
    teacher={("t1", "b"): 2.0, ("t1", "c"): 1.0, ("t2", "b"): 1.0, ("t2", "c"): 2.0},
)
SECOND = Given(
    model="two",
    similar={
        "t1": {"a": 0.9, "b": 0.8, "c": 0.6, "d": 0.85},
        "t2": {"a": 0.7, "b": 0.5, "c": 0.4, "d": 0.1},
        "k1": {"a": 0.6, "b": 0.6, "c": 0.5, "d": 0.4},
    },
    rows={"t1": "adb", "t2": "abc", "k1": "bac"},
    splits=SPLITS,
)
SETTINGS = StalenessSettings(scale=10 * math.log(2), margin=0.15, resamples=50)

# Under round 2, by hand. Mass of a negative against its positive: 2^(10 · difference).
T1, T2, K1 = (1 / 2 + 1 / 8) / (1 + 1 / 2 + 1 / 8), (1 / 4 + 1 / 8) / (1 + 1 / 4 + 1 / 8), (1 + 1 / 4) / (2 + 1 / 4)
# Under round 1: t1 (½ + ½) / 2, t2 (1 + ½) / 2½, k1 (½ + ¼) / 1¾
OWN = {"trained": (1 / 2 + 3 / 5) / 2, "control": 3 / 7}
EXPECTED = {
    ("trained", "loss_share"): (T1 + T2) / 2,
    ("control", "loss_share"): K1,
    ("difference", "loss_share"): (T1 + T2) / 2 - K1,
    ("trained", "rank"): (3.5 + 2.5) / 2,  # t1: b 3rd, c 4th; t2: b 2nd, c 3rd
    ("trained", "rank_percentile"): (100 * 2.5 / 3 + 100 * 1.5 / 3) / 2,
    ("control", "rank"): (1.5 + 4) / 2,  # a as near as b, d last
    ("control", "rank_percentile"): (100 * 0.5 / 3 + 100) / 2,
    ("trained", "easy_share"): (1 / 2 + 1) / 2,  # t1: .6 < .75; t2: both < .55
    ("control", "easy_share"): 1 / 2,  # .4 < .45
    ("trained", "legacy_easy_share"): 0.0,
    ("trained", "teacher_agreement"): 0.0,  # t1: 1, t2: −1; k1 has no teacher
    ("trained", "overlap"): (2 / 3 + 1) / 2,  # t1: a b c and a d b; t2: the same
    ("control", "overlap"): 2 / 3,  # b a d and a b c
    ("trained", "retired"): 1.0,  # c of t1
    ("trained", "newly_hard"): 1.0,  # d of t1
    ("control", "retired"): 1.0,  # d
    ("control", "newly_hard"): 1.0,  # c
    ("control", "gone"): 0.0,
}


def look(root, first=FIRST, second=SECOND, settings=SETTINGS, **more):
    """(context, what was found, the later round as published)."""
    here = context(root)
    publish_round(here.storage, round_of(here.storage, first))
    now = round_of(here.storage, second, **more)
    found = staleness(here, now, list_rounds(here.storage), settings)
    published = publish_round(here.storage, found.recorded(now))
    return here, found, published


def summary(here, found):
    return read_parts(here.storage, found.manifest.parts, "summary.parquet").drop(["selection_id"])


def test_by_hand(tmp_path):
    here, found, _ = look(tmp_path)
    rows = {(row["cohort"], row["measure"]): row for row in summary(here, found).to_pylist()}
    assert {key: rows[key]["value"] for key in EXPECTED} == pytest.approx(EXPECTED, rel=1e-6)
    assert ("control", "teacher_agreement") not in rows
    assert ("difference", "retired") not in rows
    for cohort, value in OWN.items():
        assert rows[cohort, "loss_share"]["at_first"] == pytest.approx(value, rel=1e-6)
    assert rows["trained", "overlap"]["at_first"] == rows["trained", "overlap"]["agreement_floor"] == 1.0
    assert {(row["queries"], row["negatives"]) for (cohort, _), row in rows.items() if cohort == "trained"} == {(2, 4)}
    assert all(row["low"] <= row["value"] <= row["high"] for (_, measure), row in rows.items() if row["low"] is not None)
    assert rows["trained", "loss_share"]["low"] < rows["trained", "loss_share"]["high"]
    assert {row["age"] for row in rows.values()} == {1}


def test_facts_lines_and_the_limit(tmp_path):
    _, found, _ = look(tmp_path)
    (each,) = found.facts.earlier
    lost = 1 - (T1 + T2) / 2 / OWN["trained"]
    assert each.lost == pytest.approx(lost, rel=1e-6)
    assert each.lost_control == pytest.approx(1 - K1 / OWN["control"], rel=1e-6)
    assert each.half_life == pytest.approx(math.log(2) / math.log(OWN["trained"] / ((T1 + T2) / 2)), rel=1e-6)
    assert stale(found.facts, lost - 0.01)
    assert not stale(found.facts, lost + 0.01)
    assert not stale(StalenessFacts(), 0.0)
    assert staleness_lines(found.facts) == (
        "negatives of round 1 (top): loss share 55 % then, 33 % now (never trained on: 43 %, 56 %); easy: 0 % when mined, 75 % now; "
        "overlap with the new candidates 83 %, 17 % under the floor; 2 retired, 2 newly hard; half-life 1.3 trainings",
    )


def test_the_terminal_has_bars(tmp_path):
    """Loss shares of 55 and 33 % (trained), 43 and 56 % (control): of 30 characters 16, 9, 12 and 16 whole ones, and a part."""
    _, found, _ = look(tmp_path)
    console = Console(width=120, record=True, file=StringIO())
    print_staleness(console, StalenessFacts())
    assert console.export_text(clear=False) == ""
    print_staleness(console, found.facts)
    lines = [line for line in console.export_text().splitlines() if "█" in line]
    assert [line.count("█") for line in lines] == [16, 9, 12, 16]
    assert [line.rsplit("│", 2)[1].strip() for line in lines] == ["55 %", "33 %", "43 %", "56 %"]
    assert "round 1 (top)" in lines[0]
    assert "1 training(s) later" in lines[1]


def test_what_was_easy_at_first_did_not_become_easy(tmp_path):
    """c of t1 is easy from the start: .3 < .5 − .15. So 1 of t1's 2 and 0 of t2's at first (25 %), 1 and 2 of 2 now (75 %).

    Candidates: t1 has a b c and a d b, so 1 and 2 of 3 in common from the second rank on: 1, ½, ⅔; t2 the same. The recall of the later
    search is .96, so the floor is .96, and the overlap of (⅔ + 1) / 2 is .96 − .8333 under it.
    """
    first = replace(FIRST, similar={**FIRST.similar, "t1": {**FIRST.similar["t1"], "c": 0.3}})
    here, found, second = look(tmp_path, first, search={"index": "ivf", "recall": 0.96})
    (each,) = found.facts.earlier
    assert (each.at_first["easy_share"], each.trained["easy_share"]) == (0.25, 0.75)
    assert each.less_floor("overlap") == pytest.approx(0.96 - 5 / 6)
    (line,) = staleness_lines(found.facts)
    assert "easy: 25 % when mined, 75 % now; overlap with the new candidates 83 %, 13 % under the floor" in line
    build_audit(here.storage)
    query = """SELECT became_easy, easy_share_at_first, became_easy_control, overlap_less_floor,
        rank_biased_overlap_less_floor - (agreement_floor - rank_biased_overlap) FROM staleness_by_round"""
    (row,) = query_snapshot(latest_audit(here.storage), query).to_pylist()
    assert tuple(row.values()) == pytest.approx((0.5, 0.25, 0.0, 0.96 - 5 / 6, 0.0))
    values = staleness_section(here.storage, second, second.selection()).values
    assert (values["easy now"].value, values["easy when mined"].value) == (0.75, 0.25)
    under = values["overlap, less the floor"]
    assert under.value == pytest.approx(0.96 - 5 / 6)
    assert under.low <= under.value <= under.high


def test_each_negative(tmp_path):
    here, found, _ = look(tmp_path)
    rows = read_parts(here.storage, found.stages[0].parts, "negatives.parquet").to_pylist()
    told = {(row["query_id"], row["doc_id"]): row for row in rows}
    assert sorted(told) == [("k1", "a"), ("k1", "d"), ("t1", "b"), ("t1", "c"), ("t2", "b"), ("t2", "c")]
    assert {key: row["loss_share"] for key, row in told.items() if key[0] == "t1"} == pytest.approx(
        {("t1", "b"): 0.5 / 1.625, ("t1", "c"): 0.125 / 1.625}, rel=1e-6
    )
    assert [told["t1", doc]["rank"] for doc in "bc"] == [3.0, 4.0]
    assert [told["t1", doc]["easy"] for doc in "bc"] == [False, True]
    assert {key[0] for key, row in told.items() if row["trained"]} == {"t1", "t2"}


@pytest.mark.parametrize("parts", [(1, 2), (3, 1), (2, 3)])
def test_partitions_change_nothing(tmp_path, parts):
    def results(name, first_parts, second_parts):
        split = [replace(one, doc_parts=d, query_parts=q) for one, (d, q) in ((FIRST, first_parts), (SECOND, second_parts))]
        here, found, _ = look(tmp_path / name, *split)
        tables = [read_parts(here.storage, found.stages[0].parts, f"{file}.parquet") for file in ("negatives", "queries")]
        keys = [("query_id", "ascending"), ("slot", "ascending")]
        return [
            summary(here, found),
            tables[0].drop(["row_no", "selection_id"]).sort_by(keys),
            tables[1].drop(["selection_id"]).sort_by(keys[:1]),
        ]

    whole = results("whole", (1, 1), (1, 1))
    for number, case in enumerate([(parts, parts), (parts, (1, 1)), ((1, 1), parts)]):  # equal partitions, and a change of their number
        for one, other in zip(whole, results(f"{number}", *case), strict=True):
            assert one.combine_chunks().equals(other.combine_chunks())


def test_documents_that_are_gone_and_new_ones(tmp_path):
    second = replace(SECOND, documents="abde", rows={"t1": "adb", "t2": "ab", "k1": "ba"})
    here, found, _ = look(tmp_path, FIRST, second)
    rows = {(row["cohort"], row["measure"]): row["value"] for row in summary(here, found).to_pylist()}
    assert rows["trained", "gone"] == 2.0  # c of t1 and of t2
    assert (rows["trained", "retired"], rows["control", "retired"]) == (0.0, 1.0)
    # c takes no part: b alone is left to t1 and to t2
    assert rows["trained", "loss_share"] == pytest.approx((0.5 / 1.5 + 0.25 / 1.25) / 2, rel=1e-6)
    # t1: a b of a b c against a d b: the first two of both; t2: the same
    assert rows["trained", "overlap"] == pytest.approx((1 / 2 + 1) / 2)


def test_queries_that_are_gone_and_a_positive_that_is(tmp_path):
    similar = {query: SECOND.similar[query] for query in ("t1", "k1")}
    second = replace(SECOND, documents="abc", similar=similar, rows={"t1": "abc", "k1": "bac"})
    first = replace(FIRST, rows={"t1": "dbc", "t2": "abc", "k1": "bad"})
    here, found, _ = look(tmp_path, first, second)
    rows = {(row["cohort"], row["measure"]): row for row in summary(here, found).to_pylist()}
    assert ("trained", "loss_share") not in rows  # the positive of t1's row is gone, and t2 is
    assert rows["trained", "rank"]["value"] == 2.5
    assert (rows["trained", "gone"]["value"], rows["control", "gone"]["value"]) == (0.0, 1.0)
    assert rows["control", "loss_share"]["value"] == pytest.approx(0.5)
    assert found.facts.earlier[0].lost == found.facts.earlier[0].lost_control


def test_queries_that_one_round_did_not_mine(tmp_path):
    here, found, _ = look(tmp_path, second=replace(SECOND, rows={"t2": "ad", "k1": "bac"}, mined=("t2", "k1")))
    rows = {(row["cohort"], row["measure"]): row for row in summary(here, found).to_pylist()}
    assert rows["trained", "loss_share"]["value"] == pytest.approx(EXPECTED["trained", "loss_share"], rel=1e-6)  # vectors are there
    assert (rows["trained", "retired"]["value"], rows["trained", "newly_hard"]["value"]) == (2.0, 1.0)  # of t2 alone
    assert (rows["trained", "overlap"]["value"], rows["trained", "overlap"]["queries"]) == (1.0, 1)
    here, found, _ = look(tmp_path / "first", first=replace(FIRST, rows={"t1": "abc"}, mined=("t1",)))
    rows = {(row["cohort"], row["measure"]): row for row in summary(here, found).to_pylist()}
    assert {cohort for cohort, _ in rows} == {"trained"}
    assert rows["trained", "loss_share"]["value"] == pytest.approx(T1, rel=1e-6)


def test_the_same_checkpoint_and_lost_files_say_nothing(tmp_path):
    here, found, _ = look(tmp_path, second=replace(SECOND, model="one"))
    assert (found.manifest, found.stages, found.facts.earlier) == (None, (), ())
    assert found.facts.skipped == {1: "mined with the same checkpoint"}
    assert staleness_lines(found.facts) == ()
    now = round_of(here.storage, SECOND)
    rounds = list_rounds(here.storage)
    part = read_stage(here.storage, "select", rounds[0].selections[0].select.key).parts[0]
    here.storage.remove(part.file("rows.parquet").path)
    again = staleness(here, now, rounds, SETTINGS)
    assert again.facts.skipped == {1: "its files are gone"}
    assert [each.round for each in again.facts.earlier] == [2]


def test_a_round_looks_only_at_earlier_ones(tmp_path):
    here, _, second = look(tmp_path)
    rounds = list_rounds(here.storage)
    assert staleness(here, rounds[0], rounds, SETTINGS).manifest is None
    assert [each.round for each in staleness(here, second, rounds, SETTINGS).facts.earlier] == [1]


def test_ages_count_trainings_and_steps_come_from_the_cards(tmp_path):
    for name, steps in (("two", 300), ("three", 150)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text(f"Loss: `x`; {steps} steps.\n")
    here, *_ = look(tmp_path / "root", path=str(tmp_path / "two"))
    again = round_of(here.storage, replace(SECOND, rows={"t1": "ad"}), path=str(tmp_path / "two"))  # mined again with the same checkpoint
    publish_round(here.storage, again)
    now = round_of(here.storage, replace(SECOND, model="three"), path=str(tmp_path / "three"))
    found = staleness(here, now, list_rounds(here.storage), SETTINGS)
    assert [(each.round, each.age, each.steps) for each in found.facts.earlier] == [(3, 1, 150), (2, 1, 150), (1, 2, 450)]


def test_the_last_rounds_and_the_first_are_looked_at(tmp_path):
    """Rounds 1 to 5 under models one, two, three, four and four again."""
    here = context(tmp_path)
    for model in ("one", "two", "three", "four", "four"):
        publish_round(here.storage, round_of(here.storage, replace(SECOND, model=model)))
    rounds = list_rounds(here.storage)

    def looked(model, count):
        found = staleness(here, round_of(here.storage, replace(SECOND, model=model)), rounds, SETTINGS.model_copy(update={"rounds": count}))
        return [each.round for each in found.facts.earlier], found.facts.skipped

    older = {number: "older than the last 2" for number in (2, 3)}
    assert looked("five", 2) == ([5, 4, 1], older)
    assert looked("five", 8) == looked("five", 4) == ([5, 4, 3, 2, 1], {})
    same = {number: "mined with the same checkpoint" for number in (4, 5)}  # these take no place
    assert looked("four", 1) == ([3, 1], {2: "older than the last 1", **same})
    assert StalenessSettings().rounds == 8


def test_the_recipe_that_is_published_later_is_followed_too(tmp_path):
    here = context(tmp_path)
    first = round_of(here.storage, replace(FIRST, recipe="other"))
    same = round_of(here.storage, FIRST).selections[0]
    publish_round(here.storage, first.model_copy(update={"selections": (same, *first.selections)}))
    found = staleness(here, round_of(here.storage, SECOND), list_rounds(here.storage), SETTINGS)
    assert [each.recipe for each in found.facts.earlier] == ["other", "top"]  # the published one first
    assert found.facts.earlier[0].trained == found.facts.earlier[1].trained


def test_a_selection_that_no_step_saw_is_not_called_trained(tmp_path):
    """Round 1 publishes one recipe, and round 2's checkpoint was trained on its other selection."""
    (tmp_path / "two").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "two" / name).write_text("{}")
    here = context(tmp_path / "root")
    first = round_of(here.storage, replace(FIRST, recipe="other"))
    same = round_of(here.storage, FIRST).selections[0]
    publish_round(here.storage, first.model_copy(update={"selections": (same, *first.selections)}))
    train = StageRef(stage="train-retriever", key="k")
    model = weights_of(str(tmp_path / "two"))
    given = TrainingRecord(dataset="toy", round=1, train=train, base="one", model=model, path="", selection_id=same.selection_id)
    publish_training(here.storage, given)
    now = round_of(here.storage, replace(SECOND, recipe="third"), path=str(tmp_path / "two"))
    found = staleness(here, now, list_rounds(here.storage), SETTINGS)
    assert [(each.recipe, each.trained_on) for each in found.facts.earlier] == [("top", True), ("other", False)]
    assert staleness_lines(found.facts)[1].startswith("negatives of round 1 (other, not trained on): loss share 55 % then, 33 % now")
    publish_round(here.storage, found.recorded(now))
    build_audit(here.storage)
    rows = query_snapshot(latest_audit(here.storage), "SELECT recipe, trained_on, lost, memorised FROM staleness_by_round ORDER BY recipe")
    lost, lost_control = 1 - (T1 + T2) / 2 / OWN["trained"], 1 - K1 / OWN["control"]
    told = [tuple(row.values()) for row in rows.to_pylist()]
    assert told == [("other", False, pytest.approx(lost), None), ("top", True, pytest.approx(lost), pytest.approx(lost - lost_control))]


def test_the_floor_of_approximate_searches(tmp_path):
    settings = SETTINGS.model_copy(update={"seed_overlap": 0.5})
    here, found, _ = look(tmp_path, settings=settings, search={"index": "ivf", "recall": 0.75})
    floors = {row["agreement_floor"] for row in summary(here, found).to_pylist() if row["measure"] == "overlap"}
    assert floors == {0.375, None}  # 1 · 0.75 · 0.5; the difference has none


def test_ranks_of_a_sample_and_a_share_of_the_training(tmp_path):
    here, found, _ = look(tmp_path / "sample", settings=SETTINGS.model_copy(update={"rank_queries": 1}))
    ranks = {row["query_id"]: row["rank"] for row in read_parts(here.storage, found.stages[0].parts, "queries.parquet").to_pylist()}
    assert sum(rank is not None for rank in ranks.values()) < 3
    _, found, _ = look(tmp_path / "share", settings=SETTINGS.model_copy(update={"trained_share": 1e-9}))
    assert found.facts.earlier[0].trained == {}
    assert found.facts.earlier[0].control["loss_share"] == pytest.approx((T1 + T2 + K1) / 3, rel=1e-6)


def test_again_is_the_cache(tmp_path):
    here, found, second = look(tmp_path)
    assert [each.stage for each in found.stages] == ["staleness", "staleness", "staleness-summary"]
    again = staleness(here, second, list_rounds(here.storage), SETTINGS)
    assert [each.key for each in again.stages] == [each.key for each in found.stages]
    assert again.facts == found.facts
    assert {ref.stage for ref in second.stages} >= {"staleness", "staleness-summary"}


def test_the_audit(tmp_path):
    here, _, second = look(tmp_path)
    third = replace(SECOND, model="three", similar={**SECOND.similar, "t1": {**SECOND.similar["t1"], "b": 0.4, "c": 0.1}})
    now = round_of(here.storage, third)
    later = staleness(here, now, list_rounds(here.storage), SETTINGS)
    publish_round(here.storage, later.recorded(now))
    build_audit(here.storage)

    def ask(query):
        return [tuple(row.values()) for row in query_snapshot(latest_audit(here.storage), query).to_pylist()]

    assert ask("SELECT DISTINCT from_round, under_round, age FROM staleness ORDER BY ALL") == [(1, 2, 1), (1, 3, 2), (2, 3, 1)]
    (row,) = ask("""SELECT loss_share, loss_share_at_first, loss_share_control, lost, lost_control, memorised, overlap, agreement_floor,
        retired, newly_hard, gone, negatives_trained, negatives_control FROM staleness_by_round WHERE from_round = 1 AND under_round = 2""")
    lost, lost_control = 1 - (T1 + T2) / 2 / OWN["trained"], 1 - K1 / OWN["control"]
    shares = ((T1 + T2) / 2, OWN["trained"], K1, lost, lost_control, lost - lost_control, 5 / 6, 1.0)
    assert row == pytest.approx((*shares, 2, 2, 0, 4, 2), rel=1e-6)
    # Half-lives of the SQL are those of the formula: round 1's from three points, t1 under round 3 being (2^-5 + 2^-8) of the positive
    left = 2**-5 + 2**-8
    points = [math.log(OWN["trained"]), math.log((T1 + T2) / 2), math.log((left / (1 + left) + T2) / 2)]
    slope = (points[2] - points[0]) / 2
    found_sql = ask("SELECT half_life_rounds, points, half_life_steps FROM half_life WHERE from_round = 1 AND cohort = 'trained'")
    assert found_sql[0] == (pytest.approx(math.log(2) / -slope, rel=1e-6), 3, None)
    assert later.facts.earlier[1].half_life == pytest.approx(found_sql[0][0], rel=1e-9)
    # the control's loss share grew: no half-life. Its hard share stays at one half
    assert ask("SELECT measure, half_life_rounds FROM half_life WHERE from_round = 1 AND cohort = 'control' ORDER BY measure") == [
        ("hard_share", None),
        ("loss_share", None),
    ]
    assert ask("SELECT column_name FROM duckdb_columns() WHERE NOT internal AND coalesce(comment, '') = ''") == []
    assert "feature of the pair" not in str(ask("SELECT comment FROM duckdb_columns()"))
    assert ask("SELECT count(*) FROM stages WHERE stage = 'staleness-summary'") == [(2,)]
    assert len(staleness_rows(here.storage, list_rounds(here.storage))) == ask("SELECT count(*) FROM staleness")[0][0]
    assert second.staleness is not None


def test_the_plot(tmp_path):
    here, _, second = look(tmp_path)
    curves = staleness_curves(here.storage, list_rounds(here.storage))
    assert [(curve.from_round, curve.cohort, curve.ages) for curve in curves] == [(1, "trained", (0, 1)), (1, "control", (0, 1))]
    assert curves[0].values == pytest.approx((OWN["trained"], (T1 + T2) / 2), rel=1e-6)
    assert curves[0].low[0] is None
    picture = base64.b64decode(staleness_picture(curves).removeprefix("data:image/png;base64,"))
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 1000
    publish_round(here.storage, second.model_copy(update={"staleness": None}))
    assert list_rounds(here.storage)[1].staleness == second.staleness  # publishing again keeps it


def test_the_report(tmp_path):
    here, _, second = look(tmp_path)
    first, _ = list_rounds(here.storage)
    sections = [staleness_section(here.storage, record, record.selection()) for record in (first, second)]
    assert sections[0] == sections[1]  # of the older negatives, in the reports of both rounds
    assert sections[0].statement.startswith("Under the checkpoint of round 2: negatives of round 1 (top): loss share 55 % then, 33 % now")
    assert sections[0].values["loss share, control"].value == pytest.approx(K1, rel=1e-6)
    page = render_report(ReportData(facts={"dataset": "toy", "round": 2}, staleness=sections[0]))
    assert "round 1, control" in page
    lone = publish_round(here.storage, round_of(here.storage, SECOND, dataset="lone"))
    assert staleness_section(here.storage, lone, lone.selection()) is None


def test_no_event_is_owed_without_an_api_or_under_the_limit(tmp_path, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    here, found, now = look(tmp_path)
    assert not owe_stale_event(here.storage, now, found.facts, 0.0)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    assert not owe_stale_event(here.storage, now, found.facts, 1.0)
    assert read_pointer(here.storage, "announcements/toy") is None


def test_settings():
    with pytest.raises(ValidationError):
        StalenessSettings(rbo_p=1.0)
    assert StalenessSettings().scale is None
