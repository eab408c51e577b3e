"""Training on a mixture: its batches, each dataset's prompts, and what is known of the checkpoint afterwards."""

import pytest

from flows.stored import find_round, stored_table
from flows.trained_on import trained_on
from flows.training import evaluate_checkpoint
from flows.training_mixture import is_mixture, train_mixture
from tasks.audit.checkpoints import read_trainings
from tasks.errors import UsageError
from tasks.evaluate.settings import EvaluateSettings
from tasks.finetune.mixture import gather_mixture, mixture_jobs
from tasks.models.settings import ModelSettings
from tasks.models.stored import as_reference
from tasks.models.train_settings import TrainSettings
from tasks.runner.stage import Work
from tasks.store.manifest import read_stage
from tasks.store.pointers import read_pointer
from tasks.store.tables import read_parts
from tests.finetune.conftest import body
from tests.flows.test_many import MODEL, rows_of, run, settings, sources

assert body and sources  # fixtures that are used below


def test_a_mixture_is_trained_on_in_its_batches_with_each_datasets_prompts(tmp_path, sources, body):
    """By `train` in run.yaml; again by name it is cached; it is a checkpoint like any other, of all the datasets."""
    small = {**MODEL, "path": str(body)}
    splits = {"splits": {"train": 0.8, "dev": 0.2}}
    members = {"soups": {"dataset": splits}, "cakes": {"dataset": splits}}
    prompts = {"soups": {"query": "Find the recipe: ", "document": "recipe: "}}
    train = {"epochs": 2, "max_length": 32, "dtype": "float32", "batch_size": 2}
    asked = settings(
        tmp_path / "root", sources, members, model=small, prompts=prompts, mixture={"batch_size": 4}, train=train, formats=["n-tuple"]
    )
    context, result = run(asked)
    facts = result.trained.facts
    rows = result.mixture[0].rows
    assert (facts["samples"], facts["steps"], facts["negatives"]) == (rows, 2 * rows // 4, 2 * rows)
    assert facts["left_out"] == {}
    again = train_mixture(context, "mixture", asked.train, tmp_path / "out")
    assert again.cached
    assert (tmp_path / "out" / "model.safetensors").is_file()
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.count("| trained on |") == 2
    assert '"query": "Find the recipe: "' in card
    mixed = {row["query_id"] for row in rows_of(result.mixture[0].folder.removesuffix("data") + "sidecar")}
    for name in ("soups", "cakes"):
        record = find_round(context.storage, name)
        (training,) = read_trainings(context.storage, name)
        assert (training.round, training.recipe, training.path) == (1, "top", as_reference(context.storage, result.trained.model))
        measured = evaluate_checkpoint(context, record, result.trained.model, EvaluateSettings(split="dev"))
        assert measured.training_known
        seen = trained_on(context.storage, name, [training.model])
        queries = read_parts(context.storage, stored_table(context.storage, record).queries, "queries.parquet").to_pylist()
        own = {row["norm_hash"] for row in queries if row["query_id"] in mixed}
        assert own
        assert own <= set(seen.texts.to_pylist())
        assert not {row["norm_hash"] for row in queries if row["split"] == "dev"} & set(seen.texts.to_pylist())
    with pytest.raises(UsageError, match="mixture other was written as nothing"):
        train_mixture(context, "other", asked.train)
    assert is_mixture(context.storage, "mixture")
    assert not is_mixture(context.storage, "soups")


def test_samples_of_a_mixture_keep_its_batches(tmp_path, sources):
    members = {"soups": {}, "cakes": {}}
    prompts = {"soups": {"query": "Find: "}}
    context, result = run(settings(tmp_path / "root", sources, members, prompts=prompts, mixture={"batch_size": 4}, formats=["triplet"]))
    pointer = read_pointer(context.storage, "mixtures/mixture")["formats"]["triplet"]
    (part,) = read_stage(context.storage, pointer["stage"], pointer["key"]).parts
    queries = [each for name in members for each in stored_table(context.storage, find_round(context.storage, name)).queries]
    (job,) = mixture_jobs(context.storage, part, queries, ModelSettings(**MODEL), TrainSettings(epochs=3))
    samples, facts = gather_mixture(Work(job, context.storage, lambda _: None), TrainSettings(epochs=3))
    rows = rows_of(result.mixture[0].folder)
    before = {"soups": "Find: ", "cakes": ""}
    assert [samples.query_texts[place] for place in samples.queries] == [before[row["dataset_name"]] + row["anchor"] for row in rows]
    texts = [[samples.document_texts[place] for place in line] for line in samples.documents]
    assert texts == [[row["positive"], row["negative"]] for row in rows]
    assert job.units == len(samples.batches) == 3 * len(rows) // 4
    assert [batch.tolist() for batch in samples.batches[:2]] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert samples.batches[len(rows) // 4].tolist() == [0, 1, 2, 3], "the next epoch"
    assert facts["known_positives"] == len({(row["anchor"], row["positive"]) for row in rows})
