import hashlib
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tasks.report import render
from tasks.report.render import render_report, write_report
from tests.report.build import FACTS, FUNNELS, SCORES, comparison, empty, estimates, example, full
from tests.report.page import check

SECTIONS = {
    "funnel": "From candidates to negatives",
    "scores": "Scores",
    "recipes": "Recipes compared",
    "false_negatives": "False negatives",
    "calibration": "Calibration of the teacher",
    "yields": "Yield",
    "slices": "Slices",
    "hardest": "Hardest negatives",
    "suspicious": "Most suspicious negatives",
    "zeros": "Suspect zeros",
    "hubs": "Documents used most",
    "cost": "Cost",
    "staleness": "Staleness",
    "settings": "Settings",
}
FIELDS = {"funnel": "funnels", "recipes": "comparison"}  # sections whose data have another name


@pytest.fixture(scope="module")
def page():
    return render_report(full())


@cache
def few():
    return comparison(("top", "hardmine"))


def small(**changes):
    """Every section filled, with less to draw."""
    return full(**{"comparison": few(), "false_negatives": estimates()[:2], "scores": SCORES[:1], **changes})


@cache
def small_page():
    return render_report(small())


def section(text, name):
    return re.search(rf'<section id="{name}".*?</section>', text, re.DOTALL).group()


def test_a_full_report_is_whole_and_has_every_section(page):
    found = check(page)
    assert [each for each in found.ids if each in SECTIONS] == list(SECTIONS)
    for name, title in SECTIONS.items():
        assert f'<a href="#{name}">{title}</a>' in page
        assert 'class="none"' not in section(page, name)
    assert found.tags.count("h1") == 1
    assert "<title>python-docstrings · round 3 · Hardmine</title>" in page


def test_an_empty_report_says_in_each_section_why():
    text = render_report(empty())
    found = check(text)
    shown = [name for name in SECTIONS if name not in ("staleness", "zeros")]  # not even named without data
    assert [each for each in found.ids if each in SECTIONS] == shown
    for name in shown:
        assert section(text, name).count('<p class="none"') == 1
    assert "Staleness" not in text
    assert "svg" not in found.tags


@pytest.mark.parametrize("name", [name for name in SECTIONS if name not in ("staleness", "zeros", "settings")])
def test_one_section_is_missing(name):
    field = FIELDS.get(name, name)
    left_out = None if field in ("comparison", "calibration", "yields") else ()
    text = render_report(small(**{field: left_out, "absent": {name: "It was `not` asked for."}}))
    check(text)
    assert '<p class="none" dir="auto">It was <code>not</code> asked for.</p>' in section(text, name)
    assert text.count('class="none"') == 1
    other = "cost" if name != "cost" else "slices"
    assert section(text, other) == section(small_page(), other)


def test_settings_as_yaml_in_their_order(page):
    assert "retrieve:\n  dense:\n    depth: 100\n" in section(page, "settings")
    text = render_report(empty(facts={**FACTS, "settings": {"b": ("x", 1), "a": "</pre><script>é"}}))
    assert "b:\n- x\n- 1\na: &lt;/pre&gt;&lt;script&gt;é" in section(text, "settings")


def test_equal_data_give_equal_bytes(page, tmp_path):
    path = write_report(full(), tmp_path / "deep" / "report.html")
    assert path.read_bytes() == page.encode()
    code = (
        "import hashlib; from tests.report import test_render as t; print(hashlib.sha256(t.render_report(t.small()).encode()).hexdigest())"
    )
    command = [sys.executable, "-c", code]
    elsewhere = subprocess.run(command, check=True, capture_output=True, env={"PYTHONHASHSEED": "7", "PYTHONPATH": "."}).stdout
    assert elsewhere.decode().strip() == hashlib.sha256(small_page().encode()).hexdigest()


NASTY = "<script>alert('x')</script> \"&amp;\" </details></section>"


@pytest.mark.fault("a script in every text of the report", "in every field that a report shows")
def test_texts_of_the_user_are_escaped():
    bad = {"doc_id": NASTY, "title": NASTY, "text": NASTY, "scores": {NASTY: 0.5}}
    card = {"query_id": NASTY, "query": NASTY, "positives": [bad], "negative": bad, "reasons": [NASTY], "note": NASTY}
    names = few()
    outcome = names["outcomes"][0].model_copy(update={"recipe": NASTY, "settings": {NASTY: NASTY}})
    line = names["curves"][0].model_copy(update={"family": NASTY, "parameter": NASTY})
    words = dict.fromkeys(("dataset", "created", "model", "teacher", "recipe", "baseline"), NASTY)
    data = full(
        facts={**words, "round": 1, "settings": {NASTY: NASTY}},
        warnings=[NASTY],
        notes=[NASTY, f"`{NASTY}`"],
        absent={"slices": NASTY},
        slices=(),
        funnels=[{**FUNNELS[1], "recipe": NASTY, "rejected": [{"reason": NASTY, "count": 3, "meaning": NASTY}]}],
        scores=[{"score": NASTY, "words": NASTY, "edges": [0, 1], "counts": {NASTY: [3]}, "marks": {NASTY: 0.5}, "note": NASTY}],
        comparison={
            "outcomes": [outcome],
            "curves": [line],
            "points": {NASTY + " 2": names["points"]["top"]},
            "left_out": {NASTY: NASTY},
            "note": NASTY,
        },
        false_negatives=[{"recipe": NASTY, "estimator": NASTY, "rate": 0.1, "low": 0.0, "high": 0.2, "note": NASTY}],
        calibration={"source": NASTY, "warning": NASTY, "method": NASTY, "reviewed": [{"recipe": NASTY, "expected": 1, "reviewed": 2}]},
        yields={"rows": [{"recipe": NASTY, "stage": NASTY, "queries": 2, "served": 1}], "note": NASTY},
        hardest=[card],
        suspicious=[card],
        hubs=[{"doc_id": NASTY, "title": NASTY, "text": NASTY, "uses": 3}],
        cost=[{"stage": NASTY, "seconds": 1.0}],
        staleness={"statement": NASTY, "values": {NASTY: {"value": 0.1}}},
    )
    text = render_report(data)
    found = check(text)  # nothing is opened that is not closed: no tag of the user is one
    assert "script" not in found.tags
    assert "<script" not in text
    assert NASTY in " ".join(found.words)  # it is read as it was written


def test_characters_that_html_cannot_hold_and_any_script():
    texts = ("zero\x00 bell\x07 \ud800 lone \ufffe", "🧪 emoji 👩‍🔬", "‮ turned around", "كيف أقرأ", "a\r\nb\rc", "", "   ")
    text = render_report(empty(hardest=[example(at, each, each, each) for at, each in enumerate(texts)]))
    found = check(text)
    text.encode()  # no lone surrogate is left
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)
    assert "zero\ufffd bell\ufffd \ufffd lone \ufffd" in found.text
    assert "👩‍🔬" in text
    assert text.count('<p class="text" dir="auto">كيف أقرأ</p>') == 3


def test_long_texts_are_cut_and_the_whole_is_behind_a_line():
    long = "word " * 20_000  # 100 kB
    text = render_report(empty(hardest=[example(1, "q", "short", long + "end")]))
    check(text)
    assert len(text.encode()) < 70_000
    assert text.count('<details class="text">') == 1
    assert "(80,003 more characters are not in this file)" in text
    middle = render_report(empty(hardest=[example(1, "q", "short", "line\n" * 100 + "end")]))
    assert "line\nline\nend</div>" in middle  # its lines are kept


def test_nothing_is_asked_for_from_outside(page):
    assert not re.search(r"https?://", page)
    assert "default-src 'none'" in page


def test_every_colour_is_there_in_light_and_dark(page):
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL).group(1)
    light, dark = (set(re.findall(r"(--[\w-]+):", rules)) for rules in re.findall(r":root \{(.*?)\}", style, re.DOTALL))
    assert light - dark == {"--bar"}
    assert set(re.findall(r"var\((--[\w-]+)\)", page)) - {"--width"} <= light
    plots = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert not re.search(r"(fill|stroke): #", plots)  # all of them follow the page


def test_staleness_without_values_is_its_sentence():
    text = render_report(empty(staleness={"statement": "Mined two checkpoints ago."}))
    assert '<p class="lead" dir="auto">Mined two checkpoints ago.</p>' in section(text, "staleness")


def test_the_template_and_its_style_lie_beside_the_code():
    folder = Path(render.__file__).parent
    assert {path.name for path in folder.iterdir()} >= {"report.html.j2", "report.css"}


def test_importing_loads_no_plotting_library():
    code = "import sys, tasks.report.render; sys.exit(any(name in sys.modules for name in ('matplotlib', 'torch', 'sklearn')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_rates_in_the_batch_are_shown_once_and_strata_in_a_table_of_their_own():
    batch = [{"recipe": name, "estimator": "pairs, by labels", "quantity": "in_batch", "rate": rate} for name, rate in
             [("hardmine", 0.02), ("top", 0.02), ("pair", 0.03)]]  # fmt: skip
    slices = [{"by": "language", "name": "en", "queries": 40, "values": {"yield": {"value": 1.0}}},
              {"by": "rank × score", "name": "rank ≤ 2", "queries": 40, "values": {"planted survival": {"value": 0.5}}}]  # fmt: skip
    text = render_report(empty(facts=FACTS, false_negatives=batch, slices=slices))
    check(text)
    rates = section(text, "false_negatives")
    assert [rates.count(f"<bdi>{name}</bdi></th>") for name in ("hardmine", "top", "pair")] == [1, 0, 1]
    assert "the first of them is shown" in rates
    first, second = re.findall(r"<table>.*?</table>", section(text, "slices"), re.DOTALL)
    assert "planted survival" in second and "planted survival" not in first and "yield" not in second
