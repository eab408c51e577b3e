import re
from xml.etree import ElementTree as ET

import pyarrow as pa
import pytest

from tasks.compare.families import families
from tasks.compare.plot import LeakPlot
from tasks.report import figures
from tasks.report.data import Comparison, Cost, Estimate, Funnel, Histogram, ReliabilityBin
from tasks.report.keys import estimator_colours, group_keys, recipe_keys
from tasks.report.pictures import histograms
from tests.report.build import COST, FUNNELS, SCORES, YIELDS, calibration, comparison, estimates

STRANGE = 'a $x^{ <b> "q" & 🧪 عربي id="x"'


def plot(names=("top", "rocketqa", "dpr", "hardmine")):
    found = Comparison.model_validate(comparison(names))
    return LeakPlot(tuple(families(found.curves, found.points)), inline=True)


DRAWN = {
    "funnel": lambda: figures.funnel_figure("f", Funnel.model_validate(FUNNELS[0])),
    "histogram": lambda: [figures.histogram_figure("f", Histogram.model_validate(SCORES[1]))],
    "leak": lambda: figures.leak_figure("f", plot()),
    "estimates": lambda: figures.estimates_figure("f", rates(), estimator_colours(rates())),
    "reliability": lambda: [figures.reliability_figure("f", [ReliabilityBin(**each) for each in calibration()["bins"]])],
    "yield": lambda: [figures.yield_figure("f", YIELDS["curves"][0], {"teacher_sigmoid": 0.1})],
    "cost": lambda: figures.cost_figure("f", [Cost(**each) for each in COST]),
}


def rates():
    return [Estimate(**each) for each in estimates() if "quantity" not in each]


@pytest.mark.parametrize("name", DRAWN)
def test_figures_are_whole_alike_each_time_and_do_not_clash(name):
    first, again = DRAWN[name](), DRAWN[name]()
    assert [*first] == [*again]
    ids = []
    for svg in first:
        root = ET.fromstring(str(svg))  # well-formed
        assert root.get("role") == "img" and root.get("aria-label")
        ids += [element.get("id") for element in root.iter() if element.get("id")]
        names = {element.get("id") for element in root.iter()}
        for reference in re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', svg):
            assert (reference[0] or reference[1]) in names
        assert "<style" not in svg and "http" not in svg and "font-family" not in svg
        assert "NaN" not in svg and "nan" not in re.sub(r">[^<]*<", "", svg)
    assert len(ids) == len(set(ids)) and all(each.startswith("f-") for each in ids)


def words(svg):
    return [element.text for element in ET.fromstring(str(svg)).iter() if element.tag == "text"]


def tips(svg):
    return [element.text for element in ET.fromstring(str(svg)).iter("title")]


def test_a_funnel_names_its_steps_with_counts():
    wide, narrow = DRAWN["funnel"]()
    assert tips(wide) == tips(narrow)
    assert words(wide)[:4] == ["candidates", "labelled positives", "rejected: teacher ceiling", "rejected: rank range"]
    assert "rejected: teacher ceiling: 20,114 (14.6\xa0%)" in tips(wide)  # of 138,000
    assert "37,161" in words(wide)


def test_a_funnel_puts_rare_reasons_together_and_shows_what_is_missing():
    reasons = [{"reason": f"r{at}", "count": 100 - at} for at in range(13)]
    svg, _ = figures.funnel_figure("f", Funnel(recipe="x", candidates=2_000, rejected=reasons, negatives=10))
    assert "rejected: other reasons: 267 (13.4\xa0%)" in tips(svg)  # 90 + 89 + 88
    assert "not accounted for: 768 (38.4\xa0%)" in tips(svg)  # 2,000 − 10 − Σ (100 … 88) = 2,000 − 10 − 1,222


def test_nothing_at_all_can_be_drawn():
    svg, _ = figures.funnel_figure("f", Funnel(recipe="x", candidates=0, negatives=0))
    assert tips(svg) == ["candidates: 0 (0.0\xa0%)", "negatives: 0 (0.0\xa0%)"]
    assert figures.histogram_figure("f", Histogram(score="s", edges=(0, 1), counts={"negatives": (0,)}))
    assert figures.cost_figure("f", [Cost(stage="corpus")])
    assert figures.reliability_figure("f", [ReliabilityBin(predicted=0, observed=0, pairs=0)])


def test_strange_names_are_drawn_as_they_are():
    funnel = Funnel(recipe=STRANGE, candidates=9, rejected=[{"reason": STRANGE, "count": 2}], negatives=7)
    assert f"rejected: {STRANGE}" in words(figures.funnel_figure("f", funnel)[0])
    strange = [Estimate(recipe=STRANGE, estimator=STRANGE, rate=0.1, low=0.0, high=0.2)]
    svg, _ = figures.estimates_figure("f", strange, estimator_colours(strange))
    assert tips(svg) == [f"{STRANGE}, {STRANGE}: 10.0\xa0%"]
    found = comparison(("hardmine",))
    renamed = [found["curves"][0].model_copy(update={"family": STRANGE})]
    svg, _ = figures.leak_figure("f", LeakPlot(tuple(families(renamed, {})), inline=True))
    assert STRANGE in words(svg)


def test_marks_of_the_leak_plot_say_what_they_are():
    svg, _ = DRAWN["leak"]()
    assert "rocketqa, negative_ceiling = 0.1: 3.1 % at hardness 0.612, serves 100 %, backfill 34 %" in tips(svg)
    assert "top: 31.4 % at hardness 0.742, serves 100 %" in tips(svg)
    assert len(tips(svg)) == 1 + 4 + 1 + 5  # settings of top, rocketqa, dpr, hardmine


def test_the_legend_looks_as_the_plot():
    keys = {key.name: key for key in recipe_keys(plot().families, 0.95)}
    assert list(keys) == ["top", "dpr", "rocketqa", "hardmine"]  # most leak first
    assert (keys["top"].line, keys["rocketqa"].line) == (False, True)
    assert (keys["rocketqa"].hollow, keys["rocketqa"].note, keys["top"].hollow) == (True, "34 %", False)
    assert (keys["dpr"].faint, keys["top"].faint) == (True, False)  # serves 93 %
    assert (keys["hardmine"].colour, keys["hardmine"].strong) == ("var(--ink)", True)


def test_known_groups_have_their_colours():
    known = Histogram(score="s", edges=(0, 1), counts={"suspects": (2,), "positives": (1,), "others": (3,)})
    assert [(key.name, key.colour, key.note) for key in group_keys(known)] == [
        ("suspects", "var(--s1)", "2"),
        ("positives", "var(--s2)", "1"),
        ("others", "var(--s7)", "3"),
    ]


def test_what_is_counted_in_a_batch_is_not_called_a_share_of_the_negatives():
    said = {}
    for quantity in ("false_negatives", "survival", "in_batch"):
        given = [Estimate(recipe="top", estimator="x", quantity=quantity, rate=0.1, low=0.0, high=0.2)]
        said[quantity] = words(figures.estimates_figure("f", given, estimator_colours(given))[0])[-2]  # the last is the recipe's
    assert said == {
        "false_negatives": "false negatives among the negatives (%)",
        "survival": "survival: P(emitted | relevant and retrieved) (%)",
        "in_batch": "share of the batch's pairs, or of its rows (%)",
    }


def test_histograms_of_a_selection():
    kinds = {"negative": (3, 1), "planted": (0, 1), "positive": (0, 2), "suspect": (1, 0)}
    rows = [
        {"score": "dense_score", "kind": kind, "low": low, "high": low + 0.5, "pairs": pairs}
        for kind, counts in kinds.items()
        for low, pairs in zip((0.0, 0.5), counts, strict=True)
    ]
    (found,) = histograms(pa.Table.from_pylist(rows))
    assert (found.score, found.words, found.edges) == ("dense_score", "similarity of query and document", (0.0, 0.5, 1.0))
    assert list(found.counts.items()) == [("positives", (0, 2)), ("negatives", (3, 1)), ("suspects", (1, 0)), ("planted", (0, 1))]
