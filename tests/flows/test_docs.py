import re
from pathlib import Path

import pytest
import yaml

from flows.cli import app
from flows.configuration import validate
from flows.reference import DOCS, PAGES
from flows.settings import MineSettings
from tasks.audit.tables import TABLES
from tasks.select.recipe import Facts
from tasks.select.registry import compose_recipe, recipe_names
from tasks.shards.formats.registry import FORMATS

README = (DOCS.parent / "README.md").read_text()


@pytest.mark.parametrize("name", PAGES)
def test_reference_pages_are_what_the_code_says(name):
    assert (DOCS / name).read_text() == PAGES[name](), "run `make docs`"


def test_the_readme_names_every_command_recipe_format_and_table():
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        assert re.search(rf"hardmine {name}\b|make {name}\b", README + (DOCS / "commands.md").read_text()), name
    for name in recipe_names():
        assert f"`{name}`" in README
    for shape in FORMATS:
        assert f"`{shape.name}`" in README
    for table in TABLES:
        assert f"`{table}`" in README + (DOCS / "audit.md").read_text(), table


def test_the_readmes_yaml_is_valid():
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", README, re.S)]
    assert len(blocks) == 3
    assert validate(MineSettings, blocks[0]).num_negatives == 5
    loop = validate(MineSettings, {**blocks[0], **blocks[1], "dataset": {**blocks[0]["dataset"], **blocks[1]["dataset"]}})
    assert (loop.trains, loop.rounds, loop.stop.patience) == (True, 3, 1)
    recipe = compose_recipe(blocks[2]["recipe"], Facts(5, 1))
    assert [rule.name for rule in recipe.rules] == ["duplicate", "near_duplicate", "teacher_ceiling", "lexical_match"]


def test_no_machine_paths_or_hosts_in_the_docs():
    for path in [DOCS.parent / "README.md", *Path(DOCS).rglob("*.md")]:
        assert not re.search(r"/(root|work|tmp)/", path.read_text()), path
