"""run.yaml, recipes, --set and review files of any content: settings, or an error of wrong use; never anything else."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flows.configuration import load_recipe, load_recipe_list, load_settings, settings_from
from flows.settings import MineSettings
from tasks.errors import InputError, UsageError
from tasks.review.labels import read_labels
from tasks.review.sample import manifest_of
from tasks.select.recipe import Facts
from tasks.select.registry import compose_recipe, recipe_names
from tests.fuzz.material import MUCH, bad_lines, line_ends, odd_texts, spoilt, values
from tests.review.conftest import origin, sample  # noqa: F401

fault = pytest.mark.fault
RUN = {
    "root": "mining", "seed": 0, "num_negatives": 5, "formats": ["triplet"], "teacher": "none", "recipe": {"name": "rocketqa"},
    "dataset": {"name": "d", "format": "jsonl", "corpus": ["c.jsonl"], "queries": ["q.jsonl"]},
    "model": {"path": "packaged", "max_length": 128}, "retrieve": {"dense": {"top_k": 100}, "bm25": {"top_k": 50}},
}  # fmt: skip
TEXT = yaml.safe_dump(RUN).encode()
NASTY = (
    "a: 2020-13-45", "a: !!int ''", "a: !!timestamp x", "a: !!bool x", "a: !!float x", "a: !!binary ยง",
    "a: !!python/object/apply:os.system [ls]",
    "&a {x: *a}", "recipe: &a {name: top, x: *a}", "? [1, 2]\n: 3", "? {a: 1}\n: 3", "1: 2", "null: 1", "[" * 5_000, "{a: " * 3_000,
    "a: *b",
    'root: "\\ud800"', 'root: "\\0"', "root: \0", "\ufeffroot: x", "a: b: c", "\t", "%YAML 9.9\n---\na: 1", "---\na: 1\n---\nb: 2", 
    "<<: 3", "<<: [1]",
    "seed: .nan", "seed: .inf", "seed: 1" + "0" * 5_000, "seed: 0x", "seed: 1:60:60", "dataset: {name: ../../x}", "recipe: {name: [top]}",
    "a: &a [x, x]\nb: &b [" + ", ".join(["*a"] * 50) + "]\nc: &c [" + ", ".join(["*b"] * 50) + "]\nd: &d [" + ", ".join(["*c"] * 50) + "]",
    "x" * 200_000, "- 1\n" * 2_000, "\u202eroot: x", "root: 🧪\nseed: [1]",
)  # fmt: skip


def refused(read):
    """Settings, or ``None`` where they were refused in a user's words."""
    try:
        return read()
    except UsageError as error:
        assert error.message.strip()
        error.message.encode("utf-8")
        return None


@fault("a run.yaml of any content", "bytes changed in a good one, values of any kind, YAML that contains itself or unfolds to millions")
@MUCH
@given(content=spoilt(TEXT) | st.sampled_from(NASTY).map(str.encode) | st.binary(max_size=60))
def test_run_yaml_of_any_content(tmp_path, content):
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    refused(lambda: load_settings(MineSettings, path))


@fault("YAML that breaks parsers", "texts with Python tags, cycles, 5,000 brackets, numbers of 5,000 digits, NULs, merge keys")
@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_yaml_that_breaks_parsers(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    assert refused(lambda: load_settings(MineSettings, path)) is None
    refused(lambda: load_recipe(text))
    refused(lambda: load_recipe_list(text))
    refused(lambda: settings_from(MineSettings, [f"dataset.name={text}", f"recipe.x={text}"]))


@fault("a setting of any value", "each field of run.yaml with values of any kind and depth")
@MUCH
@given(
    field=st.sampled_from(
        [(name,) for name in RUN] + [("dataset", "name"), ("dataset", "columns"), ("model", "path"), ("retrieve", "further"), ("no such",)]
    ),
    value=values,
)
def test_any_value_of_any_setting(tmp_path, field, value):
    run = json.loads(json.dumps(RUN))
    place = run
    for step in field[:-1]:
        place = place[step]
    place[field[-1]] = value
    path = tmp_path / "run.yaml"
    path.write_bytes(json.dumps(run).encode())
    refused(lambda: load_settings(MineSettings, path))


@fault("a recipe of any content", "every published recipe and free ones with settings of any names and values")
@MUCH
@given(
    name=st.sampled_from([*recipe_names(), "mine", ""]),
    more=st.dictionaries(
        st.sampled_from(["rules", "draws", "limits", "ceiling", "depth", "num_negatives", "skip", "margin", "temperature"]) | odd_texts,
        values,
        max_size=3,
    ),
)
def test_recipes_of_any_settings(name, more):
    wanted = refused(lambda: load_recipe(json.dumps({"name": name, **more})))
    if wanted is not None:
        refused(lambda: compose_recipe(wanted, Facts(num_negatives=3, max_positives=2)))


@fault("a review file of any content", "any bytes, and rows of odd values, around a good label")
@MUCH
@given(
    rows=st.lists(st.dictionaries(st.sampled_from(["pair", "label", "note", "reviewer", "query_id"]), values, max_size=4), max_size=5),
    lines=st.lists(bad_lines, max_size=4),
    end=line_ends,
    first=st.booleans(),
)
def test_a_good_label_is_never_lost(tmp_path, sample, origin, rows, lines, end, first):  # noqa: F811
    manifest = manifest_of(sample, origin)
    good = json.dumps({"pair": manifest.pairs[0].pair, "reviewer": "planted", "label": "relevant"}).encode()
    others = [*(json.dumps(row).encode() for row in rows), *lines]
    path = tmp_path / "r.jsonl"
    path.write_bytes(end.join([good, *others] if first else [b'{"pair": ""}', *others, good]))
    answers = read_labels([path], manifest)
    assert ("planted", "relevant") in {(one.reviewer, one.label) for one in answers.answers}
    for aside in answers.aside:
        assert aside.mend and str(aside).encode("utf-8")


@fault("a review file of any bytes", "random bytes after the beginnings of CSV and JSON")
@MUCH
@given(
    content=st.binary(max_size=80),
    start=st.sampled_from([b"", b"pair,label\n", b"[", b"{", b"sep=;\npair;label\n", b"\xff\xfe"]),
    name=st.sampled_from(["r.csv", "r.json"]),
)
def test_review_files_of_any_bytes(tmp_path, sample, origin, content, start, name):  # noqa: F811
    path = tmp_path / name
    path.write_bytes(start + content)
    try:
        read_labels([path], manifest_of(sample, origin))
    except InputError as error:
        assert error.mend
