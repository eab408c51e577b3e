"""8-bit layers: near the layers they replace, the same for any batch that holds a text, and left out where they are not near."""

import logging

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from tasks.errors import ModelError
from tasks.models.cross_encoder import CrossEncoder
from tasks.models.eight_bit.encoder import EightBitEncoder, exact, observed, quantise
from tasks.models.eight_bit.layers import FirstTokenLayer, Layer
from tasks.models.eight_bit.linear import EightBitLinear, Range
from tasks.models.embedder import Embedder
from tasks.models.fingerprint import document_spec, teacher_spec
from tasks.models.hardware import cpu_has_bfloat16
from tasks.models.settings import ModelSettings, TeacherSettings

pytestmark = pytest.mark.skipif(not cpu_has_bfloat16(), reason="needs a CPU with bfloat16")


@pytest.fixture(scope="module")
def encoder():
    """A BERT encoder with random weights, inputs for it, and what its layers see."""
    torch.manual_seed(0)
    model = BertModel(BertConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128)).eval()
    hidden = nn.functional.layer_norm(torch.randn(3, 32, 64), (64,))
    mask = torch.ones(3, 1, 1, 32, dtype=torch.bool)
    mask[0, ..., 20:] = mask[2, ..., 31:] = False
    model.requires_grad_(False)
    return model.encoder, hidden, mask, observed(model.encoder, lambda: model.encoder(hidden, mask))


def test_a_linear_layer_is_off_by_its_steps_alone():
    """Each input is off by half a step at most, each weight by half of its own: the sum by the sum of these, times the other factor."""
    torch.manual_seed(0)
    weight, bias, inputs = torch.randn(24, 48), torch.randn(24), torch.randn(100, 48) * torch.linspace(0.1, 8, 48)
    layer = EightBitLinear(weight, bias, Range(inputs.amin(dim=0), inputs.amax(dim=0)))
    rounded = layer.rounded(inputs)
    assert rounded.dtype == torch.uint8 and len(rounded.unique()) > 100
    steps = layer._given[3]
    taken = (rounded.float() - layer.zero) * layer.scale
    exact = nn.functional.linear(inputs, weight, bias)
    balanced = weight / layer._factor
    most = layer.scale / 2 * balanced.abs().sum(dim=1) + steps / 2 * taken.abs().sum(dim=1, keepdim=True) + 1e-3
    other = torch.randn(100, 24)
    assert torch.all((layer.plus(rounded, other) - other - exact).abs() <= most)
    assert torch.all((layer(rounded).float() - exact).abs() <= most + exact.abs() * 2**-8)


def test_a_layer_is_near_the_one_it_replaces(encoder):
    module, hidden, mask, seen = encoder
    with torch.inference_mode():
        before = module.layer[0](hidden, torch.zeros(3, 1, 1, 32).masked_fill(~mask, -1e9))
        after = Layer(module.layer[0], seen[0])(hidden.reshape(-1, 64), mask[:, 0, 0].to(torch.bfloat16)).view(3, 32, 64)
    real = mask[:, 0, 0]
    assert (after - before)[real].norm() < 0.02 * before[real].norm()


def test_the_last_layer_for_the_first_token_is_exact(encoder):
    module, hidden, mask, _ = encoder
    with torch.inference_mode():
        before = module.layer[1](hidden, torch.zeros(3, 1, 1, 32).masked_fill(~mask, -1e9))[:, 0]
        after = FirstTokenLayer(module.layer[1])(hidden.reshape(-1, 64), mask[:, 0, 0].to(torch.bfloat16))
    assert torch.allclose(after, before, atol=2e-5)


def test_padding_is_not_seen(encoder):
    module, hidden, mask, seen = encoder
    made = EightBitEncoder(module, seen, first=False)
    other = torch.where(mask[:, 0, 0, :, None], hidden, hidden.flip(0))
    with torch.inference_mode():
        first, second = made(hidden, mask).last_hidden_state, made(other, mask).last_hidden_state
    assert torch.equal(first[mask[:, 0, 0]], second[mask[:, 0, 0]])


def test_the_replaced_encoder_runs_where_it_is_asked_for(encoder):
    module, hidden, mask, seen = encoder
    made = EightBitEncoder(module, seen, first=True)
    with torch.inference_mode():
        assert made(hidden, mask).last_hidden_state.shape == (3, 1, 64)
        exact.asked = True
        try:
            assert torch.equal(made(hidden, mask).last_hidden_state, module(hidden, mask).last_hidden_state)
        finally:
            exact.asked = False


def test_the_packaged_model_holds_and_depends_on_its_text_alone():
    spec = document_spec(ModelSettings(backend="int8-static"))
    texts = [f"{number} gradient boosting " + "of many small trees " * (number % 9) for number in range(40)]
    embedder = Embedder(spec)
    assert isinstance(embedder._model[0].model.encoder, EightBitEncoder)
    vectors = embedder.encode(texts).vectors
    reference = Embedder(document_spec(ModelSettings(dtype="float32"))).encode(texts).vectors
    near = (vectors * reference).sum(axis=1)
    assert near.mean() > 0.995 and near.min() > 0.99
    assert np.array_equal(embedder.encode(texts[7:19]).vectors, vectors[7:19])
    assert spec.fingerprint != document_spec(ModelSettings(backend="fused")).fingerprint


def test_a_teacher_scores_by_its_first_token_and_keeps_the_order(teacher_folder):
    pairs = [(f"query {number % 7}", "words of a document " * (1 + number % 5) + str(number)) for number in range(60)]
    specs = [teacher_spec(TeacherSettings(path=str(teacher_folder), backend=backend)) for backend in ("fused", "int8-static")]
    exact_scores, scores = (CrossEncoder(spec).score(pairs).logits for spec in specs)
    encoder = CrossEncoder(specs[1])._model[0].model.bert.encoder
    assert isinstance(encoder._layers[-1], FirstTokenLayer)
    assert np.corrcoef(exact_scores, scores)[0, 1] > 0.99


def test_a_job_whose_texts_are_not_near_is_warned_of(caplog, monkeypatch):
    monkeypatch.setattr("tasks.models.eight_bit.encoder.NEAR", 1.1)
    with caplog.at_level(logging.WARNING):
        Embedder(document_spec(ModelSettings(backend="int8-static"))).encode([f"text {number}" for number in range(64)])
    assert "of this job's own texts, vectors have a cosine of 0.9" in caplog.text and "backend: fused" in caplog.text


def test_what_is_not_near_stays_as_it_was(encoder, caplog):
    """A model whose output turns on what 8 bits lose."""
    module, hidden, mask, _ = encoder
    holder = nn.Module()
    holder.encoder = module
    calls = []

    def run(inputs):
        calls.append(len(inputs))
        made = holder.encoder(hidden, mask).last_hidden_state.flatten(1).numpy()
        return made if len(calls) == 1 else -made

    with caplog.at_level(logging.WARNING):
        assert not quantise(holder, run, "small")
    assert holder.encoder is module and len(calls) == 2
    assert "8-bit layers are not used, vectors have a cosine of -" in caplog.text


def test_what_is_not_built_as_bert_is_stays_as_it_was(caplog):
    model = nn.Sequential(nn.Linear(4, 4))
    assert not quantise(model, lambda _: pytest.fail("nothing is to be run"), "small")
    assert "it is not built as BERT is" in caplog.text


def test_static_scales_are_for_bfloat16_on_a_cpu():
    with pytest.raises(ModelError, match="backend int8-static is for bfloat16 on a CPU, not float32 on cpu"):
        Embedder(document_spec(ModelSettings(backend="int8-static", dtype="float32")))
