import numpy as np
import pytest

from tasks.errors import ModelError
from tasks.models.cross_encoder import CrossEncoder, check_logits
from tasks.models.embedder import Embedder, finish
from tasks.models.fingerprint import document_spec, teacher_spec
from tasks.models.location import packaged
from tasks.models.runtime import _truncated
from tasks.models.settings import ModelSettings, TeacherSettings


def pairs_of(texts):
    return [(query, text) for query, text in zip(texts[:20], texts[21:41], strict=True)]


def test_vectors_equal_sentence_transformers(embedder, texts):
    from sentence_transformers import SentenceTransformer

    plain = SentenceTransformer(str(packaged()), device="cpu")
    plain.max_seq_length = 64
    assert np.abs(plain.encode(texts) - embedder.encode(texts).vectors).max() < 1e-5
    prompted = Embedder(embedder.spec.model_copy(update={"prompt": "passage: "}))
    assert np.abs(plain.encode(texts, prompt="passage: ") - prompted.encode(texts).vectors).max() < 1e-5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_vector_depends_on_its_text_alone(dtype, texts, monkeypatch):
    embedder = Embedder(document_spec(ModelSettings(dtype=dtype, device="cpu", max_length=64)))
    whole = embedder.encode(texts).vectors
    assert whole.dtype == np.float32
    some = np.random.default_rng(0).permutation(len(texts))[:23]
    monkeypatch.setenv("HARDMINE_WORKER_CORES", "1")
    assert np.array_equal(embedder.encode([texts[row] for row in some]).vectors, whole[some])
    monkeypatch.setenv("HARDMINE_WORKER_CORES", "3")
    assert np.array_equal(embedder.encode([texts[4]]).vectors, whole[[4]])


def test_bfloat16_is_near(embedder, texts):
    exact = embedder.encode(texts).vectors
    near = Embedder(document_spec(ModelSettings(dtype="bfloat16", device="cpu", max_length=64))).encode(texts).vectors
    assert np.abs(exact @ exact.T - near @ near.T).max() < 5e-3


def test_counts_and_progress(embedder, texts):
    told = []
    made = embedder.encode(texts, told.append)
    assert sum(told) == len(texts)
    assert len(told) > 2
    assert made.truncated == 1
    lengths = [len(row) for row in embedder._model.tokenizer(texts, truncation=True, max_length=64)["input_ids"]]
    assert made.tokens == sum(lengths)
    assert np.allclose(np.linalg.norm(made.vectors, axis=1), 1, atol=1e-6)


def test_nothing_to_encode(embedder, teacher):
    assert embedder.encode([]).vectors.shape == (0, 384)
    assert teacher.score([]).logits.shape == (0,)


def test_truncated_dimensions(embedder, texts):
    short = Embedder(embedder.spec.model_copy(update={"truncate_dim": 100})).encode(texts).vectors
    full = embedder.encode(texts).vectors[:, :100]
    assert short.shape == (41, 100)
    assert np.allclose(short, full / np.linalg.norm(full, axis=1, keepdims=True), atol=1e-6)


def test_unusable_vectors_name_the_model():
    output = np.ones((3, 2), dtype=np.float32)
    output[1] = 0
    output[2, 0] = np.nan
    with pytest.raises(ModelError, match="model m gives 2 of 3 vectors"):
        finish(output, "cosine", "m")
    assert finish(np.full((1, 2), 3, np.float32), "dot", "m").tolist() == [[3.0, 3.0]]
    assert finish(np.array([[3, 4]], np.float32), "cosine", "m").tolist() == [[np.float32(0.6), np.float32(0.8)]]


def test_logits_equal_sentence_transformers(teacher, teacher_folder, texts):
    import torch
    from sentence_transformers import CrossEncoder as Plain

    plain = Plain(str(teacher_folder), device="cpu", max_length=48)
    pairs = pairs_of(texts)
    expected = plain.predict(pairs, activation_fn=torch.nn.Identity())
    assert expected.std() > 0.01
    made = teacher.score(pairs)
    assert np.abs(expected - made.logits).max() < 1e-4
    assert made.truncated == sum(len(plain.tokenizer(*pair)["input_ids"]) > 48 for pair in pairs)
    ids = plain.tokenizer([query for query, _ in pairs], [text for _, text in pairs], truncation=True, max_length=48)["input_ids"]
    assert _truncated(teacher._model, {"input_ids": ids}, pairs, "") == made.truncated  # as of a tokenizer that keeps nothing


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_logit_depends_on_its_pair_alone(dtype, teacher_folder, texts, monkeypatch):
    model = CrossEncoder(teacher_spec(TeacherSettings(path=str(teacher_folder), dtype=dtype, device="cpu", max_length=48)))
    pairs = pairs_of(texts)
    whole = model.score(pairs).logits
    monkeypatch.setenv("HARDMINE_WORKER_CORES", "1")
    assert np.array_equal(model.score(pairs[3:11]).logits, whole[3:11])


def test_a_body_is_no_teacher():
    with pytest.raises(ModelError, match="no scoring head") as raised:
        CrossEncoder(teacher_spec(TeacherSettings(path="packaged", device="cpu")))
    assert "train" in raised.value.mend


def test_several_outputs_are_refused(tmp_path):
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    config = BertConfig(vocab_size=30522, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_labels=3)
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(packaged()).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="3 outputs"):
        CrossEncoder(teacher_spec(TeacherSettings(path=str(tmp_path), device="cpu")))


def test_files_that_change_during_a_run_are_refused(embedder):
    with pytest.raises(ModelError, match="changed after the run began"):
        Embedder(embedder.spec.model_copy(update={"weights": "0" * 32}))


def test_scores_that_say_nothing():
    with pytest.raises(ModelError, match="1 of 2 scores that are not finite"):
        check_logits(np.array([1, np.inf], np.float32), "t")
    check_logits(np.ones(49, np.float32), "t")
    with pytest.raises(ModelError, match="all of 50 pairs"):
        check_logits(np.ones(50, np.float32), "t")
