"""Events that automations listen to."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.events import emit_event

from tasks.audit.records import RoundRecord

PUBLISHED = "hardmine.round.published"
TRAINED = "hardmine.trained-by-run"  # label: yes, where the run that mined the round trains on it as well


def is_new(before: Sequence[RoundRecord], candidate_set_id: str, selection_id: str) -> bool:
    """Whether there is something to announce: a run that is repeated finds its round and selection published.

    Args:
        before: the dataset's rounds as they were before the run published.
        candidate_set_id: of its round.
        selection_id: of its published selection.
    """
    known = {(one.candidate_set_id, selection.selection_id) for one in before for selection in one.selections}
    return (candidate_set_id, selection_id) not in known


def emit_published(record: RoundRecord, root: str, trains: bool) -> None:
    """A round is there to train on.

    Args:
        record: the round.
        root: where it lies.
        trains: whether the run that mined it trains on it.
    """
    emit_event(
        PUBLISHED,
        resource={
            "prefect.resource.id": f"hardmine.dataset.{record.dataset}",
            "prefect.resource.name": record.dataset,
            TRAINED: "yes" if trains else "no",
        },
        payload={"root": root, "dataset": record.dataset, "number": record.number, "round": f"{record.dataset}/{record.number}"},
    )
