import os
from pathlib import Path

import numpy as np
import pytest

from flows.cache_only import Quiet
from flows.mine import mine_round
from flows.settings import MineSettings
from tasks.errors import InputError
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.storage import open_storage
from tasks.truth.coverage import COVERAGE, coverage
from tasks.truth.frame import Frame
from tasks.truth.settings import SamplingSettings
from tests.bench.reviews import Thin, simulated

DATA = Path(os.environ.get("HARDMINE_DATA", "/nowhere")) / "banking77-thin"


def found(table, estimator, column):
    rows = [row for row in table.to_pylist() if row["estimator"] == estimator]
    return np.array([row[column] for row in rows])


def synthetic(queries=400, recipes=3):
    """Emitted pairs of queries that differ in how many relevant documents they have; the teacher sees half of it."""
    generator = np.random.default_rng(7)
    query = np.repeat(np.arange(queries), 20)
    hidden = generator.normal(size=len(query)) + generator.normal(size=queries)[query]
    score = hidden + generator.normal(size=len(query))
    relevant = hidden + 0.5 * generator.normal(size=len(query)) > 1.5
    place = np.argsort(np.argsort(-score.reshape(queries, 20), axis=1), axis=1).ravel()
    members = np.stack([place < 5, (place >= 5) & (place < 10), place >= 15], axis=1)[:, :recipes]
    emitted = members.any(axis=1)
    frame = Frame(("top", "skip-5", "last")[:recipes], members[emitted], query[emitted], score[emitted])
    return frame, relevant[emitted], 1 / (1 + np.exp(-score[emitted])), place[emitted] + 1.0


def test_a_table_of_simulated_reviews():
    frame, relevant, prior, ranks = synthetic()
    table = coverage(frame, relevant, prior, ranks, range(100), SamplingSettings(budget=150), resamples=200)
    assert table.schema == COVERAGE
    assert found(table, "design", "leak").tolist() == pytest.approx([relevant[frame.members[:, at]].mean() for at in range(3)])
    for estimator in ("assisted", "design"):
        # 100 reviews: a standard error of 2.2 % around 95 %
        assert (found(table, estimator, "coverage") >= 0.89).all()
        assert (np.abs(found(table, estimator, "bias")) < 0.02).all()
    assert (found(table, "assisted", "rmse") < 1.05 * found(table, "design", "rmse")).all()
    # leaks of 2 %: resampling what was seen does not know what was not
    assert found(table, "percentile bootstrap", "coverage").min() < 0.9
    alone = [row for row in table.to_pylist() if row["estimator"] == "calibrated teacher alone"]
    assert {(row["coverage"], row["width"]) for row in alone} == {(None, None)}


def test_without_a_bootstrap_and_equal_seeds():
    frame, relevant, prior, ranks = synthetic(queries=60)
    first, again = (coverage(frame, relevant, prior, ranks, [3, 4], SamplingSettings(budget=60), resamples=0) for _ in range(2))
    assert first.equals(again)
    assert set(first["estimator"].to_pylist()) == {"assisted", "design", "calibrated teacher alone"}
    with pytest.raises(InputError, match="1 judgements"):
        coverage(frame, [True], prior, ranks, [0])


@pytest.fixture(scope="module")
def thin(tmp_path_factory):
    """Vectors of a mined round, as the table of docs/truth.md has them."""
    settings = {
        "root": str(tmp_path_factory.mktemp("thin")),
        "dataset": {"name": "banking77-thin", "format": "beir", "path": str(DATA), "split": "labelled"},
        "retrieve": {"dense": {"top_k": 10}, "bm25": None},
        "recipe": "top",
        "truncate": True,
    }
    mine_round(MineSettings.model_validate(settings), Context(open_storage(settings["root"]), lambda: InlineExecutor(2), Quiet()))
    return Thin.read(DATA, settings["root"])


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="the collections of $HARDMINE_DATA are absent")
@pytest.mark.parametrize("seeds", [200, 600])
def test_reviews_of_300_pairs_cover_the_leak(thin, seeds):
    """The table of docs/truth.md, and three times as many reviews as it has."""
    table = simulated(thin, seeds)
    assert found(table, "assisted", "leak").shape == (8,)
    assert found(table, "assisted", "leak").min() < 0.03
    assert found(table, "assisted", "leak").max() > 0.35
    for estimator, least in (("assisted", 0.92), ("design", 0.92 if seeds > 200 else 0.9)):
        held = found(table, estimator, "coverage")  # of 200 reviews it has a standard error of .015
        assert ((held >= least) & (held <= 0.98)).all(), table.to_pylist()
    assert (found(table, "assisted", "width") < found(table, "design", "width")).all()
    assert (np.abs(found(table, "assisted", "bias")) < 0.006).all()
