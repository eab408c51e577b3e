from pathlib import Path

import pytest
from pydantic import ValidationError

from tasks.corpus.settings import DatasetSettings
from tasks.settings import explain


def complaint(**values):
    with pytest.raises(ValidationError) as caught:
        DatasetSettings(**{"name": "d", **values})
    return explain(caught.value, "dataset")[0]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"format": "beir"}, "path: format beir needs it, as in `path: data/cranfield`"),
        ({"format": "jsonl", "corpus": "c.jsonl"}, "queries: format jsonl needs it"),
        ({"format": "pairs"}, "pairs: format pairs needs it"),
        ({"format": "docstrings"}, "packages: format docstrings needs it, as in `packages: [pandas, sklearn]`"),
        ({"format": "beir", "path": "p", "packages": ["x"]}, "packages: format beir does not use it"),
        ({"format": "beir", "path": "p", "name": "a/b"}, "dataset.name: must consist of letters"),
        ({"format": "beir", "path": "p", "split": "../x"}, "dataset.split: must be a plain name"),
        ({"format": "docstrings", "packages": ["scikit-learn"]}, "dataset.packages: 'scikit-learn' is not a top-level import name"),
        ({"format": "csv", "corpus": "c", "queries": "q", "delimiter": "ab"}, "dataset.delimiter: must be one character"),
        ({"format": "beir", "path": "p", "document_partitions": 0}, "dataset.document_partitions.int: must be"),
        ({"format": "beir", "path": "p", "pth": "p"}, "there is no setting 'pth' here: did you mean 'path'?"),
        ({"format": "beir", "path": "p", "max_rejected": 2}, "dataset.max_rejected: input should be less than or equal to 1"),
    ],
)
def test_complaints_name_the_field_and_the_mend(values, said):
    assert said.replace(".int", "") in complaint(**values).replace(".int", "")


def test_resolved_leaves_absolute_paths_and_globs():
    settings = DatasetSettings(name="d", format="jsonl", corpus=["a/*.jsonl", "/b.jsonl"], queries="q.jsonl")
    resolved = settings.resolved(Path("/base"))
    assert resolved.corpus == ("/base/a/*.jsonl", "/b.jsonl")
    assert resolved.queries == ("/base/q.jsonl",)
    assert resolved.path == ""


def test_settings_survive_json():
    settings = DatasetSettings(name="d", format="pairs", pairs="p.csv", columns={"anchor": "q"}, delimiter=";")
    assert DatasetSettings.model_validate_json(settings.model_dump_json()) == settings
