"""Events that automations listen to."""

from __future__ import annotations

from prefect.events import emit_event

from tasks.audit.records import RoundRecord

PUBLISHED = "hardmine.round.published"
TRAINED = "hardmine.trained-by-run"  # label: yes, where the run that mined the round trains on it as well


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
