import json

from tasks.compare.metrics import measure
from tasks.compare.results import Overlap, RecipeOutcome
from tasks.compare.settings import MeasureSettings
from tasks.compare.tables import comparison_rows, terminal_rows
from tests.compare.build import candidates, decisions, truth


def outcome(name, known):
    selection = decisions(
        ("main", "a", "p", "positive"), ("main", "a", "n1", "negative"), ("main", "a", "n2", "negative", {"draw": "backfill"})
    )
    scored = candidates(("a", "p", 0.9), ("a", "n1", 0.75), ("a", "n2", 0.5))
    metrics = measure(selection, scored, truth({("a", "n1")}, {"a"}) if known else None, MeasureSettings(num_negatives=2))
    overlap = {"other": Overlap(jaccard=0.2, share=0.3), "like": Overlap(jaccard=0.6, share=0.7)}
    return RecipeOutcome(recipe=name, settings={"n": 3}, seconds=0.25, metrics=metrics, overlap=overlap)


def test_rows_for_json():
    row = comparison_rows([outcome("skip-n", True)])[0]
    assert json.loads(json.dumps(row)) == row
    assert (row["recipe"], row["judged"], row["queries"], row["served"], row["negatives"]) == ("skip-n", True, 1, 1.0, 2)
    assert (row["leak"], row["leak_chosen"], row["leak_backfill"], row["backfill"]) == (0.5, 1.0, 0.0, 0.5)
    assert (row["similarity"], row["similarity_std"]) == (0.625, 0.125)
    assert (row["nearest"], row["nearest_jaccard"]) == ("like", 0.6)
    assert row["leak_by_draw"] == {"backfill": {"negatives": 1, "leaked": 0}, "draw": {"negatives": 1, "leaked": 1}}
    assert row["estimated"] is None
    assert comparison_rows([outcome("skip-n", False)])[0]["leak"] is None


def test_rows_for_the_terminal():
    row = terminal_rows([outcome("skip-n", True)])[0]
    assert row == {
        "recipe": "skip-n",
        "leak": "50.0 %",
        # one query: t(1) = 12.706; 2 ÷ 1.3 = 1.54 draws, mixed (1 + 2) ÷ (2 ÷ 1.54) = 2.31: ½ ± ½ · √(69.96 ÷ 70.96) by t²/n = 69.96
        "interval": "0.4 – 99.6",
        "gradient leak": "99.3 %",  # e^-3 / (e^-3 + e^-8) = 1 / (1 + e^-5)
        "hardness": "0.625",
        "±": "0.125",
        "served": "100.0 %",
        "per query": "2.00",
        "backfill": "50.0 %",
        "most like": "like (0.60)",
        "seconds": "0.2",
    }
    assert "leak" not in terminal_rows([outcome("skip-n", False)])[0]
    assert terminal_rows([outcome("a", True), outcome("b", False)])[1]["leak"] == ""
