"""What a stage is called in the UI."""

import pytest

from tasks.runner.prefect_task import run_name
from tasks.runner.stage import Job, Stage

SCORE = Stage(name="score", version=1, function="tests.runner.work:double")


@pytest.mark.parametrize(("count", "said"), [(0, "0 partitions"), (1, "1 partition"), (12, "12 partitions")])
def test_a_run_says_how_much_there_is_and_the_beginning_of_its_key(count, said):
    assert run_name(SCORE, [Job(index=f"p{i}") for i in range(count)], "1f3a9c02" * 4) == f"score, {said}, 1f3a9c"
