from flows.review import divided, drawn_from
from tasks.audit.records import RoundRecord, SelectionRecord, StageRef
from tasks.review.sample import Drawn, Manifest, Origin, SampledPair


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
