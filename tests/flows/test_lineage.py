from flows.lineage import ancestors
from tasks.audit.checkpoints import TrainingRecord
from tasks.audit.records import StageRef


def training(number, base, model, kind="retriever"):
    return TrainingRecord(
        dataset="toy", round=number, kind=kind, train=StageRef(stage="train-retriever", key=model), base=base, model=model, path=""
    )


# a -1-> b -2-> c -3-> d, and with another loss b -2-> e; t is a teacher from a
TRAININGS = [training(1, "a", "b"), training(2, "b", "c"), training(3, "c", "d"), training(2, "b", "e"), training(1, "a", "t", "teacher")]


def test_the_rounds_behind_a_checkpoint():
    assert ancestors(TRAININGS, "d") == [3, 2, 1]
    assert ancestors(TRAININGS, "e") == [2, 1]
    assert ancestors(TRAININGS, "b") == [1]


def test_a_model_that_trainings_began_with_has_none_behind_it():
    assert ancestors(TRAININGS, "a") == []


def test_of_another_trainers_checkpoint_nothing_is_known():
    assert ancestors(TRAININGS, "x") is None
    assert ancestors(TRAININGS, "t") is None
    assert ancestors([], "a") is None


def test_a_checkpoint_that_was_trained_back_to_its_base_ends():
    assert ancestors([training(1, "a", "b"), training(2, "b", "a")], "a") == [2, 1]
