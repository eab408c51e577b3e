"""Another recipe over a round that is there, and its training files anew. No model runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from flows.checks import check_new_folder
from flows.results import CostRecorder
from flows.review import apply_reviews
from flows.selection import Selected, check_depth, check_features, run_selection, shard_settings
from flows.stored import as_published, stored_facts, stored_settings, stored_stage, stored_table
from tasks.audit.build import build_audit
from tasks.audit.records import RoundRecord, SelectionRecord, publish_round
from tasks.errors import UsageError, nearest
from tasks.runner.runner import Context
from tasks.select.recipe import Facts
from tasks.select.registry import compose_recipe
from tasks.shards.export import export
from tasks.shards.formats.registry import format_named
from tasks.shards.settings import FlagEmbeddingType
from tasks.shards.task import shards


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


def check_export(format_name: str, target: Path, prompt: str | None, kind: str | None) -> dict[str, Any]:
    """Fail before anything is written if a format cannot be, and say what changes its shards' settings.

    Raises:
        UsageError: there is no such format or type, the format has no such fields, or the folder holds files already.
    """
    wanted = format_named(format_name)
    check_new_folder(target)
    given = {name: value for name, value in (("prompt", prompt), ("type", kind)) if value is not None}
    if given and wanted.name != "flagembedding":
        raise UsageError(f"format {wanted.name!r} has no {next(iter(given))}", "leave it out, or take --format flagembedding")
    known = get_args(FlagEmbeddingType)
    if kind is not None and kind not in known:
        raise UsageError(f"--type {kind}: FlagEmbedding knows no such type", nearest(kind, known))
    return {{"prompt": "query_prompt"}.get(name, name): value for name, value in given.items()}


def export_round(
    context: Context,
    record: RoundRecord,
    selection: SelectionRecord,
    format_name: str,
    target: Path,
    changes: Mapping[str, Any] | None = None,
    readme: bool = True,
) -> list[Path]:
    """Write one format of one selection into a folder of the user's.

    Args:
        context: storage, executor, progress.
        record: the round.
        selection: of it.
        format_name: of :data:`tasks.shards.formats.registry.FORMATS`.
        target: a new or empty folder.
        changes: of :class:`tasks.shards.settings.ShardSettings`, from what the round was mined with.
        readme: as :func:`tasks.shards.export.export` has it.

    Returns:
        The files, as :func:`tasks.shards.export.export` lays them out.
    """
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
        shard_settings(settings, recipe).model_copy(update=dict(changes or {})),
    )
    return export(context.storage, manifest.parts, format_named(format_name), target, readme)
