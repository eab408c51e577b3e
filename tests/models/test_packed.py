"""Batches without padding, on the CPU: the same results as with padding."""

import logging

import numpy as np
import pytest
import torch

from tasks.models.cross_encoder import CrossEncoder
from tasks.models.embedder import Embedder
from tasks.models.fingerprint import document_spec, teacher_spec
from tasks.models.location import packaged
from tasks.models.packed import flat, is_packed, offset
from tasks.models.runtime import Encoded
from tasks.models.settings import ModelSettings, TeacherSettings

PLAIN = {"dtype": "float32", "device": "cpu", "max_length": 48}


@pytest.fixture(scope="module")
def packed():
    return Embedder(document_spec(ModelSettings(**PLAIN, backend="packed", batch_tokens=64)))


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    """A model of two small layers, with the packaged model's words."""

    def make(kind, **settings):
        from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer

        folder = tmp_path_factory.mktemp(kind)
        given = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 30_522}
        config = AutoConfig.for_model(kind, **given, pad_token_id=0, **settings)
        with torch.random.fork_rng():
            torch.manual_seed(3)
            model = (AutoModelForSequenceClassification if "num_labels" in settings else AutoModel).from_config(config)
            for weights in model.parameters():
                weights.data.normal_(0, 0.2)
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(packaged()).save_pretrained(folder)
        return str(folder)

    return make


def test_vectors_are_those_of_padded_batches(packed, texts):
    plain = Embedder(document_spec(ModelSettings(**PLAIN, backend="torch")))
    assert is_packed(packed._model) and not is_packed(plain._model)
    told = []
    made, wanted = packed.encode(texts, told.append), plain.encode(texts)
    np.testing.assert_allclose(made.vectors, wanted.vectors, atol=1e-5)
    assert (made.tokens, made.truncated) == (wanted.tokens, wanted.truncated) and sum(told) == len(texts)


def test_a_vector_depends_on_its_text_alone(packed, texts):
    together = packed.encode(texts).vectors
    np.testing.assert_array_equal(packed.encode(texts[5:9]).vectors, together[5:9])
    np.testing.assert_array_equal(packed.encode(texts[-1:]).vectors, together[-1:])


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_scores_are_those_of_padded_batches(body, texts, kind):
    folder = body(kind, num_labels=1, max_position_embeddings=64)
    pairs = list(zip(texts, texts[::-1], strict=True))
    made, wanted = (
        CrossEncoder(teacher_spec(TeacherSettings(path=folder, **PLAIN, backend=backend, batch_tokens=96)))
        for backend in ("packed", "torch")
    )
    assert is_packed(made._model) and offset(made._model) == (1 if kind == "roberta" else 0)
    found = made.score(pairs).logits
    np.testing.assert_allclose(found, wanted.score(pairs).logits, rtol=1e-4, atol=1e-4)
    # the head's product is over the pairs of a call, and a CPU's kernels differ with their number
    np.testing.assert_allclose(made.score(pairs[3:7]).logits, found[3:7], rtol=1e-6)


def test_a_model_that_cannot_be_packed_stays_as_it_is(body, texts, caplog):
    """MPNet adds a bias by distance, which packed attention does not know."""
    folder = body("mpnet")
    with caplog.at_level(logging.WARNING):
        made, wanted = (Embedder(document_spec(ModelSettings(path=folder, **PLAIN, backend=backend))) for backend in ("packed", "torch"))
    assert "batches are padded" in caplog.text and not is_packed(made._model)
    np.testing.assert_array_equal(made.encode(texts).vectors, wanted.encode(texts).vectors)


def test_a_batch_by_hand():
    """Texts of 2 and 3 tokens in 12, at most 4 a text: fillers of 4 and 3; positions start at 1 in each."""
    rows = [np.array([7, 8], dtype=np.int32), np.array([4, 5, 6], dtype=np.int32), np.array([9], dtype=np.int32)]
    encoded = Encoded(
        {"input_ids": rows, "attention_mask": [np.ones_like(row) for row in rows]}, {"modality": "text"}, {"input_ids": 2}, False, 4
    )
    features = flat(encoded, np.array([0, 1]), 12, 1)
    assert features["input_ids"].tolist() == [[7, 8, 4, 5, 6, *[2] * 7]]
    assert features["position_ids"].tolist() == [[1, 2, 1, 2, 3, 1, 2, 3, 4, 1, 2, 3]]
    assert features["cu_seq_lens_q"].tolist() == features["cu_seq_lens_k"].tolist() == [0, 2, 5, 9, 12]
    assert (features["max_length_q"], features["modality"], "attention_mask" in features) == (4, "text", False)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
def test_on_a_gpu(texts, teacher_folder):
    given = {"device": "cuda", "dtype": "bfloat16", "max_length": 48}
    made, wanted = (Embedder(document_spec(ModelSettings(**given, backend=backend))) for backend in ("packed", "torch"))
    assert is_packed(made._model)
    assert (np.einsum("ij,ij->i", made.encode(texts).vectors, wanted.encode(texts).vectors) > 0.999).all()
    np.testing.assert_array_equal(made.encode(texts[3:9]).vectors, made.encode(texts).vectors[3:9])
    teacher = CrossEncoder(teacher_spec(TeacherSettings(path=str(teacher_folder), **given, backend="packed")))
    assert is_packed(teacher._model) and np.isfinite(teacher.score([(text, texts[0]) for text in texts]).logits).all()
