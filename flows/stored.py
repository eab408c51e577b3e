"""What is already mined: reading a published round back, selecting from it anew, exporting its training files."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from flows.mine import reapply_reviews, shard_settings
from flows.results import MineResult
from flows.selection import Selected, Table, check_depth, run_selection
from flows.settings import MineSettings
from tasks.audit.build import build_audit
from tasks.audit.explain import QueryStory, show_query
from tasks.audit.records import RoundRecord, SelectionRecord, StageRef, publish_round, read_round
from tasks.errors import StorageError, UsageError
from tasks.runner.runner import Context
from tasks.select.recipe import Facts, Recipe
from tasks.select.registry import compose_recipe
from tasks.shards.task import shards
from tasks.store.manifest import StageManifest, read_stage
from tasks.store.storage import Storage, open_storage
from tasks.store.tables import local_file, read_table


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


def select_again(
    context: Context, record: RoundRecord, wanted: str | dict[str, Any], num_negatives: int | None, formats: Sequence[str], truncate: bool
) -> tuple[RoundRecord, Selected]:
    """Another recipe over a round. No model runs; the round gets one more selection.

    Raises:
        UsageError: the round is shallower than the recipe needs, and ``truncate`` is not set.
        GateError: the selection fails the release gate.
    """
    table = stored_table(context.storage, record)
    settings = stored_settings(record)
    facts = stored_facts(record, num_negatives)
    recipe = compose_recipe(wanted, facts)
    if not truncate:
        check_depth(table, recipe)
    check_features(record, recipe)
    selected = run_selection(context, table, recipe, formats or settings.formats, shard_settings(settings, recipe), settings.seed)
    references = tuple(StageRef(stage=manifest.stage, key=manifest.key) for manifest in selected.stages)
    update = {"selections": (selected.record,), "selection_id": selected.record.selection_id, "stages": references}
    published = publish_round(context.storage, record.model_copy(update=update), add_only=True)
    reapply_reviews(context, published)
    build_audit(context.storage)
    return published, selected


def check_features(record: RoundRecord, recipe: Recipe) -> None:
    """Refuse a recipe whose rules compare features that the round was mined without.

    Raises:
        UsageError: which rule, and how to have its feature.
    """
    if record.settings.get("fixed_encoder") is None and any(rule.kind == "near_duplicate_cosine" for rule in recipe.rules):
        raise UsageError(
            f"recipe {recipe.name!r}: rule near_duplicate_cosine needs a fixed encoder, which this round was mined without",
            "mine again with fixed_encoder: {path: …} (other models do not run again), or leave the rule out",
        )


def export_round(context: Context, record: RoundRecord, selection: SelectionRecord, format_name: str, target: Path) -> list[Path]:
    """Write one format of one selection into a folder of the user's.

    Returns:
        The files: training files first, then their sidecars under ``sidecar/``.

    Raises:
        UsageError: the folder holds files already.
    """
    if target.exists() and any(target.iterdir()):
        raise UsageError(f"{target}: the folder is not empty", "give a new folder with --out")
    table, settings = stored_table(context.storage, record), stored_settings(record)
    recipe = compose_recipe(selection.recipe_settings, Facts(settings.num_negatives, 1))
    decided = stored_stage(context.storage, selection.select)
    manifest, _ = shards(
        context,
        format_name,
        selection.selection_id,
        decided.parts,
        table.scored,
        table.queries,
        table.documents,
        shard_settings(settings, recipe),
    )
    written = []
    for file in sorted((file for part in manifest.parts for file in part.files), key=lambda file: file.path):
        name = file.name.removeprefix("data/")
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(local_file(context.storage, file), place)
        written.append(place)
    return sorted(written, key=lambda place: ("sidecar" in place.parent.name, place))


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
    calibration = parts.pop("calibrate", ())
    return Table(
        calibration=calibration,
        planted=int(record.settings["planted_pairs"]),
        candidate_set_id=record.candidate_set_id,
        sources=record.settings["sources"],
        depths=dict(record.settings["depths"]),
        **parts,
    )


def stored_facts(record: RoundRecord, num_negatives: int | None = None) -> Facts:
    """What recipes may depend on, of a round that is there."""
    return Facts(num_negatives or int(record.settings["num_negatives"]), **record.settings["facts"])


def stored_settings(record: RoundRecord) -> MineSettings:
    """The settings that a round was mined with."""
    extra = ("depths", "sources", "facts", "teacher_facts", "planted_pairs")
    return MineSettings.model_validate({name: value for name, value in record.settings.items() if name not in extra})


def stored_stage(storage: Storage, reference: StageRef) -> StageManifest:
    """A published stage's manifest.

    Raises:
        StorageError: its files are gone.
    """
    manifest = read_stage(storage, reference.stage, reference.key)
    if manifest is None:
        raise StorageError(f"{storage.root}: files of stage {reference.stage} are gone", "mine the round again: what is there is reused")
    return manifest


def measured(storage: Storage, selection: SelectionRecord, name: str) -> pa.Table | None:
    """A file of the selection's stage ``measure``, where it was measured."""
    if selection.measures is None:
        return None
    return read_table(storage, stored_stage(storage, selection.measures).parts[0].file(name))
