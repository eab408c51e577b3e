"""The reference pages in docs/, written from the code: ``python -m flows.reference`` (``make docs``). A test compares them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flows.many_settings import Member, Prompts
from flows.settings import MineSettings
from tasks.evaluate.settings import EvaluateSettings
from tasks.mixture.settings import MixtureSettings
from tasks.models.losses.registry import LOSSES
from tasks.models.train_settings import TrainSettings
from tasks.select.draws import Binned, Draw, Least, Random, Top, Weighted
from tasks.select.recipe import Facts, Recipe
from tasks.select.registry import compose_recipe, recipe_class, recipe_names
from tasks.select.rules.registry import RULES
from tasks.write.queries import QueryWriteSettings
from tasks.write.settings import WriteSettings

DOCS = Path(__file__).parents[1] / "docs"


def settings_page() -> str:
    """docs/settings.md: every setting of run.yaml."""
    lines = ["# run.yaml", "", "Written from the code by `make docs`. Unknown keys are refused with the nearest valid name."]
    for title, model in _sections("", MineSettings):
        lines += ["", f"## {title or 'top level'}", "", *_first_paragraph(model), "", *_table(model)]
    lines += ["", "# Several datasets", "", "`datasets` in the place of `dataset`, and beside all of the above:"]
    for title, model in (("datasets", Member), ("prompts", Prompts), ("mixture", MixtureSettings)):
        lines += ["", f"## {title}", "", *_first_paragraph(model), "", *_table(model)]
    return "\n".join(lines) + "\n"


def recipes_page() -> str:
    """docs/recipes.md: published recipes, rules and draws."""
    lines = ["# Recipes", "", "Written from the code by `make docs`. `hardmine recipes NAME` also shows the SQL that a recipe composes."]
    for name in recipe_names():
        recipe = recipe_class(name)
        lines += [
            "",
            f"## {name}",
            "",
            inspect.getdoc(recipe) or "",
            "",
            f"Source: {recipe.paper}. Read in: {recipe.certainty}.",
            "",
            _lazy(name),
            "",
        ]
        lines += _table(recipe, leave_out=("name",))
    lines += ["", "# A recipe of your own", "", "A mapping with `rules` or `draws` of its own.", "", *_table(Recipe)]
    lines += ["", "## Rules", "", "All are evaluated for every candidate; the first that applies is the decision's `reason`."]
    for rule in RULES:
        lines += ["", f"### {rule.model_fields['kind'].default}", "", inspect.getdoc(rule) or "", "", *_table(rule, leave_out=("kind",))]
    lines += ["", "## Draws", "", inspect.getdoc(Draw) or "", "", *_table(Draw)]
    for order in (Top, Least, Random, Weighted, Binned):
        lines += ["", f"### order: {order.model_fields['kind'].default}", "", inspect.getdoc(order) or "", ""]
        lines += _table(order, leave_out=("kind",))
    return "\n".join(lines).rstrip() + "\n"


def _lazy(name: str) -> str:
    """Whether a teacher may stop early for a recipe as it is by default."""
    reason = compose_recipe(name, Facts(num_negatives=5, max_positives=1)).needs_all_scores
    return f"With `teacher.lazy`, by default: no, {reason}." if reason else "With `teacher.lazy`, by default: yes."


def training_page() -> str:
    """docs/training.md: settings of training and evaluating, and all losses."""
    example = "`hardmine train ROUND --set epochs=2 --set loss.kind=margin_mse`"
    lines = ["# Training and evaluating", "", f"Written from the code by `make docs`. Any setting by `--set`: {example}."]
    lines += ["", "## Settings", "", *_table(TrainSettings), "", "## Evaluating", "", *_table(EvaluateSettings), "", "# Losses"]
    for kind, entry in LOSSES.items():
        lines += ["", f"## {kind}", "", inspect.getdoc(entry.settings) or "", "", *_table(entry.settings, leave_out=("kind",))]
    return "\n".join(lines) + "\n"


def writing_page() -> str:
    """docs/writing.md: settings of write.yaml and queries.yaml."""
    lines = ["# write.yaml and queries.yaml", "", "Written from the code by `make docs`. What they are for: [judges.md](judges.md)."]
    for file, settings in (("write.yaml", WriteSettings), ("queries.yaml", QueryWriteSettings)):
        for title, model in _sections("", settings):
            lines += ["", f"## {file}{': ' + title if title else ''}", "", *_first_paragraph(model), "", *_table(model)]
    return "\n".join(lines) + "\n"


PAGES = {"settings.md": settings_page, "recipes.md": recipes_page, "training.md": training_page, "writing.md": writing_page}


def _sections(title: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    yield title, model
    for name, field in model.model_fields.items():
        inner = _inner(field)
        if inner is not None:
            yield from _sections(f"{title}.{name}" if title else name, inner)


def _inner(field: FieldInfo) -> type[BaseModel] | None:
    options = [field.annotation, *get_args(field.annotation)]
    return next((option for option in options if inspect.isclass(option) and issubclass(option, BaseModel)), None)


def _first_paragraph(model: type[BaseModel]) -> list[str]:
    return (inspect.getdoc(model) or "").split("\n\n")[0].splitlines()


def _table(model: type[BaseModel], leave_out: tuple[str, ...] = ()) -> list[str]:
    fields = {name: field for name, field in model.model_fields.items() if name not in leave_out}
    if not fields:
        return ["No settings."]
    rows = [f"| `{name}` | {_default(field)} | {_cell(field.description or '')} |" for name, field in fields.items()]
    return ["| setting | default | meaning |", "|---|---|---|", *rows]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value: Any = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "as below"
    if isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value):
        return "one plain draw"
    shown = "" if value in (None, "", ()) else str(list(value)) if isinstance(value, tuple) else str(value)
    return f"`{_cell(shown)}`" if shown else "none"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    """Write all pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
