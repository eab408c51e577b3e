"""Plain top-K beside the default recipe: what the summary of the quickstart ends with."""

import io

import pytest
from rich.console import Console

from flows.mine import mine_round
from flows.settings import MineSettings
from flows.versus import print_versus, refused_examples
from tasks.calibration import ON_LABELS
from tests.e2e.conftest import cross_encoder, round_settings, write_collection  # noqa: F401
from tests.retrieve.build import context


@pytest.fixture(scope="module")
def mined(tmp_path_factory, cross_encoder):  # noqa: F811
    folder = tmp_path_factory.mktemp("versus")
    collection = write_collection(folder / "beir")
    settings = round_settings(collection, cross_encoder, recipe="hardmine", recipes=["top"], root=str(folder / "root"))
    return mine_round(MineSettings.model_validate(settings), context(folder / "root"))


def test_two_documents_that_the_default_recipe_refused_are_shown_with_why(mined):
    examples = refused_examples(mined)
    assert len(examples) == 2 and len({one.query_id for one in examples}) == 2
    for one in examples:
        assert "likely_relevant" in one.reasons
        assert one.document.decisions[0].decision == "rejected"
        assert one.evidence is not None
    console = Console(file=io.StringIO(), width=200)
    print_versus(console, mined)
    text = console.file.getvalue()
    assert text.count("top-K would train with this as a negative") == 2
    assert text.count("label evidence ") == 2 and text.count(f"({ON_LABELS})") >= 2
    assert "plain top-" in text and "hardmine" in text and "queries with all their negatives" in text
