import subprocess
import sys

import pytest

from tasks.compare.curves import Curve, CurvePoint
from tasks.compare.plot import leak_against_hardness, yield_curves
from tasks.compare.results import Rate
from tasks.compare.yields import YieldCurve, YieldPoint
from tasks.errors import UsageError


def point(hardness, leak, **more):
    return CurvePoint(**{"served": 1.0, "hardness": hardness, "leak": leak, "gradient_leak": leak, **more})


CURVES = [
    Curve(family="skip-n", parameter="n", points=(point(0.7, 0.5), point(0.6, 0.2, is_default=True), point(0.4, 0.05, served=0.9))),
    Curve(family="hardmine", points=(point(0.65, 0.05, backfill=0.2, is_default=True, leak_low=0.03, leak_high=0.08),)),
    Curve(family="unknown", points=(point(0.5, None),)),
]
POINTS = {"oracle": point(0.64, 0.0), "top": point(0.74, 0.68)}


def rate(value):
    return Rate(value=value, low=0.8 * value, high=1.2 * value, pairs=100, queries=20)


def yields(column, rated=True):
    points = tuple(
        YieldPoint(threshold=at / 10, remaining=at, served=at / 10, rate=rate(at / 20) if rated else None) for at in range(1, 11)
    )
    return YieldCurve(column=column, estimator="truth" if rated else None, num_negatives=5, depth=100, queries=20, points=points)


def test_svg_is_the_same_each_time_and_names_the_recipes(tmp_path):
    first = leak_against_hardness(CURVES, POINTS, tmp_path / "a.svg", title="A round").read_text()
    assert first == leak_against_hardness(CURVES, POINTS, tmp_path / "b.svg", title="A round").read_text()
    for text in ("skip-n", "hardmine  (20 %)", "oracle", "top", "A round", "with backfill (share)", "serves under 95 %", "default setting"):
        assert f"<!-- {text} -->" in first, text
    assert "<!-- unknown -->" not in first
    assert "<dc:date>" not in first
    assert 'viewBox="0 0 648 432"' in first  # 9 × 6 inches


def test_png_is_written_and_folders_are_made(tmp_path):
    path = leak_against_hardness(CURVES, {}, tmp_path / "deep" / "a.png", leak="gradient_leak")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.read_bytes() == leak_against_hardness(CURVES, {}, tmp_path / "b.png", leak="gradient_leak").read_bytes()


def test_one_point_alone(tmp_path):
    assert leak_against_hardness([], {"oracle": point(0.6, 0.0)}, tmp_path / "a.svg").exists()


def test_many_recipes_keep_apart(tmp_path):
    crowd = {f"recipe-{number}": point(0.6 + number / 1000, 0.2 + number / 1000) for number in range(40)}
    text = leak_against_hardness(CURVES, crowd, tmp_path / "a.svg").read_text()
    assert all(f"<!-- recipe-{number} -->" in text for number in range(40))  # the legend names those that have no room


def test_mistakes(tmp_path):
    with pytest.raises(UsageError, match="nothing to plot"):
        leak_against_hardness(CURVES, {}, tmp_path / "a.svg", hardness="fixed_hardness")
    with pytest.raises(UsageError, match=r"written as .svg or .png"):
        leak_against_hardness(CURVES, {}, tmp_path / "a.pdf")
    with pytest.raises(UsageError, match="no yield curve"):
        yield_curves([], tmp_path / "a.svg")


def test_yield_curves(tmp_path):
    text = yield_curves(
        [yields("teacher_sigmoid"), yields("dense_score", rated=False)], tmp_path / "a.svg", chosen={"teacher_sigmoid": 0.3}
    ).read_text()
    for word in ("teacher_sigmoid", "dense_score", "no truth and no calibrated teacher", "&lt; 0.3", "queries that keep 5 (%)"):
        assert f"<!-- {word} -->" in text, word
    assert (
        text
        == yield_curves(
            [yields("teacher_sigmoid"), yields("dense_score", rated=False)], tmp_path / "b.svg", chosen={"teacher_sigmoid": 0.3}
        ).read_text()
    )


def test_importing_loads_no_plotting_library():
    code = "import sys, tasks.compare.plot, tasks.compare.metrics; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
