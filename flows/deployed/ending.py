"""Flow runs of a ``hardmine serve`` that ends, or that has ended without saying so."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator
from uuid import UUID

import psutil
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.states import Cancelled, Cancelling, Crashed, Scheduled

from flows.deployed.automations import RETRIED

_RUN = "PREFECT__FLOW_RUN_ID"  # Prefect's runner tells a run's process so which one it is
_GRACE = 20.0
_ENDED = "ended with hardmine serve"
_LEFT = "the process of this run ended with its hardmine serve"
_BEGUN = (StateType.RUNNING, StateType.PENDING)


def cancel_runs(grace: float = _GRACE) -> None:
    """Cancel the runs that this process has started, while the server and the runner still answer.

    The runner ends a run that is to be cancelled so that it gives back what it holds and is not taken for crashed.
    Whoever ended it may retry it in the pages.

    Args:
        grace: seconds that it has for that; then it is killed.
    """
    started = [(number, process) for process in psutil.Process().children() for number in _run_of(process)]
    with get_client(sync_client=True) as client:
        for number, _ in started:
            state = client.read_flow_run(number).state
            if state and state.type in _BEGUN:
                client.set_flow_run_state(number, Cancelling(message=_ENDED), force=True)
        for process in psutil.wait_procs([process for _, process in started], timeout=grace)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for number, _ in started:
            state = client.read_flow_run(number).state
            if state and state.type in (*_BEGUN, StateType.CANCELLING):
                client.set_flow_run_state(number, Cancelled(message=_ENDED), force=True)


def settle_runs(deployments: Iterable[UUID]) -> None:
    """Give runs whose process is no longer there the state that they have in truth.

    One in its first attempt is due again, as the automation would have it, if that is switched on. The automation itself would hear of
    a crash only a quarter of an hour later: events wait that long for the one before, which was the last server's.

    Args:
        deployments: whose runs; all of them are of this machine.
    """
    kept = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=list(deployments)),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[*_BEGUN, StateType.CANCELLING])),
    )
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=kept)
        retried = any(one.enabled for one in client.read_automations_by_name(RETRIED))
        alive = {number for process in psutil.process_iter() for number in _run_of(process)} if found else set()
        for one in found:
            if one.id not in alive and one.state:
                client.set_flow_run_state(one.id, _settled(one.state.type, retried and one.run_count < 2), force=True)


def reap(seen: Collection[int]) -> set[int]:
    """Take the exit status of adopted processes, which a run has left behind and which have ended since: else they stay as zombies.

    Args:
        seen: what this returned the last time. Only what had ended then is taken: those who wait for a process of their own do it at once.

    Returns:
        Process ids of those that have ended and are still there.
    """
    ended = {child.pid for child in psutil.Process().children() if _is_zombie(child)}
    for number in ended.intersection(seen):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(number, os.WNOHANG)
    return ended.difference(seen)


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _settled(found: StateType, again: bool) -> State:
    if found == StateType.CANCELLING:
        return Cancelled(message=_LEFT)
    if found == StateType.PENDING:
        return Scheduled(message=_LEFT)
    return Scheduled(name="AwaitingRetry", message=f"{_LEFT}; tried once more") if again else Crashed(message=_LEFT)


def _run_of(process: psutil.Process) -> Iterator[UUID]:
    """The run that a process works for, if any."""
    try:
        number = process.environ().get(_RUN)
        if number and process.status() != psutil.STATUS_ZOMBIE:
            yield UUID(number)
    except (psutil.Error, OSError, ValueError):  # gone, or another user's
        return
