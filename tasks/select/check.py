"""Whether a recipe's SQL fits the table: found before anything runs, told in the recipe's own terms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import pyarrow as pa

from tasks.errors import UsageError, nearest
from tasks.schema import OPTIONAL_FEATURES
from tasks.select.compose import uniform_column
from tasks.select.recipe import Recipe
from tasks.select.rules.free import Where
from tasks.sql import quote_identifier
from tasks.sql import run as run_sql

_UNKNOWN = re.compile(r'column "?([^"\s]+)"? not found', re.IGNORECASE)


@dataclass(frozen=True)
class Expression:
    """A piece of a recipe's SQL.

    Args:
        place: rule or draw, and field.
        sql: a select list that evaluates it.
        order: an ORDER BY list that does.
    """

    place: str
    sql: str = "1"
    order: str = "1"

    def query(self) -> str:
        """A query over ``base`` that evaluates this."""
        return f"SELECT {self.sql} FROM base ORDER BY {self.order}"


def expressions(recipe: Recipe) -> list[Expression]:
    """Everything that a recipe compares, in the order of its settings."""
    found = [Expression("rank_by", quote_identifier(recipe.rank_by))]
    if recipe.pseudo_positives is not None:
        found.append(Expression("pseudo_positives, score", quote_identifier(recipe.pseudo_positives.score)))
    for rule in recipe.rules:
        found.append(Expression(f"rule {rule.name!r}" + (", predicate" if isinstance(rule, Where) else ""), rule.sql()))
    found += [Expression(f"limits, {name}", quote_identifier(name)) for name in recipe.limits.columns()]
    if recipe.row_order.kind == "clustered":
        found.append(Expression("row_order", "query_cluster"))
    for draw in recipe.draws:
        place = f"draw {draw.name!r}" + (f" of stage {draw.stage!r}" if draw.stage != "main" else "")
        if draw.pool:
            found.append(Expression(f"{place}, pool", f"coalesce(({draw.pool}), false)"))
        if draw.weight_by:
            found.append(Expression(f"{place}, weight_by", f"({draw.weight_by})::FLOAT"))
        field = "log_weight" if getattr(draw.order, "log_weight", None) else f"order {draw.order.kind}"
        found.append(Expression(f"{place}, {field}", order=draw.order.sql(quote_identifier(uniform_column(draw)))))
    return found


def check(recipe: Recipe, schema: pa.Schema) -> None:
    """Refuse a recipe whose SQL does not fit the columns.

    Args:
        recipe: the recipe.
        schema: of the scored table with its features. Columns that a selection adds itself need not be there.

    Raises:
        UsageError: which expression of which rule or draw, what is wrong, the nearest name, and the columns there are.
    """
    added = [pa.field("_group", pa.int64()), pa.field("_place", pa.int64()), pa.field("_open", pa.bool_())]
    added += [pa.field("anchor", pa.string()), pa.field("survivor_rank", pa.int32()), pa.field("eligible", pa.bool_())]
    added += [pa.field("reasons", pa.list_(pa.string()))]
    for source in recipe.needs.sources:  # a truncated round may lack some
        added += [pa.field(f"{source}_rank", pa.int32()), pa.field(f"{source}_score", pa.float32())]
    added += [pa.field(uniform_column(draw), pa.float64()) for draw in recipe.draws]
    if recipe.per_positive:
        added += [pa.field(f"own_{field.name}", field.type) for field in schema]
    known = {*schema.names}
    base = pa.schema([*schema, *(field for field in added if field.name not in known)]).empty_table()
    found = expressions(recipe)
    lists = ", ".join(f"({expression.sql})" for expression in found)
    try:
        run_sql(f"SELECT {lists} FROM base ORDER BY {', '.join(expression.order for expression in found)}", {"base": base})
    except UsageError as error:
        blame(recipe, found, base, schema.names, error)


def blame(recipe: Recipe, found: Sequence[Expression], base: pa.Table, columns: Sequence[str], error: UsageError) -> NoReturn:
    """Say which expression fails.

    Args:
        recipe: the recipe.
        found: the expressions that may be to blame.
        base: what they are evaluated over.
        columns: those that a user may name.
        error: the failure of all together.

    Raises:
        UsageError: always.
    """
    place = ""
    for expression in found:
        try:
            run_sql(expression.query(), {"base": base})
        except UsageError as own:
            place, error = f"{expression.place}: ", own
            break
    unknown = _UNKNOWN.search(error.message)
    mend = f"the columns there are: {', '.join(sorted(columns))}"
    if unknown is not None:
        name = unknown.group(1)
        stage = next((stage for stage, given in OPTIONAL_FEATURES.items() if name in dict(given)), None)
        close = nearest(name, columns)
        mend = (f"feature {stage!r} gives it and was not computed; " if stage else f"{close} " if "mean" in close else "") + mend
    told = error.message.removeprefix("SQL: ").partition(" Candidate bindings")[0]
    raise UsageError(f"recipe {recipe.name!r}: {place}{told}", mend) from error
