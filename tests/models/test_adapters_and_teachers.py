"""Adapters, 8-bit layers, teachers with several labels, causal language models as teachers: real files, tiny models."""

import shutil

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tasks.errors import ModelError
from tasks.models.causal_prompt import CausalPrompt
from tasks.models.cross_encoder import CrossEncoder, log_odds
from tasks.models.embedder import Embedder
from tasks.models.fingerprint import document_spec, teacher_spec
from tasks.models.location import packaged
from tasks.models.settings import ModelSettings, TeacherSettings
from tasks.store.keys import digest

TEXTS = ["a wing in a slipstream", "boundary layers over a flat plate at high speed, and what becomes of them", "heat", "shock waves " * 12]
PAIRS = [("what is a wing", text) for text in TEXTS]
PLAIN = {"dtype": "float32", "device": "cpu", "max_length": 32}


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """A LoRA adapter of the packaged model with weights that change something."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    folder = tmp_path_factory.mktemp("adapter") / "lora"
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = AutoModel.from_pretrained(packaged())
        config = LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], init_lora_weights=False)
        get_peft_model(model, config).save_pretrained(folder)
    return folder


def encode(**settings):
    return Embedder(document_spec(ModelSettings(**{**PLAIN, **settings}))).encode(TEXTS).vectors


def test_an_adapter_changes_vectors_as_peft_itself_does(adapter):
    from peft import PeftModel
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(packaged()), device="cpu")
    reference.max_seq_length = 32
    plain = reference.encode(TEXTS, normalize_embeddings=True)
    reference[0].model = PeftModel.from_pretrained(reference[0].model, str(adapter))
    expected = reference.encode(TEXTS, normalize_embeddings=True)
    found = encode(adapter=str(adapter))
    assert np.abs(expected - plain).max() > 0.01
    assert found == pytest.approx(expected, abs=1e-5)
    assert encode() == pytest.approx(plain, abs=1e-5), "the base is as it was"


def test_an_adapter_is_part_of_the_identity_wherever_it_lies(adapter, tmp_path):
    import shutil

    plain, adapted = document_spec(ModelSettings(**PLAIN)), document_spec(ModelSettings(adapter=str(adapter), **PLAIN))
    assert plain.fingerprint != adapted.fingerprint
    moved = shutil.copytree(adapter, tmp_path / "moved")
    assert document_spec(ModelSettings(adapter=str(moved), **PLAIN)).fingerprint == adapted.fingerprint
    (moved / "adapter_config.json").write_text((moved / "adapter_config.json").read_text().replace('"lora_alpha": 8', '"lora_alpha": 16'))
    assert document_spec(ModelSettings(adapter=str(moved), **PLAIN)).fingerprint != adapted.fingerprint


def test_a_missing_base_and_a_wrong_one_are_said(adapter, tmp_path):
    with pytest.raises(ModelError, match="holds an adapter only, and no base") as error:
        document_spec(ModelSettings(path=str(adapter), **PLAIN))
    assert f"adapter: {adapter}" in error.value.mend
    with pytest.raises(ModelError, match="there is no such folder"):
        document_spec(ModelSettings(path=str(tmp_path / "nowhere"), adapter=str(adapter), **PLAIN))
    with pytest.raises(ModelError, match=r"adapter .*: there is no such folder"):
        document_spec(ModelSettings(adapter=str(tmp_path / "nowhere"), **PLAIN))
    with pytest.raises(ModelError, match=r"no adapter_config\.json"):
        document_spec(ModelSettings(adapter=str(packaged()), **PLAIN))
    from transformers import BertConfig, BertModel

    other = tmp_path / "other"
    config = BertConfig.from_pretrained(packaged())
    config.hidden_size, config.intermediate_size = 96, 96
    BertModel(config).save_pretrained(other)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (other / name).write_bytes((packaged() / name).read_bytes())
    with pytest.raises(ModelError, match="does not fit model"):
        encode(path=str(other), adapter=str(adapter))


def test_an_adapter_of_other_layers_names_is_no_silent_zero(adapter, tmp_path):
    from safetensors.numpy import load_file, save_file

    moved = shutil.copytree(adapter, tmp_path / "moved")
    weights = load_file(moved / "adapter_model.safetensors")
    save_file(
        {name.replace("base_model.model.", "base_model.model.bert.", 1): value for name, value in weights.items()},
        moved / "adapter_model.safetensors",
    )
    with pytest.raises(ModelError, match="does not fit model"):
        encode(adapter=str(moved))


def test_eight_bits_are_near_and_no_batch_changes_them():
    plain, whole = encode(), encode(backend="int8")
    assert (plain * whole).sum(axis=1).min() > 0.98
    embedder = Embedder(document_spec(ModelSettings(backend="int8", **PLAIN)))
    alone = np.concatenate([embedder.encode([text]).vectors for text in TEXTS])
    assert np.abs(alone - whole).max() < 1e-5
    assert document_spec(ModelSettings(backend="int8", **PLAIN)).fingerprint != document_spec(ModelSettings(**PLAIN)).fingerprint
    with pytest.raises(ModelError, match="backend int8 is for float32 on a CPU"):
        encode(backend="int8", dtype="bfloat16")


def test_a_truncated_dimension_is_of_length_one_again():
    short = encode(truncate_dim=64)
    assert short.shape == (4, 64)
    assert np.linalg.norm(short, axis=1) == pytest.approx(np.ones(4), abs=1e-6)
    whole = encode()[:, :64]
    assert short == pytest.approx(whole / np.linalg.norm(whole, axis=1, keepdims=True), abs=1e-6)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A cross-encoder with three labels."""
    from transformers import AutoConfig, AutoTokenizer, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("nli") / "model"
    with torch.random.fork_rng():
        torch.manual_seed(5)
        names = {0: "contradiction", 1: "entailment", 2: "neutral"}
        config = AutoConfig.from_pretrained(packaged(), num_labels=3, num_hidden_layers=2, initializer_range=0.2, id2label=names)
        BertForSequenceClassification(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(packaged()).save_pretrained(folder)
    return folder


def test_one_of_several_labels_gives_the_log_odds_of_its_softmax(several):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(several)
    encoded = tokenizer(
        [query for query, _ in PAIRS], [text for _, text in PAIRS], padding=True, truncation=True, max_length=32, return_tensors="pt"
    )
    with torch.inference_mode():
        share = torch.softmax(AutoModelForSequenceClassification.from_pretrained(several)(**encoded).logits, dim=1)[:, 1].numpy()
    named = teacher_spec(TeacherSettings(path=str(several), label="entailment", **PLAIN))
    found = CrossEncoder(named).score(PAIRS).logits
    assert 1 / (1 + np.exp(-found)) == pytest.approx(share, abs=1e-4)
    numbered = teacher_spec(TeacherSettings(path=str(several), label=0, **PLAIN))
    assert numbered.fingerprint != named.fingerprint
    with pytest.raises(ModelError, match="3 outputs") as error:
        CrossEncoder(teacher_spec(TeacherSettings(path=str(several), **PLAIN)))
    assert "1: entailment" in error.value.mend
    with pytest.raises(ModelError, match="no label 'relevant'"):
        CrossEncoder(teacher_spec(TeacherSettings(path=str(several), label="relevant", **PLAIN)))


def test_log_odds_do_not_overflow():
    assert log_odds(np.array([[800.0, -800.0, 0.0]], dtype=np.float32), 0).tolist() == [800.0]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def language_model(request, tmp_path_factory):
    """A tiny random causal language model with the packaged model's words."""
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp(request.param) / "model"
    size = {"vocab_size": 30_522, "bos_token_id": None, "eos_token_id": None}
    with torch.random.fork_rng():
        torch.manual_seed(11)
        if request.param == "llama":
            shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
            model = LlamaForCausalLM(LlamaConfig(**size, **shape, max_position_embeddings=128, initializer_range=0.3))
        else:
            model = GPT2LMHeadModel(GPT2Config(**size, n_embd=32, n_layer=2, n_head=2, n_positions=128, initializer_range=0.3))
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(packaged())
    tokenizer.padding_side = "left" if request.param == "gpt2" else "right"
    tokenizer.save_pretrained(folder)
    return folder


def test_a_causal_language_model_scores_by_yes_and_no(language_model):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    settings = TeacherSettings(
        path=str(language_model), causal={"template": "q: {query} d: {document} relevant?"}, **{**PLAIN, "max_length": 64}
    )
    found = CrossEncoder(teacher_spec(settings)).score(PAIRS)
    tokenizer, model = AutoTokenizer.from_pretrained(language_model), AutoModelForCausalLM.from_pretrained(language_model)
    yes, no = (tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("yes", "no"))
    for (query, document), logit in zip(PAIRS, found.logits, strict=True):
        ids = tokenizer(f"q: {query} d: ")["input_ids"] + tokenizer(f"{document} relevant?", add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            last = model(torch.tensor([ids])).logits[0, -1]
        assert logit == pytest.approx(float(last[yes] - last[no]), abs=1e-3)
    assert found.truncated == 0


def test_a_long_document_is_cut_and_the_question_after_it_stays(language_model):
    settings = TeacherSettings(path=str(language_model), causal={}, **PLAIN)
    teacher = CrossEncoder(teacher_spec(settings))
    short = teacher.score([("a wing", "word " * 4)])
    long = teacher.score([("a wing", "word " * 400), ("a wing", "word " * 300)])
    assert (short.truncated, long.truncated) == (0, 2)
    assert long.logits[0] == pytest.approx(long.logits[1], abs=1e-5)


@pytest.mark.parametrize(("query", "document"), [(400, 400), (400, 3), (3, 400), (20, 400)])
def test_of_a_pair_that_is_too_long_the_prompt_itself_stays(language_model, query, document):
    from transformers import AutoTokenizer

    spec = teacher_spec(TeacherSettings(path=str(language_model), causal={}, **{**PLAIN, "max_length": 48}))
    tokenizer = AutoTokenizer.from_pretrained(language_model)
    ((ids, is_cut),) = CausalPrompt(tokenizer, spec.causal, "t").ids([("find wing " + "q " * query, "d " * document)], 48)
    assert is_cut
    assert len(ids) == 48
    text = tokenizer.decode(ids)
    assert text.startswith("[CLS] query : find wing q q")
    assert text.endswith("d d is the document relevant to the query? answer :")
    assert " document : " in text
    counts = ids.count(tokenizer.convert_tokens_to_ids("q")), ids.count(tokenizer.convert_tokens_to_ids("d"))
    assert counts == {(400, 400): (14, 16), (400, 3): (27, 3), (3, 400): (3, 27), (20, 400): (14, 16)}[query, document]
    long = CrossEncoder(spec).score([("find wing " + "q " * query, "d " * document)])
    assert long.truncated == 1
    assert long.logits[0] == pytest.approx(_logit(language_model, ids), abs=1e-3)


def _logit(folder, ids):
    """Yes less no after token ids, by transformers alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    yes, no = (tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("yes", "no"))
    with torch.inference_mode():
        last = model(torch.tensor([ids])).logits[0, -1]
    return float(last[yes] - last[no])


def test_a_prompt_that_fills_the_length_is_refused_before_a_model_is_loaded(language_model):
    with pytest.raises(ModelError, match=r"its prompt has \d+ tokens without query and document, and max_length is 8") as error:
        teacher_spec(TeacherSettings(path=str(language_model), causal={}, **{**PLAIN, "max_length": 8}))
    assert "teacher.max_length" in error.value.mend
    with pytest.raises(ModelError, match=r"yes 'xylophonists' is \d tokens"):
        teacher_spec(TeacherSettings(path=str(language_model), causal={"yes": "xylophonists"}, **PLAIN))


CHAT = (
    "{% for message in messages %}[CLS] {{ message['role'] }} : {{ message['content'] }} [SEP] {% endfor %}"
    "{% if add_generation_prompt %}assistant :{% endif %}"
)


@pytest.fixture
def chatting(language_model, tmp_path):
    """The same with a chat template."""
    from transformers import AutoTokenizer

    folder = shutil.copytree(language_model, tmp_path / "chatting")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    return folder


def test_a_long_system_message_is_refused_before_a_model_is_loaded(chatting):
    given = {"path": str(chatting), "causal": {"system": "be strict " * 40}, **PLAIN, "max_length": 64}
    with pytest.raises(ModelError, match=r"its prompt has \d+ tokens without query and document, and max_length is 64"):
        teacher_spec(TeacherSettings(**given))


def test_a_chat_template_is_used_where_there_is_one(language_model, chatting):
    from transformers import AutoTokenizer

    given = {**PLAIN, "max_length": 96}
    template = {"template": "q: {query} d: {document} relevant?"}
    spec = teacher_spec(TeacherSettings(path=str(chatting), causal={**template, "system": "be strict"}, **given))
    found = CrossEncoder(spec).score(PAIRS)
    tokenizer = AutoTokenizer.from_pretrained(chatting)
    for (query, document), logit in zip(PAIRS, found.logits, strict=True):
        messages = [{"role": "system", "content": "be strict"}, {"role": "user", "content": f"q: {query} d: {document} relevant?"}]
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)["input_ids"]
        assert logit == pytest.approx(_logit(chatting, ids), abs=1e-3)
    (cut,) = CausalPrompt(tokenizer, spec.causal, "t").ids([("wing", "d " * 400)], 40)
    assert tokenizer.decode(cut[0]).endswith("d d relevant? [SEP] assistant :")
    assert (spec.causal["yes"], spec.causal["no"]) == ("yes", "no"), "an answer in a chat begins without a space"
    others = [
        TeacherSettings(path=str(chatting), causal=template, **given),
        TeacherSettings(path=str(chatting), causal={**template, "chat_template": "never"}, **given),
        TeacherSettings(path=str(language_model), causal=template, **given),
    ]
    assert len({spec.fingerprint, *(teacher_spec(one).fingerprint for one in others)}) == 4
    assert [teacher_spec(one).causal.get("chat") for one in others] == ["", None, None]
    with pytest.raises(ModelError, match=r"causal\.system is for a chat template"):
        teacher_spec(TeacherSettings(path=str(language_model), causal={"system": "be strict"}, **given))


def test_a_chat_template_that_loses_the_prompt_is_refused(chatting):
    (chatting / "chat_template.jinja").write_text("{% for message in messages %}{{ message['content'][:20] }}{% endfor %}")
    with pytest.raises(ModelError, match=r"does not keep \{query\} and \{document\}"):
        CrossEncoder(teacher_spec(TeacherSettings(path=str(chatting), causal={}, **PLAIN)))
    (chatting / "chat_template.jinja").write_text("{{ raise_exception('one message only') }}")
    with pytest.raises(ModelError, match=r"does not take the prompt .*one message only") as error:
        CrossEncoder(teacher_spec(TeacherSettings(path=str(chatting), causal={}, **PLAIN)))
    assert "chat_template: never" in error.value.mend


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"path": "x", "causal": {"template": "{document} {query}"}}, "and after it"),
        ({"train": {}, "label": 1}, "for a teacher that is there"),
        ({"path": "x", "lazy": True, "ensemble": [{"path": "y"}]}, "lazy asks one teacher"),
    ],
)
def test_settings_of_teachers_that_do_not_fit(settings, said):
    with pytest.raises(ValidationError, match=said):
        TeacherSettings.model_validate(settings)


@pytest.mark.parametrize("settings", [PLAIN, {**PLAIN, "max_length": 64}], ids=["short", "long"])
def test_what_was_a_model_before_is_the_same_model_still(settings):
    """Fields that are not set are no part of a fingerprint: vectors and pairs of earlier versions stay known."""
    spec = document_spec(ModelSettings(**settings))
    names = (
        "weights",
        "prompt",
        "title_template",
        "max_length",
        "dtype",
        "device",
        "batch_tokens",
        "truncate_dim",
        "similarity",
        "backend",
    )
    assert spec.fingerprint == digest({name: getattr(spec, name) for name in names})
