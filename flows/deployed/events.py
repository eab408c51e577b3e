"""Events that automations listen to, sent at least once.

Before a run publishes, it notes in the root that it owes an event; when Prefect's server has taken the event, the note goes. A run that
dies between the two leaves its note to the next run of the dataset. An event that is sent twice has one id, by which the server knows it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
from prefect.client.orchestration import get_client
from prefect.events import Event, RelatedResource, Resource
from prefect.runtime import flow_run

from flows.progress import warn
from tasks.audit.records import RoundRecord, list_rounds
from tasks.store.pointers import read_pointer, update_pointer
from tasks.store.storage import Storage

PUBLISHED = "hardmine.round.published"
STALE = "hardmine.negatives.stale"
TRAINED = "hardmine.trained-by-run"  # label: yes, where the run that mined the round trains on it as well

_STALE = "stale/"  # before the selection's id, of a note that owes that event


def owe_event(storage: Storage, dataset: str, selection_id: str, trains: bool) -> None:
    """Note that a selection is about to be published and announced; one that is published already is not announced again.

    Args:
        storage: the root.
        dataset: its name.
        selection_id: what will be published.
        trains: whether the run that mines the round trains on it.
    """
    if any(selection_id == one.selection_id for record in list_rounds(storage, dataset) for one in record.selections):
        return

    def change(present: dict[str, Any] | None) -> dict[str, Any]:
        return {"owed": {**(present or {"owed": {}})["owed"], selection_id: {"trains": trains}}}

    update_pointer(storage, _pointer(dataset), change)


def owe_stale(storage: Storage, dataset: str, selection_id: str, payload: Mapping[str, Any]) -> None:
    """Note that a round about to be published found the negatives before it stale, which is to be said once it is published.

    Args:
        storage: the root.
        dataset: its name.
        selection_id: what will be published.
        payload: of the event, besides root and round.
    """

    def change(present: dict[str, Any] | None) -> dict[str, Any]:
        return {"owed": {**(present or {"owed": {}})["owed"], f"{_STALE}{selection_id}": dict(payload)}}

    update_pointer(storage, _pointer(dataset), change)


def send_owed(storage: Storage, dataset: str) -> list[str]:
    """Send the events of a dataset that are owed. What the server does not take stays owed, and the run goes on.

    Args:
        storage: the root.
        dataset: its name.

    Returns:
        The rounds that were announced, as in ``cranfield/2``.
    """
    sent = dict(_sent(storage, dataset))
    if sent:

        def change(present: dict[str, Any] | None) -> dict[str, Any]:
            return {"owed": {name: told for name, told in (present or {"owed": {}})["owed"].items() if name not in sent}}

        update_pointer(storage, _pointer(dataset), change)
    return list(sent.values())


def _sent(storage: Storage, dataset: str) -> Iterator[tuple[str, str]]:
    owed = (read_pointer(storage, _pointer(dataset)) or {"owed": {}})["owed"]
    if not owed:
        return
    published = {one.selection_id: record for record in list_rounds(storage, dataset) for one in record.selections}
    for note in sorted(owed):
        selection_id = note.removeprefix(_STALE)
        if selection_id not in published:  # the run died before it published, or is about to
            continue
        record = published[selection_id]
        event = _stale if note.startswith(_STALE) else _published
        try:
            _send(event(record, note, storage.root, owed[note]))
        except httpx.HTTPError as error:
            warn(f"round {record.dataset}/{record.number} is not announced: {error}; the next run of the dataset tries again")
            return
        yield note, f"{record.dataset}/{record.number}"


def _send(event: Event) -> None:
    with get_client(sync_client=True) as client:
        client.request("POST", "/events", json=[event.model_dump(mode="json")])


def _published(record: RoundRecord, note: str, root: str, told: Mapping[str, Any]) -> Event:
    """A round is there to train on."""
    payload = {"root": root, "dataset": record.dataset, "number": record.number, "round": f"{record.dataset}/{record.number}"}
    return _event(PUBLISHED, record, note, root, payload, {TRAINED: "yes" if told["trains"] else "no"})


def _stale(record: RoundRecord, note: str, root: str, told: Mapping[str, Any]) -> Event:
    """A round's checkpoint finds the negatives before it easy."""
    return _event(STALE, record, note, root, {**told, "root": root, "round": record.number})


def _event(
    name: str, record: RoundRecord, note: str, root: str, payload: Mapping[str, Any], labels: Mapping[str, str] | None = None
) -> Event:
    resource = {"prefect.resource.id": f"hardmine.dataset.{record.dataset}", "prefect.resource.name": record.dataset, **(labels or {})}
    by = {"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.role": "flow-run"}
    return Event(
        id=uuid.uuid5(uuid.NAMESPACE_URL, f"{root}/{record.dataset}/{note}"),
        event=name,
        resource=Resource(resource),
        related=[RelatedResource(by)] if flow_run.id else [],
        payload=dict(payload),
    )


def _pointer(dataset: str) -> str:
    return f"announcements/{dataset}"
