"""What is already mined: reading a published round back, selecting from it anew, exporting its training files."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from flows.measuring import RECORDED, Measuring, recorded_truth
from flows.results import MineResult, SelectionResult
from flows.selection import Table
from flows.settings import MineSettings
from tasks.audit.explain import QueryStory, show_query
from tasks.audit.records import RoundRecord, SelectionRecord, StageRef, read_round
from tasks.errors import StorageError, UsageError
from tasks.select.recipe import Facts, Recipe
from tasks.select.registry import compose_recipe
from tasks.store.manifest import StageManifest, read_stage
from tasks.store.storage import Storage, open_storage
from tasks.store.tables import read_table


def find_round(storage: Storage, name: str) -> RoundRecord:
    """A round by its name: ``cranfield/2``, ``cranfield`` (its last), ``2`` (of the only dataset), ``latest``.

    Raises:
        UsageError: there is no such round.
    """
    if name in ("", "latest"):
        return read_round(storage)
    dataset, slash, number = name.rpartition("/")
    if not slash and not name.isdigit():
        return read_round(storage, name)
    if not number.isdigit():
        raise UsageError(f"round {name!r}: expected DATASET/NUMBER", "as in cranfield/1; `hardmine rounds` lists them")
    return read_round(storage, dataset or None, int(number))


def example_stories(result: MineResult, count: int = 3) -> list[QueryStory]:
    """A few training rows to look at: queries whose negatives are all there, chosen by the rows' hashed order."""
    storage = open_storage(result.root)
    record = read_round(storage, result.dataset, result.number)
    selection = record.selection(result.selection_id)
    stories: list[QueryStory] = []
    for part in stored_stage(storage, selection.select).parts:
        rows = read_table(storage, part.file("rows.parquet"), ["query_id", "slot"])
        for query in rows.filter(pc.equal(rows["slot"], selection.num_negatives))["query_id"].to_pylist()[: count - len(stories)]:
            stories.append(show_query(storage, record, query, selection.selection_id))
    return stories


def stored_table(storage: Storage, record: RoundRecord) -> Table:
    """The scored table of a published round."""
    parts = {role: stored_stage(storage, reference).parts for role, reference in record.roles.items()}
    calibration, settings = parts.pop("calibrate", ()), stored_settings(record)
    written = [part.only("docs.parquet") for part in parts.pop("written", ())]  # written documents are partitions after the corpus' own
    parts["documents"] = (*parts["documents"], *written)
    parts["document_vectors"] = (*parts["document_vectors"], *parts.pop("written_vectors", ()))
    return Table(
        calibration=calibration,
        planted=int(record.settings["planted_pairs"]),
        candidate_set_id=record.candidate_set_id,
        sources=record.settings["sources"],
        depths=dict(record.settings["depths"]),
        labels=settings.dataset,
        measuring=Measuring.of(settings, recorded_truth(record.settings)),
        chunk=settings.chunk,
        **parts,
    )


def stored_facts(record: RoundRecord, num_negatives: int | None = None) -> Facts:
    """What recipes may depend on, of a round that is there."""
    return Facts(num_negatives or int(record.settings["num_negatives"]), **record.settings["facts"])


def stored_settings(record: RoundRecord) -> MineSettings:
    """The settings that a round was mined with."""
    extra = ("depths", "sources", "facts", "teacher_facts", "planted_pairs", "partial", "written", RECORDED)
    return MineSettings.model_validate({name: value for name, value in record.settings.items() if name not in extra})


def recipe_of(record: RoundRecord, wanted: str | dict[str, Any] | None) -> Recipe:
    """A recipe for a round that is there; none is named: that of the round's last selection.

    Raises:
        UsageError: there is no such recipe.
    """
    return compose_recipe(wanted, stored_facts(record)) if wanted is not None else Recipe.model_validate(record.selection().recipe_settings)


def stored_stage(storage: Storage, reference: StageRef) -> StageManifest:
    """A published stage's manifest.

    Raises:
        StorageError: its files are gone.
    """
    manifest = read_stage(storage, reference.stage, reference.key)
    if manifest is None:
        raise StorageError(f"{storage.root}: files of stage {reference.stage} are gone", "mine the round again: what is there is reused")
    return manifest


def review_verdict(storage: Storage, record: RoundRecord) -> str | None:
    """Whether the teacher can tell relevant from not, by the round's review: of several, by the one with most answers of use.

    Returns:
        ``can tell`` or ``cannot tell``; none where no review calibrates the teacher.
    """
    found: list[tuple[int, str]] = []
    for selection in record.selections:
        if selection.measures is not None:
            fit = stored_stage(storage, selection.measures).parts[0].meta.get("calibration") or {}
            if fit.get("verdict", "unknown") != "unknown":
                found.append((int(fit["pairs"]), str(fit["verdict"])))
    return max(found)[1] if found else None


def measured(storage: Storage, selection: SelectionRecord, name: str) -> pa.Table | None:
    """A file of the selection's stage ``measure``, where it was measured."""
    if selection.measures is None:
        return None
    return read_table(storage, stored_stage(storage, selection.measures).parts[0].file(name))


def as_published(storage: Storage, record: RoundRecord, result: SelectionResult) -> SelectionResult:
    """A selection's result with the measures that the record has for it: those with its reviews, where it has some."""
    measures = record.selection(result.selection_id).measures
    if measures is None:
        return result
    return result.model_copy(update={"measures": dict(stored_stage(storage, measures).parts[0].meta)})
