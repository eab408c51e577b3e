"""Nothing is measured on queries that it was trained on, whatever became of the splits since."""

import pyarrow as pa
import pytest

from flows.mine import mine_round
from flows.stored import find_round
from flows.trained_on import check_unseen, trained_on
from flows.training import evaluate_checkpoint, train
from tasks.audit.checkpoints import TrainingRecord, publish_training
from tasks.audit.records import StageRef
from tasks.corpus.settings import DatasetSettings
from tasks.errors import UsageError
from tasks.evaluate.settings import EvaluateSettings
from tasks.models.train_settings import TrainSettings
from tasks.schema import QUERIES
from tasks.store.keys import norm_hash
from tasks.store.manifest import Part, StageManifest, commit_stage
from tasks.store.output import Output
from tasks.store.storage import open_storage
from tests.finetune.conftest import body
from tests.flows.test_rounds import TRAIN, collection, here, settings

assert body and collection and settings  # fixtures that are used below
SPLITS = {"train": 0.6, "dev": 0.2, "test": 0.2}


def mined(settings, root, context, splits):
    given = settings(root, rounds=1, train=None)
    dataset = DatasetSettings.model_validate({**given.dataset.model_dump(), "splits": splits})
    done = mine_round(given.model_copy(update={"dataset": dataset}), context)
    return find_round(context.storage, done.round)


def test_trained_without_splits_and_measured_with_some(settings, tmp_path):
    context, training = here(tmp_path), TrainSettings.model_validate(TRAIN)
    before = mined(settings, tmp_path, context, None)
    trained = train(context, before, before.selection(), training)
    record = mined(settings, tmp_path, context, SPLITS)
    dev = EvaluateSettings(split="dev")
    base = evaluate_checkpoint(context, record, None, dev)
    assert (base.training_known, base.queries > 0) == (False, True)
    with pytest.raises(
        UsageError, match=rf"trained on {base.queries} of the {base.queries} queries of split 'dev'.*\(small/1\)"
    ) as refused:
        evaluate_checkpoint(context, record, trained.model, dev)
    assert "under the splits as they are now" in refused.value.mend
    again = train(context, record, record.selection(), training)
    assert evaluate_checkpoint(context, record, again.model, dev).training_known


class Known:
    """A root with trainings that say whom they took, and a dataset version."""

    def __init__(self, folder):
        self.storage, self.versions = open_storage(str(folder)), 0

    def training(self, base, model, queries, dataset="toy", kind="retriever"):
        """From ``base`` to ``model`` on (text, group) pairs; none: it wrote nothing down."""
        files = ()
        if queries is not None:
            out = Output(self.storage, f"data/train-retriever/{model}")
            texts, groups = zip(*queries, strict=True)
            names = [norm_hash(text) for text in texts]
            out.table("queries.parquet", pa.table({"query_id": texts, "norm_hash": names, "group": pa.array(groups, pa.string())}))
            files = tuple(out.files)
        part = Part(stage="train-retriever", key=model, index="retriever", files=files)
        manifest = StageManifest(stage=part.stage, version=3, key=model, settings={}, parts=(part,), counters={}, seconds=0.0)
        commit_stage(self.storage, manifest)
        train = StageRef(stage=part.stage, key=model)
        publish_training(self.storage, TrainingRecord(dataset=dataset, round=1, kind=kind, train=train, base=base, model=model, path=""))

    def queries(self, *rows):
        """(text, group, split) each."""
        named = [{"text": text, "norm_hash": norm_hash(text), "group": group, "split": split} for text, group, split in rows]
        self.versions += 1
        out = Output(self.storage, f"data/queries/{self.versions}")
        table = [{name: row.get(name) for name in QUERIES.names} for row in named]
        out.table("queries.parquet", pa.Table.from_pylist(table, schema=QUERIES))
        return [Part(stage="queries", key=f"{self.versions}", index="q0000", files=tuple(out.files))]

    def seen(self, model, queries, split="dev"):
        """How many queries are refused, by the error's own words; 0: none."""
        try:
            check_unseen(self.storage, "toy", queries, split, [model])
        except UsageError as error:
            return int(error.message.split("trained on ")[1].split()[0])
        return 0


@pytest.fixture
def known(tmp_path):
    """base → one (on a, b of group g, and the lone c) → two (on d)."""
    made = Known(tmp_path)
    made.training("base", "one", [("a", "g"), ("b", "g"), ("c", None)])
    made.training("one", "two", [("d", None)])
    return made


def test_texts_and_groups_of_then_and_of_now(known):
    fresh = ("fresh", None, "dev")
    assert known.seen("two", known.queries(fresh)) == 0
    assert known.seen("two", known.queries((" A", None, "Dev"), fresh)) == 1  # but for case and white space the model before had it
    assert known.seen("two", known.queries(("new", "g", "dev"), fresh)) == 1  # of the group of a and b, as it was then
    joined = known.queries(("c", "j", "test"), ("n", "j", "test"), ("m", "k", "test"), fresh)  # n joined c: c moved to test
    assert (known.seen("two", joined, "test"), known.seen("two", joined)) == (2, 0)
    assert (known.seen("base", joined, "test"), known.seen("else", joined, "test")) == (0, 0)


def test_what_is_known(known):
    assert trained_on(known.storage, "toy", ["two"]).known
    assert trained_on(known.storage, "toy", ["two"]).rounds == ("toy/1",)
    assert not trained_on(known.storage, "toy", ["base"]).known
    known.training("two", "three", None)  # of an earlier version
    assert not trained_on(known.storage, "toy", ["three"]).known
    assert known.seen("three", known.queries(("d", None, "dev"))) == 1  # what is known counts all the same


def test_trainings_on_another_dataset_count_by_text_alone(known):
    known.training("two", "far", [("x", "h")], dataset="other")
    assert known.seen("far", known.queries(("x", None, "dev"))) == 1
    assert known.seen("far", known.queries(("y", "h", "dev"), ("z", None, "dev"))) == 0  # another dataset's h
