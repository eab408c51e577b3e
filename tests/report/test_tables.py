from tasks.report.cards import Text, example_cards, hub_cards
from tasks.report.data import Cost, Estimate, Funnel, Planned, Slice
from tasks.report.examples import Example, Hub
from tasks.report.glance import tiles
from tasks.report.tables import cost_table, estimates_table, planned_table, recipes_table, rejections_table, slices_table
from tests.report.build import FACTS, FUNNELS, SLICES, comparison, empty, estimates, example, outcome

SPACE = "\N{NO-BREAK SPACE}"


def cells(table):
    return [[cell.text for cell in row.cells] for row in table.rows]


def heads(table):
    return [head.text for head in table.heads]


def test_recipes_stand_by_their_leak_and_the_own_one_is_strong():
    table = recipes_table([outcome("top"), outcome("hardmine"), outcome("in-batch")], "hardmine", {})
    assert [row[0] for row in cells(table)] == ["in-batch", "hardmine", "top"]
    assert [row.strong for row in table.rows] == [False, True, False]
    first, rest = "recipe, false negatives, by gradient, by the teacher: no count", "hardness, second encoder, served, per query, backfill"
    assert heads(table) == [*first.split(", "), *rest.split(", "), "most like"]
    leak = table.rows[1].cells[1]
    assert leak.text == f"2.9{SPACE}%"
    assert leak.note == "2.0 – 3.8".replace(" ", SPACE)  # 0.029 ± 1.96 · √(0.029 · 0.971 / 1380)


def test_without_a_truth_the_estimate_orders_and_columns_that_none_has_are_left_out():
    table = recipes_table([outcome("top", judged=False), outcome("hardmine", judged=False)], "", {})
    assert [row[0] for row in cells(table)] == ["hardmine", "top"]
    assert "false negatives" not in heads(table)
    hardest_first = recipes_table([outcome(name, judged=False, estimated=False) for name in ("in-batch", "top")], "", {})
    assert [row[0] for row in cells(hardest_first)] == ["top", "in-batch"]


def test_settings_that_were_given_stand_beside_the_name():
    given = outcome("simans").model_copy(update={"settings": {"a": 2.0, "b": 0}})
    assert recipes_table([given], "", {}).rows[0].cells[0].note == "a = 2.0, b = 0"
    own = given.model_copy(
        update={"settings": {"needs": {"teacher_depth": 20}, "rules": [{"kind": "duplicate"}], "rank_by": "dense_score"}}
    )
    assert recipes_table([own], "", {}).rows[0].cells[0].note == "own rules"


def test_cost_adds_up_what_this_round_spent():
    stages = [
        Cost(stage="embed_documents", seconds=100.0, model_calls=1_000, bytes=1_000, reused=True),
        Cost(stage="score", seconds=70.0, model_calls=50, cache_hits=7, bytes=2_500_000),
        Cost(stage="select", seconds=5.0, cache_hits=1, bytes=499_000),
    ]
    assert cells(cost_table(stages)) == [
        ["embed documents", "–", "–", "0", f"1.0{SPACE}kB"],
        ["score", f"1{SPACE}min{SPACE}10{SPACE}s", "50", "7", f"2.5{SPACE}MB"],
        ["select", f"5.0{SPACE}s", "0", "1", f"499.0{SPACE}kB"],
        ["this round", f"1{SPACE}min{SPACE}15{SPACE}s", "50", "8", f"3.0{SPACE}MB"],  # without what an earlier round had done
    ]


def test_planned_beside_actual():
    planned = [
        Planned(stage="score", planned_seconds=50.0, seconds=40.0, planned_calls=60, model_calls=50, planned_bytes=1_000, bytes=2_000),
        Planned(stage="staleness", planned_seconds=None, seconds=2.0),
        Planned(stage="all stages", planned_seconds=50.0, seconds=42.0, planned_calls=60, model_calls=50, planned_bytes=1_000, bytes=2_000),
    ]
    table = planned_table(planned)
    assert cells(table) == [
        ["score", f"50.0{SPACE}s", f"40.0{SPACE}s", "60", "50", f"1.0{SPACE}kB", f"2.0{SPACE}kB"],
        ["staleness", "–", f"2.0{SPACE}s", "–", "0", "–", f"0{SPACE}B"],
        ["all stages", f"50.0{SPACE}s", f"42.0{SPACE}s", "60", "50", f"1.0{SPACE}kB", f"2.0{SPACE}kB"],
    ]
    assert [row.cells[2].note for row in table.rows] == ["-20 %", "", "-16 %"]  # (40 - 50) / 50, (42 - 50) / 50
    assert [row.strong for row in table.rows] == [False, False, True]


def test_rejections_by_count_with_their_share_of_all():
    table = rejections_table(Funnel.model_validate(FUNNELS[0]))
    assert cells(table)[0] == ["teacher_ceiling", "the teacher calls it likely relevant", "20,114", f"54.3{SPACE}%"]  # of 37,037
    assert heads(rejections_table(Funnel.model_validate(FUNNELS[1]))) == ["reason", "candidates", "share of rejections"]


def test_slices_with_few_queries_are_marked_and_values_may_be_missing():
    more = {"by": "language", "name": "fr", "queries": 29, "values": {"backfill": {"value": None}}}
    table = slices_table([Slice.model_validate(each) for each in (*SLICES[:1], more)])
    assert heads(table) == ["by", "slice", "queries", "yield", "hardness", "false negatives", "backfill"]
    assert cells(table) == [
        ["language", "en", "1,204", f"99.0{SPACE}%", "0.664", f"2.8{SPACE}%", "–"],
        ["language", "fr", "29", "–", "–", "–", "–"],
    ]
    assert [row.cells[1].mark for row in table.rows] == ["", "few queries"]


def test_estimates_without_a_rate_keep_their_note():
    table = estimates_table([Estimate(recipe="top", estimator="review", note="no review yet")], {})
    assert (heads(table), cells(table)) == (["recipe", "estimator", "note"], [["top", "review", "no review yet"]])


def test_a_long_note_is_said_once_and_below():
    long, longer = "a note that takes more than one line of a narrow column", "another one of these, which is no shorter than the first"
    notes = {"a": long, "b": longer, "c": long, "d": "short", "e": ""}
    table = estimates_table([Estimate(recipe=name, estimator="x", rate=0.1, note=note) for name, note in notes.items()], {})
    assert [row[-1] for row in cells(table)] == ["(1)", "(2)", "(1)", "short", ""]
    assert table.notes == (long, longer)


def test_the_headline_is_measured_else_estimated():
    data = {"facts": FACTS, "false_negatives": estimates()}
    measured = tiles(empty(**data, comparison=comparison()))[0]
    assert (measured.value, measured.beside) == (f"2.9{SPACE}%", f"top: 31.4{SPACE}%")
    assert measured.note.endswith("measured on 1,380 queries")
    estimated = tiles(empty(**data))[0]
    assert (estimated.value, estimated.note) == (f"2.9{SPACE}%", "2.0 – 4.1, estimated by judged qrels".replace(" – ", f"{SPACE}–{SPACE}"))
    survival = [each for each in estimates() if each.get("quantity") == "survival"]
    assert [tile.name for tile in tiles(empty(facts=FACTS, false_negatives=survival))] == ["queries", "documents"]  # survival is no rate
    teacher = tiles(empty(facts=FACTS, comparison=comparison(judged=False)))[0]
    assert teacher.value == f"3.2{SPACE}%"  # 1.1 · 2.9 %
    assert teacher.note.endswith("by the teacher, fitted on labels, which are incomplete: no count")
    assert tiles(empty()) == []


def test_texts_are_cut_only_if_that_leaves_something_out():
    assert Text.of("one\n two ") == Text("one two")
    cut = Text.of("word " * 100)
    assert cut.short.endswith("word …") and len(cut.short) <= 280
    assert cut.full == ("word " * 100).strip()
    assert Text.of("x" * 300).short == "x" * 279 + "…"


def test_cards_show_five_positives_and_most_used_documents_first():
    many = Example.model_validate({**example(1, "q", "p", "n"), "positives": [{"doc_id": str(at)} for at in range(7)]})
    card = example_cards([many])[0]
    assert ([each.kind for each in card.documents], card.more) == (["positive"] * 5 + ["negative"], 2)
    refused = example_cards([Example.model_validate({**example(1, "q", "p", "n"), "decision": "not_drawn"})])[0].documents[-1]
    assert (refused.kind, refused.tag) == ("document", "not drawn")
    hubs = hub_cards([Hub(doc_id="b", uses=2), Hub(doc_id="c", uses=5), Hub(doc_id="a", uses=2)])
    assert [card.documents[0].doc_id for card in hubs] == ["c", "a", "b"]
