"""Models that give nothing usable: the round stops, names the model, and neither shards nor a published round are there."""

import shutil

import pytest

from flows.mine import mine_round
from flows.settings import MineSettings
from tasks.errors import ModelError
from tasks.models.location import packaged
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.storage import open_storage
from tests.e2e.conftest import write_collection
from tests.runner.test_runner import Recorder

fault = pytest.mark.fault


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("degenerate")
    write_collection(folder / "beir")
    return folder


def save(folder, kind, labels=1, change=None, hidden_size=32):
    """A small model with seeded weights and the packaged tokenizer; ``change`` spoils it."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, BertModel

    if folder.is_dir():
        return str(folder)
    torch.manual_seed(3)
    shape = {"hidden_size": hidden_size, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=30522, num_labels=labels, initializer_range=0.2, **shape)
    model = BertModel(config) if kind == "embedder" else BertForSequenceClassification(config)
    if change is not None:
        with torch.no_grad():
            change(model)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(packaged()).save_pretrained(folder)
    return str(folder)


def to_nan(model):
    model.encoder.layer[0].output.dense.weight[0, 0] = float("nan")


def to_zero(model):
    norm = model.encoder.layer[0].output.LayerNorm
    norm.weight.zero_()
    norm.bias.zero_()


def to_constant(model):
    model.classifier.weight.zero_()
    model.classifier.bias.fill_(1.5)


def nan_logits(model):
    model.classifier.weight[0, 0] = float("nan")


def without_tokenizer(folder):
    for file in folder.glob("*token*"):
        file.unlink()
    (folder / "vocab.txt").unlink(missing_ok=True)


def mined(place, root, folder):
    """The round that a model gives."""
    settings = given(place, root, model={"path": folder})
    return mine_round(settings, Context(open_storage(settings.root), lambda: InlineExecutor(1), Recorder()))


def given(place, root, **changes):
    """Settings of a small round."""
    plain = {"max_length": 32, "dtype": "float32", "device": "cpu"}
    for name in ("model", "document_model", "teacher"):
        if isinstance(changes.get(name), dict):
            changes[name] = {**plain, **changes[name]}
    return MineSettings.model_validate(
        {
            "root": str(root),
            "dataset": {"name": "small", "format": "beir", "path": str(place / "beir"), "document_partitions": 2, "query_partitions": 2},
            "retrieve": {"dense": {"top_k": 12}, "bm25": None},
            "recipe": "top",
            "num_negatives": 2,
            "planted": 0,
            "teacher": None,
            **changes,
        }
    )


def refused(place, root, **changes):
    """What a round with these settings says; its root has no shards and no round."""
    settings = given(place, root, **changes)
    with pytest.raises(ModelError) as error:
        mine_round(settings, Context(open_storage(settings.root), lambda: InlineExecutor(1), Recorder()))
    assert error.value.mend
    for folder in ("data/shards", "manifests/shards", "pointers/rounds", "rounds"):
        assert not (root / folder).exists(), folder
    return error.value.message


@fault("a model gives NaN or zero vectors", "a weight that is NaN; a last layer of zeros")
@pytest.mark.parametrize(("name", "change"), [("nan", to_nan), ("zero", to_zero)])
def test_vectors_that_are_nothing(place, tmp_path, name, change):
    folder = save(place / name, "embedder", change=change)
    assert f"model {folder} gives" in refused(place, tmp_path / "root", model={"path": folder})


@fault("a teacher gives NaN, or one score for all pairs", "a weight that is NaN; a head of zeros")
@pytest.mark.parametrize(("name", "change", "said"), [("deaf", to_constant, "the score 1.5"), ("broken", nan_logits, "not finite")])
def test_scores_that_say_nothing(place, tmp_path, name, change, said):
    body, folder = save(place / "body", "embedder"), save(place / name, "teacher", change=change)
    message = refused(place, tmp_path / "root", model={"path": body}, teacher={"path": folder, "depth": 6})
    assert f"teacher {folder}" in message and said in message


@fault("a teacher with two labels", "a head of two outputs, none named")
def test_a_teacher_with_two_labels(place, tmp_path):
    body, folder = save(place / "body", "embedder"), save(place / "two", "teacher", labels=2)
    assert "has 2 outputs for a pair" in refused(place, tmp_path / "root", model={"path": body}, teacher={"path": folder, "depth": 6})


@fault("vectors of another dimension", "documents' vectors are cut to 16, queries' are not")
def test_queries_and_documents_of_different_dimensions(place, tmp_path):
    body = save(place / "body", "embedder")
    message = refused(place, tmp_path / "root", model={"path": body}, document_model={"path": body, "truncate_dim": 16})
    assert "dimension" in message
    assert not (tmp_path / "root/data/embed-documents").exists(), "a model ran"


@fault("a model of another dimension than its vectors that are kept", "weights of 16 dimensions written over those of 32 in one folder")
def test_a_model_that_is_replaced_by_one_of_another_dimension(place, tmp_path):
    """Nothing of the old one is taken for the new one's: the round is that of a root that never saw the old one."""
    folder = place / "replaced"
    old = mined(place, tmp_path / "root", save(folder, "embedder"))
    shutil.rmtree(folder)
    new = mined(place, tmp_path / "root", save(folder, "embedder", hidden_size=16))
    assert (old.number, new.number) == (1, 2)
    alone = mined(place, tmp_path / "alone", str(folder))
    assert new.candidate_set_id == alone.candidate_set_id != old.candidate_set_id


@fault("a model without a tokenizer", "its tokenizer's files are missing")
@pytest.mark.parametrize("kind", ["embedder", "teacher"])
def test_a_model_without_a_tokenizer(place, tmp_path, kind):
    body = save(place / "body", "embedder")
    folder = place / f"mute-{kind}"
    shutil.copytree(body if kind == "embedder" else save(place / "sound", "teacher"), folder)
    without_tokenizer(folder)
    models = (
        {"model": {"path": str(folder)}} if kind == "embedder" else {"model": {"path": body}, "teacher": {"path": str(folder), "depth": 6}}
    )
    message = refused(place, tmp_path / "root", **models)
    assert str(folder) in message and "tokenizer" in message
