"""Which earlier selections a round's checkpoint looks at, and what is known of the checkpoints between. Wiring only."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flows.lineage import trainings_behind
from tasks.audit.checkpoints import read_trainings
from tasks.audit.records import RoundRecord, SelectionRecord, StageRef
from tasks.errors import ModelError, StorageError
from tasks.models.fingerprint import weights_of
from tasks.models.stored import is_reference, model_files, stored_part
from tasks.retrieve.dense import recall_of
from tasks.staleness.card import CardFacts, card_facts
from tasks.staleness.settings import StalenessSettings
from tasks.staleness.stage import Checkpoint, Earlier
from tasks.store.manifest import Part, read_stage
from tasks.store.storage import Storage
from tasks.store.tables import local_file

_CARD = "README.md"
_ROLES = ("queries", "query_vectors", "documents", "document_vectors", "scored")


@dataclass(frozen=True)
class Looked:
    """What there is to look at.

    Args:
        earlier: selections, the newest round first; within it what was trained on, then the published one.
        own: their rounds' own checkpoints, by number.
        skipped: rounds that are left out, and why.
    """

    earlier: list[Earlier]
    own: dict[int, Checkpoint]
    skipped: dict[int, str]


def rounds_before(now: RoundRecord, rounds: Sequence[RoundRecord]) -> list[RoundRecord]:
    """A dataset's rounds before this one, in order; all others, where this one is not published yet."""
    ordered = sorted((each for each in rounds if each.dataset == now.dataset), key=lambda each: each.number)
    own = [each.number for each in ordered if each.candidate_set_id == now.candidate_set_id]
    return [each for each in ordered if not own or each.number < own[0]]


def choose(storage: Storage, now: RoundRecord, before: Sequence[RoundRecord], settings: StalenessSettings) -> Looked:
    """Of the recent rounds under another checkpoint the published selections, those that were trained on, and those of ``now``'s recipe.

    Args:
        storage: the root.
        now: the later round.
        before: earlier rounds, in order.
        settings: how many rounds, and what the floor takes from them.
    """
    here = model_of(storage, now)
    models = {record.number: model_of(storage, record) for record in before}
    others = [record.number for record in before if models[record.number] != here]
    wanted = {*others[:1], *others[-settings.rounds :]}
    used = selections_trained_on(storage, now)
    looked = Looked([], {}, {})
    for record in reversed(before):
        if record.number not in wanted:
            older = record.number in others
            looked.skipped[record.number] = f"older than the last {settings.rounds}" if older else "mined with the same checkpoint"
            continue
        later = {models[each.number]: each for each in reversed(before) if each.number > record.number}
        trainings = [each for model, each in {**later, here: now}.items() if model != models[record.number]]
        floor = _recall(storage, record) * _recall(storage, now) * settings.seed_overlap
        try:
            checkpoint = checkpoint_of(storage, record)
            found = [
                replace(
                    _earlier(storage, now, record, each, checkpoint, trainings, floor),
                    trained_on=each.selection_id in used if used else None,
                )
                for each in _wanted(now, record, used)
            ]
        except StorageError:
            looked.skipped[record.number] = "its files are gone"
            continue
        looked.earlier.extend(found)
        looked.own[record.number] = checkpoint
    return looked


def selections_trained_on(storage: Storage, now: RoundRecord) -> set[str]:
    """Selections whose rows a training behind a round's checkpoint took, those of earlier rounds that were mixed in among them.

    Returns:
        Their ids; empty where no training of the checkpoint is recorded: then nobody knows here.
    """
    model = now.settings.get("model") or {}
    if model.get("remote"):  # it was not trained here
        return set()
    try:
        weights = weights_of(str(model.get("path", "")), model.get("revision"), storage)
    except ModelError:
        return set()
    found = set()
    for training in trainings_behind(read_trainings(storage, now.dataset), [weights]):
        manifest = read_stage(storage, training.train.stage, training.train.key, check_files=False)
        found |= {str(each["selection_id"]) for each in (manifest.settings.get("rounds", ()) if manifest else ())}
        found.add(training.selection_id)
    return found


def checkpoint_of(storage: Storage, record: RoundRecord) -> Checkpoint:
    """A round's corpus and vectors.

    Raises:
        StorageError: some of its files are gone.
    """
    if any(role not in record.roles for role in _ROLES):
        raise StorageError(f"round {record.number} of {record.dataset!r} does not say which stages it read", "mine it again")
    return Checkpoint(**{role: _parts(storage, record.roles[role]) for role in _ROLES})


def model_of(storage: Storage, record: RoundRecord) -> tuple[str, ...]:
    """What a round's vectors were made by: the fingerprints of both sides, or keys of the vectors where those are not recorded."""
    found = []
    for role in ("query_vectors", "document_vectors"):
        reference = record.roles.get(role)
        manifest = read_stage(storage, reference.stage, reference.key, check_files=False) if reference else None
        named = {str(part.meta["model"]) for part in manifest.parts if "model" in part.meta} if manifest else set()
        found.append(named.pop() if len(named) == 1 else reference.key if reference else f"round {record.number}")
    return tuple(found)


def card_of(storage: Storage, record: RoundRecord) -> CardFacts:
    """What the card of a round's checkpoint says, where that lies in the root or is a folder of this machine."""
    return card_facts(card_text(storage, str((record.settings.get("model") or {}).get("path", ""))))


def card_text(storage: Storage, path: str) -> str:
    """A checkpoint's card; empty where it lies elsewhere or has none."""
    try:
        card = local_file(storage, model_files(stored_part(storage, path))[_CARD]) if is_reference(path) else Path(path) / _CARD
        return card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, KeyError, ModelError, StorageError):
        return ""


def _earlier(
    storage: Storage,
    now: RoundRecord,
    record: RoundRecord,
    selection: SelectionRecord,
    checkpoint: Checkpoint,
    trainings: Sequence[RoundRecord],
    floor: float,
) -> Earlier:
    steps = [card_of(storage, each).steps for each in trainings]
    known = [each for each in steps if each is not None]
    follower = next((each for each in now.selections if each.recipe == selection.recipe), now.selection())
    return Earlier(
        round=record.number,
        recipe=selection.recipe,
        selection_id=selection.selection_id,
        select=_parts(storage, selection.select),
        scored=checkpoint.scored,
        documents=checkpoint.documents,
        emitted=_parts(storage, follower.select),
        age=len(trainings),
        steps=sum(known) if len(known) == len(steps) else None,
        floor=round(floor, 6),
    )


def _wanted(now: RoundRecord, record: RoundRecord, used: Collection[str]) -> list[SelectionRecord]:
    published = now.selection().recipe
    chosen = {record.selection_id, *used}
    found = [each for each in record.selections if each.selection_id in chosen or each.recipe == published]
    return sorted(found, key=lambda each: (each.selection_id not in used, each.selection_id != record.selection_id))


def _recall(storage: Storage, record: RoundRecord) -> float:
    """Recall of a round's dense search against the exact one: 1 for flat indexes, as measured for others."""
    references = [each for each in record.stages if each.stage == "retrieve-dense"]
    manifest = read_stage(storage, references[-1].stage, references[-1].key, check_files=False) if references else None
    return recall_of(manifest.parts) if manifest else 1.0


def _parts(storage: Storage, reference: StageRef) -> tuple[Part, ...]:
    manifest = read_stage(storage, reference.stage, reference.key)
    if manifest is None:
        raise StorageError(f"{storage.root}: files of stage {reference.stage} are gone", "mine the round again: what is there is reused")
    return manifest.parts
