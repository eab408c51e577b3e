import json

import pytest

from tasks.errors import ModelError
from tasks.models.location import packaged
from tasks.models.settings import ModelSettings
from tasks.models.shape import Shape, check_one_space, shape_of


def folder(path, modules, configs, similarity=None):
    """A model's folder: its configuration, and weights that nobody reads."""
    path.mkdir()
    (path / "model.safetensors").write_bytes(b"")
    (path / "modules.json").write_text(
        json.dumps([{"path": place, "type": f"sentence_transformers.models.{kind}"} for kind, place in modules])
    )
    for place, config in configs.items():
        (path / place).mkdir(exist_ok=True)
        (path / place / "config.json").write_text(json.dumps(config))
    if similarity:
        (path / "config_sentence_transformers.json").write_text(json.dumps({"similarity_fn_name": similarity}))
    return ModelSettings(path=str(path))


def test_the_packaged_model():
    assert shape_of(ModelSettings(path="packaged")) == Shape(384, "cosine")
    assert shape_of(ModelSettings(path=str(packaged()), truncate_dim=64, similarity="dot")) == Shape(64, "dot")
    assert shape_of(ModelSettings(path="packaged", truncate_dim=999)).dim == 384


@pytest.mark.parametrize(
    ("modules", "configs", "dim"),
    [
        ([("Transformer", ""), ("Pooling", "1"), ("Normalize", "2")], {"": {"hidden_size": 12}, "1": {"word_embedding_dimension": 12}}, 12),
        # two modes, one vector beside the other
        ([("Pooling", "1")], {"1": {"word_embedding_dimension": 8, "pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}}, 16),
        ([("Pooling", "1")], {"1": {"embedding_dimension": 8, "pooling_mode": "mean"}}, 8),
        ([("Transformer", ""), ("Pooling", "1"), ("Dense", "2")], {"1": {"word_embedding_dimension": 8}, "2": {"out_features": 3}}, 3),
        ([("Transformer", "")], {"": {"d_model": 20}}, 20),
        ([("Transformer", ""), ("MyOwn", "1")], {"": {"hidden_size": 20}}, None),
        ([], {"": {"hidden_size": 20}}, None),
    ],
)
def test_dimensions_by_the_last_module(tmp_path, modules, configs, dim):
    assert shape_of(folder(tmp_path / "model", modules, configs)).dim == dim


def test_what_torch_says(tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Dense

    model = SentenceTransformer(str(packaged()), device="cpu", similarity_fn_name="dot")
    model.append(Dense(384, 24))
    model.save(str(tmp_path / "saved"))
    assert shape_of(ModelSettings(path=str(tmp_path / "saved"))) == Shape(model.get_embedding_dimension(), "dot") == Shape(24, "dot")


def test_one_space(tmp_path):
    small = folder(tmp_path / "small", [("Transformer", "")], {"": {"hidden_size": 20}})
    unknown = folder(tmp_path / "unknown", [("MyOwn", "")], {})
    dot = folder(tmp_path / "dot", [("Transformer", "")], {"": {"hidden_size": 384}}, similarity="dot")
    whole = ModelSettings(path="packaged")
    check_one_space(whole, whole)
    check_one_space(whole, unknown)  # the search itself still compares dimensions
    with pytest.raises(ModelError, match=r"queries of 384 dimensions.* documents of 20"):
        check_one_space(whole, small)
    check_one_space(small, small.model_copy(update={"truncate_dim": 30}))
    with pytest.raises(ModelError, match=r"by cosine.* by dot"):
        check_one_space(whole, dot)


def test_a_configuration_that_is_no_json_is_named(tmp_path):
    made = folder(tmp_path / "model", [], {"": {"hidden_size": 20}})
    (tmp_path / "model" / "config_sentence_transformers.json").write_text("{")
    with pytest.raises(ModelError, match=r"config_sentence_transformers\.json is no JSON"):
        shape_of(made)
