"""Which chunk a checkpoint's round takes, and whose teacher scores it."""

import pytest

from flows.checks import check_mines_only
from flows.settings import MineSettings
from flows.watch import earlier_teachers, same_teacher
from tasks.audit.records import RoundRecord, StageRef
from tasks.errors import UsageError
from tasks.store.storage import open_storage

DATASET = {"name": "small", "format": "beir", "path": "/data"}
TRAINED = StageRef(stage="train-teacher", key="t")


def run(**settings) -> MineSettings:
    return MineSettings.model_validate({"root": "/root", "dataset": DATASET, **settings})


def record(settings, *stages) -> RoundRecord:
    return RoundRecord(
        dataset="small",
        candidate_set_id="c",
        selection_id="s",
        created="2024-01-01",
        selections=(),
        stages=stages,
        settings=settings.model_dump(mode="json", exclude={"root"}),
        roles={},
    )


@pytest.mark.parametrize(("chunks", "first", "mined", "chunk"), [(4, 0, 0, 0), (4, 0, 3, 3), (4, 3, 1, 0), (4, 1, 6, 3), (1, 0, 5, 0)])
def test_each_mined_checkpoint_takes_the_next_chunk(chunks, first, mined, chunk):
    chosen = run(query_chunks=chunks, query_chunk=first).with_checkpoint("/run/one", mined)
    assert (chosen.query_chunk, chosen.query_chunks, chosen.model.path, chosen.model.revision) == (chunk, chunks, "/run/one", None)


@pytest.mark.parametrize(
    ("settings", "named"), [({"rounds": 2}, "^rounds:"), ({"train": {}}, "^train:"), ({"rounds": 3, "train": {}}, "^rounds and train:")]
)
def test_what_would_train_is_refused(settings, named):
    check_mines_only(run(query_chunks=3))
    with pytest.raises(UsageError, match=named) as refused:
        check_mines_only(run(**settings))
    assert "hardmine mine" in refused.value.mend


def test_the_first_rounds_teacher_is_taken_where_it_is_the_same():
    settings = run(teacher={"train": {"seed": 1}})
    assert same_teacher(settings, record(settings, TRAINED))
    assert same_teacher(run(teacher={"train": {"seed": 1}, "depth": 20}), record(settings, TRAINED))
    assert not same_teacher(run(teacher={"train": {"seed": 2}}), record(settings, TRAINED))
    assert not same_teacher(run(teacher={"train": {"seed": 1}, "prompt": "find: "}), record(settings, TRAINED))
    assert not same_teacher(settings, record(settings))  # no such stage
    assert not same_teacher(settings, record(run(), TRAINED))
    assert not same_teacher(run(), record(settings, TRAINED))
    assert not same_teacher(run(teacher={"path": "/teacher"}), record(run(teacher={"path": "/teacher"})))


def test_without_a_round_a_teacher_is_trained(tmp_path):
    assert earlier_teachers(open_storage(str(tmp_path)), run(teacher={"train": {}})) is None
