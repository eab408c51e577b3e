"""Asking on behalf of a command."""

import pytest

from flows.asking import About, ask_for
from flows.cache_only import NotCached, Quiet, SelectingOnly
from tasks.audit.asks import read_asks
from tasks.remote.budget import Budget
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tests.remote.server import Endpoint, serving
from tests.remote.test_ask import Verdict, questions, settings, storage, well

assert storage  # a fixture
ABOUT = About("toy", 1, "judge cheap", "pairs", "judge-pair-1@0")


def test_a_run_that_only_looks_whether_all_is_there_asks_nothing(storage):
    """``hardmine mine`` looks first, without a bar and without workers: a model is asked where the user can see it."""
    with serving(Endpoint(well)) as endpoint:
        look = Context(storage, SelectingOnly, Quiet())
        with pytest.raises(NotCached, match="judge cheap"):
            ask_for(look, ABOUT, settings(endpoint), questions(5), Verdict, Budget())
        assert (endpoint.calls, read_asks(storage)) == (0, [])
        run = Context(storage, lambda: InlineExecutor(1), Quiet())
        assert ask_for(run, ABOUT, settings(endpoint), questions(5), Verdict, Budget()).open == 0
        assert ask_for(look, ABOUT, settings(endpoint), questions(5), Verdict, Budget()).cached == endpoint.calls == 5
