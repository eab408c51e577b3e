import pytest

from flows.configuration import load_settings
from flows.many_settings import ManySettings
from flows.settings import MineSettings
from tasks.errors import UsageError

RUN = """\
root: ./mining
dataset: {name: cranfield, format: beir, path: data/cranfield, split: test}
model:
  path: packaged
  max_length: 128
teacher: none
retrieve: {dense: {top_k: 100}, bm25: {top_k: 50}}
recipe: nv-retriever
num_negatives: 5
formats: [triplet, labeled-list]
seed: 0
"""


@pytest.fixture
def run(tmp_path):
    def write(text=RUN):
        path = tmp_path / "run.yaml"
        path.write_text(text)
        return path

    return write


def test_the_documented_example_is_valid_and_paths_start_at_the_file(run, tmp_path):
    settings = load_settings(MineSettings, run()).resolved(tmp_path)
    assert settings.teacher is None
    assert settings.retrieve.bm25.top_k == 50
    assert settings.dataset.path == str(tmp_path / "data/cranfield")
    assert settings.root == str(tmp_path / "mining")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "num_negatives: 5",
            "num_negativs: 5",
            r"run\.yaml:9: num_negativs: there is no setting 'num_negativs' here: did you mean 'num_negatives'",
        ),
        ("max_length: 128", "max_len: 128", r"run\.yaml:5: model\.max_len: .*did you mean 'max_length'"),
        ("num_negatives: 5", "num_negatives: 0", r"run\.yaml:9: num_negatives: .*greater than or equal to 1 \(given: 0\)"),
        ("top_k: 100", "top_k: many", r"run\.yaml:7: retrieve\.dense\.top_k: .*integer"),
        ("[triplet, labeled-list]", "[triplets]", r"run\.yaml:10: formats\.0: .*triplet"),
        ("format: beir", "format: bier", r"run\.yaml:2: dataset\.format"),
        ("name: cranfield", "name: a/b", r"run\.yaml:2: dataset\.name: .*letters"),
        ("teacher: none", "teacher: {depth: 3}", r"run\.yaml:6: teacher: give either path"),
        ("seed: 0", "seed: [", r"run\.yaml:\d+: not valid YAML"),
    ],
)
def test_errors_name_file_line_field_and_mend(run, old, new, expected):
    with pytest.raises(UsageError, match=expected) as found:
        load_settings(MineSettings, run(RUN.replace(old, new)))
    assert found.value.mend
    assert found.value.exit_code == 2


def test_overrides(run):
    settings = load_settings(
        MineSettings,
        run(),
        ["retrieve.dense.top_k=7", "recipe.depth=9", "teacher={path: x, depth: 3}", "dataset.name=other", "workers=null"],
    )
    assert settings.retrieve.dense.top_k == 7
    assert settings.recipe == {"name": "nv-retriever", "depth": 9}
    assert settings.teacher.depth == 3
    assert settings.dataset.name == "other"
    for wrong in ("seed", "seed.x.y=1", "=3"):
        with pytest.raises(UsageError):
            load_settings(MineSettings, run(), [wrong])


def test_model_folders_start_at_the_file_and_hub_ids_stay(run, tmp_path):
    (tmp_path / "retriever").mkdir()
    text = RUN.replace("path: packaged", "path: retriever").replace("teacher: none", "teacher: {path: ./teacher}")
    settings = load_settings(MineSettings, run(text), ["fixed_encoder.path=org/name"]).resolved(tmp_path)
    assert settings.model.path == str(tmp_path / "retriever")
    assert settings.teacher.path == str(tmp_path / "teacher")
    assert settings.fixed_encoder.path == "org/name"


def test_what_members_of_a_mixture_bring_starts_at_the_file_too(run, tmp_path):
    (tmp_path / "e5").mkdir()
    (tmp_path / "tokens").mkdir()
    text = """
root: ./mining
datasets:
  - dataset: {name: one, format: beir, path: one, chunk: {tokens: 100, labels: all, tokenizer: tokens}}
    further:
      - {name: e5, kind: encoder, model: {path: e5}, document_model: {path: ./other}}
      - {name: splade, kind: run, files: splade.trec}
  - {dataset: {name: two, format: beir, path: two, chunk: {tokens: 100, labels: all, tokenizer: words}}}
"""
    settings = load_settings(ManySettings, run(text)).resolved(tmp_path)
    encoder, given = settings.datasets[0].further
    assert encoder.model.path == str(tmp_path / "e5")
    assert encoder.document_model.path == str(tmp_path / "other")
    assert given.files == (str(tmp_path / "splade.trec"),)
    assert [member.dataset.chunk.tokenizer for member in settings.datasets] == [str(tmp_path / "tokens"), "words"]
    twice = text.replace("name: splade, kind: run, files: splade.trec", "name: e5, kind: run, files: splade.trec")
    with pytest.raises(UsageError, match="one has two further sources named 'e5'"):
        load_settings(ManySettings, run(twice))
    with pytest.raises(UsageError, match="one has two further sources named 'splade'"):
        load_settings(ManySettings, run(text + "retrieve: {further: [{name: splade, kind: run, files: all.trec}]}\n"))


def test_missing_and_odd_files(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        load_settings(MineSettings, tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(UsageError, match="must be a mapping"):
        load_settings(MineSettings, tmp_path / "list.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not a text file"):
        load_settings(MineSettings, tmp_path / "bytes.yaml")
