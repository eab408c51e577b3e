"""The trainer in docs/watch.md, run on a root that grows a round while it trains."""

import re

import pytest

from flows.reference import DOCS
from tasks.watch.places import open_place
from tasks.watch.settings import WatchSettings
from tests.watch.conftest import BETTER, GOOD, save
from tests.watch.test_watcher import look_once

PAGE = (DOCS / "watch.md").read_text()


@pytest.fixture
def example():
    names = {}
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(compile(block, "docs/watch.md", "exec"), names)
    return names


def test_the_trainer_takes_each_newer_round(example, tmp_path, root, collection):
    place = open_place(str(tmp_path / "run"), str(root))
    seen = []

    def step(number, rows):
        seen.append((number, rows.num_rows, rows.column_names))
        if number == 3:
            save(tmp_path / "run/checkpoint-3", BETTER)
            assert look_once(root, collection, place)[0]

    assert example["newer"](str(root), "small") is None
    assert example["train"](str(root), "small", steps=2, every=1, step=step) == 0
    assert seen == []
    save(tmp_path / "run/checkpoint-0", GOOD)
    assert look_once(root, collection, place)[0]
    assert example["train"](str(root), "small", steps=7, every=2, step=step) == 2
    # 48 queries, 2 positives each, 3 negatives each: 288 triplets; the second round is taken at step 4
    assert seen == [(number, 288, ["anchor", "positive", "negative"]) for number in range(7)]
    assert example["newer"](str(root), "small", than=1)["round"] == 2
    assert example["newer"](str(root), "small", than=2) is None


def test_the_trainer_reads_s3_too(example, s3_root, root, collection, tmp_path):
    import fsspec

    save(tmp_path / "run/checkpoint-0", GOOD)
    assert look_once(root, collection, open_place(str(tmp_path / "run"), str(root)))[0]
    fs, base = fsspec.core.url_to_fs(s3_root)
    for folder in ("data/shards", "pointers/latest"):
        for file in (root / folder).rglob("*.*"):
            if file.is_file():
                fs.put_file(str(file), f"{base}/{file.relative_to(root).as_posix()}")
    latest = example["newer"](s3_root, "small")
    assert example["load"](s3_root, latest).num_rows == 288


def test_the_page_names_every_option():
    for name, field in WatchSettings.model_fields.items():
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| `--{name.replace('_', '-')}` |"))
        default = f"{field.default:g}" if isinstance(field.default, float) else field.default
        assert f"| `{default}` |" in row
