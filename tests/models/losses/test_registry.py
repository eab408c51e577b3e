import subprocess
import sys

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss, MultipleNegativesRankingLoss

from tasks.errors import UsageError
from tasks.models.losses.base import Cached
from tasks.models.losses.registry import LOSSES, build, parse
from tasks.models.losses.settings import AnyLoss
from tasks.models.losses.tables import PairScores
from tests.models.losses.tiny import Tiny, batch, gradients, rows_of

NO_PAIRS = PairScores(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32), stride=18)
CACHED = [name for name, entry in LOSSES.items() if "mini_batch_size" in entry.settings.model_fields]


def rows():
    generator = np.random.default_rng(0)
    values = {name: generator.normal(size=(6, 3)).astype(np.float32) for name in ("teacher", "label", "lexical")}
    return rows_of(values=values)


def materials(name):
    return {"in_batch_teacher": NO_PAIRS, "vectors": torch.randn(18, 5)} if LOSSES[name].materials else {}


def test_every_settings_class_is_in_the_registry():
    kinds = set(TypeAdapter(AnyLoss).json_schema()["discriminator"]["mapping"])
    assert set(LOSSES) == kinds


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_built_and_trains(name):
    model = Tiny()
    loss = build(model, parse({"kind": name}), rows(), **materials(name))
    features, labels = batch(), torch.arange(6)
    if name == "negative_cache":
        loss(features, labels)
    value = loss(features, labels)
    assert value.shape == ()
    assert torch.isfinite(value)
    assert any(gradient.abs().sum() > 0 for gradient in gradients(model, value))
    assert loss.get_config_dict()


@pytest.mark.parametrize("name", CACHED)
def test_mini_batches_cache_gradients(name):
    loss = build(Tiny(), parse({"kind": name, "mini_batch_size": 2}), rows())
    assert isinstance(loss, CachedMultipleNegativesRankingLoss if name == "multiple_negatives_ranking" else Cached)
    loss(batch(), torch.arange(6)).backward()


def test_own_losses_take_our_settings():
    loss = build(Tiny(), parse({"kind": "multiple_negatives_ranking", "scale": 5, "similarity": "dot", "gather_across_devices": True}))
    assert isinstance(loss, MultipleNegativesRankingLoss)
    assert (loss.scale, loss.similarity_fct.__name__, loss.gather_across_devices) == (5, "dot_score", True)


@pytest.mark.parametrize("name", LOSSES)
def test_settings_say_their_source(name):
    entry = LOSSES[name]
    text = " ".join((entry.settings.__doc__ or "").split())
    assert "Source:" in text
    assert any(mark in text for mark in ("[V]", "[P]", "[T]", "[K]"))
    assert all(field.description for key, field in entry.settings.model_fields.items() if key != "kind")


def test_published_defaults():
    defaults = {name: parse({"kind": name}) for name in LOSSES}
    assert defaults["passage_centric"].alpha == 0.1
    assert defaults["confidence_regularized"].beta == 0.5
    assert defaults["dual_supervision"].in_batch_weight == 0.75
    assert (defaults["negative_cache"].cache_size, defaults["negative_cache"].top_k) == (131_072, 64)
    assert defaults["live_retrieval"].top_k == 200
    assert (defaults["lexical_margin"].margin, defaults["lexical_margin"].lexical_weight) == (1.0, 0.1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "margin_mes"}, "did you mean 'margin_mse'"),
        ({}, "there is no loss None"),
        ({"kind": "passage_centric", "alfa": 0.2}, "did you mean 'alpha'"),
        ({"kind": "contrastive_kl", "alpha": 2}, "less than or equal to 1"),
        ({"kind": "negative_cache", "scale": 0}, "greater than 0"),
    ],
)
def test_wrong_settings(values, message):
    with pytest.raises(UsageError, match=message):
        parse(values)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("margin_mse", {}, "needs rows"),
        ("margin_mse", {"rows": rows_of()}, "needs rows with 'teacher'"),
        ("live_retrieval", {"rows": rows_of()}, "needs vectors"),
        ("dual_supervision", {"rows": rows_of()}, "needs in_batch_teacher and rows with 'teacher'"),
    ],
)
def test_what_is_missing_is_named(name, given, message):
    with pytest.raises(UsageError, match=message):
        build(Tiny(), parse({"kind": name}), **given)


def test_settings_need_no_torch():
    code = "import sys, tasks.models.losses.registry as r; r.parse({'kind': 'contrastive_kl'}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_trainer_can_put_a_wrapped_model_in():
    """The trainer replaces each attribute ``model``, also of the loss inside."""
    model, other = Tiny(), Tiny()
    loss = build(model, parse({"kind": "masked_multiple_negatives_ranking", "mini_batch_size": 3}), rows())
    for module in (loss, loss.loss):
        module.model = other
    loss(batch(), torch.arange(6)).backward()
    assert other.linear.weight.grad is not None
    assert model.linear.weight.grad is None
