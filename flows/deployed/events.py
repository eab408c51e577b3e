"""Events that automations listen to."""

from __future__ import annotations

from prefect.events import emit_event

from tasks.audit.records import RoundRecord

PUBLISHED = "hardmine.round.published"


def emit_published(record: RoundRecord, root: str) -> None:
    """A round is there to train on."""
    emit_event(
        PUBLISHED,
        resource={"prefect.resource.id": f"hardmine.dataset.{record.dataset}", "prefect.resource.name": record.dataset},
        payload={"root": root, "dataset": record.dataset, "number": record.number, "round": f"{record.dataset}/{record.number}"},
    )
