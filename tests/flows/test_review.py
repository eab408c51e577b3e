import io

import pytest
from rich.console import Console

from flows.judgement import print_imported
from flows.promotion import teacher_tells
from flows.review import Imported, divided, drawn_from
from flows.stored import review_verdict
from tasks.audit.records import RoundRecord, SelectionRecord, StageRef
from tasks.review.labels import Answers
from tasks.review.records import ReviewRecord
from tasks.review.sample import Drawn, Manifest, Origin, SampledPair
from tasks.store.manifest import Part, StageManifest, commit_stage
from tasks.store.storage import open_storage


def selection(name, recipe, key):
    return SelectionRecord(selection_id=name, recipe=recipe, select=StageRef(stage="select", key=key))


def sampled(selections, recipes=("top",), candidates="c"):
    origin = Origin(dataset="d", round=1, candidate_set_id=candidates, seed=0, budget=1, strata=(), selections=selections)
    pair = SampledPair(pair="p", query_id="q", doc_id="d", stratum=0, inclusion=1.0, recipes=recipes)
    return Manifest(origin=origin, pairs=(pair,), checksum="")


def drawn(name, recipe, key):
    return Drawn(selection_id=name, recipe=recipe, key=key)


RECORD = RoundRecord(
    dataset="d",
    number=1,
    candidate_set_id="c",
    selection_id="s1",
    created="",
    selections=(
        selection("s1", "top", "k1"),
        selection("s2", "top", "k2"),  # the same recipe with other settings
        selection("s3", "skip-n", "k3b"),  # decided anew
        selection("s4", "ance", "k4"),
    ),
    stages=(),
)


def test_selections_are_known_by_id_and_by_their_decisions():
    manifest = sampled((drawn("s1", "top", "k1"), drawn("s3", "skip-n", "k3a")))
    inside, anew, outside = divided(RECORD, manifest)
    assert ([one.selection_id for one in inside], anew, outside) == (["s1"], ["skip-n", "top"], ["ance"])
    assert divided(RECORD, sampled((drawn("s1", "top", "k1"), drawn("s2", "top", "k2"))))[1:] == ([], ["ance", "skip-n"])


def test_a_round_with_other_candidates_has_none_of_them():
    assert divided(RECORD, sampled((drawn("s1", "top", "k1"),), candidates="other")) == ([], [], ["ance", "skip-n", "top"])


def test_samples_from_before_selections_were_listed_go_by_recipe():
    manifest = sampled(())
    assert drawn_from(RECORD, manifest) == (drawn("s1", "top", "k1"), drawn("s2", "top", "k2"))
    assert [one.selection_id for one in divided(RECORD, manifest)[0]] == ["s1", "s2"]


def measured(storage, *calibrations):
    """The round with a selection for each calibration on a review."""
    chosen = []
    for number, fit in enumerate(calibrations):
        key = f"m{number}"
        part = Part(stage="measure", key=key, index="all", files=(), meta={"calibration": fit})
        commit_stage(storage, StageManifest(stage="measure", version=3, key=key, settings={}, parts=(part,), counters={}, seconds=0.0))
        reference = StageRef(stage="measure", key=key)
        chosen.append(selection(f"s{number}", f"r{number}", f"k{number}").model_copy(update={"measures": reference}))
    return RECORD.model_copy(update={"selections": (*chosen, selection("s9", "r9", "k9"))})


@pytest.mark.parametrize(
    ("calibrations", "verdict"),
    [
        ([], None),
        ([None, {"verdict": "unknown", "pairs": 90}], None),
        ([None, {"verdict": "cannot tell", "pairs": 40}], "cannot tell"),
        ([{"verdict": "cannot tell", "pairs": 40}, {"verdict": "can tell", "pairs": 60}], "can tell"),
    ],
)
def test_the_review_with_most_answers_says_whether_the_teacher_can_tell(tmp_path, calibrations, verdict):
    storage = open_storage(str(tmp_path))
    assert review_verdict(storage, measured(storage, *calibrations)) == verdict


def test_a_review_overrides_the_verdict_on_labels():
    told = {
        (labels, review): teacher_tells([Part(stage="calibrate", key="c", index="all", files=(), meta={"verdict": labels})], review)
        for labels in ("can tell", "cannot tell", "too few labels")
        for review in (None, "can tell", "cannot tell")
    }
    assert {given for given, tells in told.items() if not tells} == {
        ("can tell", "cannot tell"), ("cannot tell", None), ("cannot tell", "cannot tell"), ("too few labels", "cannot tell"),
    }  # fmt: skip
    assert teacher_tells([], None)


@pytest.mark.parametrize(("verdict", "warned"), [(None, False), ("can tell", False), ("cannot tell", True)])
def test_an_import_warns_of_a_teacher_that_cannot_tell(verdict, warned):
    record = ReviewRecord(updated="", manifest=sampled(()), answers=())
    found = Imported(record, Answers((), (), 0, ()), [], [], [], 0, False, 0, 0, verdict)
    shown = io.StringIO()
    print_imported(Console(file=shown, width=200), found)
    assert ("by the review the teacher cannot tell" in shown.getvalue()) == warned
    assert found.as_json()["verdict"] == verdict
