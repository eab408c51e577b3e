"""What follows from what happens: automations, as code."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from flows.deployed.catalogue import TAG
from flows.deployed.events import PUBLISHED, STALE, TRAINED

RETRIED = "hardmine: crashed runs are tried once more"
_DATASETS = {"prefect.resource.id": "hardmine.dataset.*"}


def automations(deployments: Mapping[str, UUID]) -> list[AutomationCore]:
    """All automations.

    Args:
        deployments: ids by name.
    """
    return [
        AutomationCore(
            name="hardmine: stale negatives are mined again",
            description="The event hardmine.negatives.stale starts remine for its dataset.",
            trigger=_on(STALE),
            actions=[
                RunDeployment(
                    deployment_id=deployments["remine"],
                    parameters={
                        "dataset": _of("resource['prefect.resource.name']"),
                        "retriever": _of("payload.model"),  # empty, where who says it names none
                        "always": True,
                        "place": {"root": _of("payload.root")},
                    },
                )
            ],
        ),
        AutomationCore(
            name="hardmine: published rounds are trained on",
            description="The event hardmine.round.published starts train for its round, unless its own run trains. For an unattended loop.",
            enabled=False,
            trigger=_on(PUBLISHED, {TRAINED: "no"}),
            actions=[
                RunDeployment(
                    deployment_id=deployments["train"],
                    parameters={"round_name": _of("payload.round"), "place": {"root": _of("payload.root")}},
                )
            ],
        ),
        AutomationCore(
            name=RETRIED,
            description="A run whose process died in its first attempt is scheduled again; what it had committed is not computed again.",
            trigger=EventTrigger(
                expect={"prefect.flow-run.Crashed"},
                match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*", "prefect.run-count": "1"}),
                match_related=ResourceSpecification({"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"}),
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=[ChangeFlowRunState(name="AwaitingRetry", state=StateType.SCHEDULED, message="crashed; tried once more", force=True)],
        ),
    ]


def apply_automations(client: SyncPrefectClient, wanted: list[AutomationCore]) -> None:
    """Put automations on a server: those that are there under the same name are replaced, and stay on or off as they are."""
    for automation in wanted:
        present = client.read_automations_by_name(automation.name)
        if present:
            automation = automation.model_copy(update={"enabled": present[0].enabled})
        for old in present:
            client.delete_automation(old.id)
        client.create_automation(automation)


def _on(event: str, labels: Mapping[str, str] | None = None) -> EventTrigger:
    match = ResourceSpecification({**_DATASETS, **(labels or {})})
    return EventTrigger(expect={event}, match=match, posture=Posture.Reactive, threshold=1)


def _of(name: str) -> dict[str, str]:
    """A value of the event, filled in when it comes."""
    return {"__prefect_kind": "jinja", "template": f"{{{{ event.{name} }}}}"}
