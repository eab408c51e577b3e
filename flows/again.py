"""Another recipe over a round that is there, and its training files anew. No model runs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flows.checks import check_new_folder
from flows.results import CostRecorder
from flows.review import apply_reviews
from flows.selection import Selected, check_depth, check_features, run_selection, shard_settings
from flows.stored import as_published, stored_facts, stored_settings, stored_stage, stored_table
from tasks.audit.build import build_audit
from tasks.audit.records import RoundRecord, SelectionRecord, publish_round
from tasks.runner.runner import Context
from tasks.select.recipe import Facts
from tasks.select.registry import compose_recipe
from tasks.shards.task import shards
from tasks.store.tables import local_file


def select_again(
    context: Context, record: RoundRecord, wanted: str | dict[str, Any], num_negatives: int | None, formats: Sequence[str], truncate: bool
) -> tuple[RoundRecord, Selected]:
    """Another recipe over a round. No model runs; the round gets one more selection.

    Raises:
        UsageError: the round is shallower than the recipe needs, and ``truncate`` is not set.
        GateError: the selection fails the release gate.
    """
    costs = CostRecorder(context.progress)
    context = Context(context.storage, context.executor, costs)
    table = stored_table(context.storage, record)
    settings = stored_settings(record)
    facts = stored_facts(record, num_negatives)
    recipe = compose_recipe(wanted, facts)
    if not truncate:
        check_depth(table, recipe)
    check_features(recipe, settings.fixed_encoder is not None)
    selected = run_selection(context, table, recipe, formats or settings.formats, shard_settings(settings, recipe), settings.seed)
    update = {"selections": (selected.record,), "selection_id": selected.record.selection_id, "stages": tuple(costs.references)}
    published = publish_round(context.storage, record.model_copy(update=update), add_only=True)
    published = apply_reviews(context, published)
    build_audit(context.storage)
    result = as_published(context.storage, published, selected.result)
    return published, replace(selected, record=published.selection(result.selection_id), result=result)


def export_round(context: Context, record: RoundRecord, selection: SelectionRecord, format_name: str, target: Path) -> list[Path]:
    """Write one format of one selection into a folder of the user's.

    Returns:
        The files: training files first, then their sidecars under ``sidecar/``.

    Raises:
        UsageError: the folder holds files already.
    """
    check_new_folder(target)
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
