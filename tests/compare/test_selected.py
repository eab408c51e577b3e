import pytest

from tasks.compare.metrics import measure
from tasks.compare.settings import MeasureSettings
from tasks.select.recipe import Recipe
from tasks.select.stage import select
from tests.compare.build import truth
from tests.select.tables import ranked, table


def test_a_real_selection_is_measured():
    rows = ranked([0.9, 0.8, 0.7, 0.6], positives=("d2",)) + ranked([0.9, 0.5], positives=("d1",), query="r")
    scored = table(rows)
    recipe = Recipe(num_negatives=2)
    selection, laid_out = select(scored, recipe, ["dense", "bm25"], 0, "s")
    limits = MeasureSettings.of_recipe(recipe.model_dump(mode="json"))
    found = measure(selection, scored, truth({("q", "d1")}, {"q", "r"}), limits, laid_out)
    assert found == measure(selection, scored, truth({("q", "d1")}, {"q", "r"}), limits)
    assert (found.served, found.negatives, found.leak.total.value) == (0.5, 3, pytest.approx(1 / 3))
    assert found.similarity.mean == pytest.approx((0.9 + 0.7 + 0.5) / 3)
