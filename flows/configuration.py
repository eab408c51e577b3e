"""Reading run.yaml: line numbers for errors, overrides from the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from flows.settings import MineSettings
from tasks.errors import UsageError
from tasks.foreign import repair
from tasks.settings import Location, explain

Model = TypeVar("Model", bound=BaseModel)
_MOST_NODES = 100_000


def load_settings(model: type[Model], path: Path, overrides: Sequence[str] = ()) -> Model:
    """Settings from a YAML file.

    Args:
        model: the settings' class.
        path: the file.
        overrides: ``key.sub=value`` strings; the value is YAML.

    Raises:
        UsageError: the file is missing or not YAML, or a setting is wrong; file, line and field are named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file", "give the path of a run.yaml; `hardmine mine --help` shows one") from None
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise UsageError(f"{path}: not a text file ({error})", "give a run.yaml in UTF-8") from error
    values, lines = _parsed(text, str(path), "mend the file's syntax at that line")
    if not isinstance(values, dict):
        raise UsageError(f"{path}: settings must be a mapping of names to values", "start from the example in README.md")
    for override in overrides:
        _override(values, override)
    return validate(model, values, lines, str(path))


def settings_from(model: type[Model], overrides: Sequence[str]) -> Model:
    """Settings from ``--set`` alone.

    Raises:
        UsageError: a setting is wrong.
    """
    values: dict[str, Any] = {}
    for override in overrides:
        _override(values, override)
    return validate(model, values, file="--set")


def load_recipe(text: str, base: Path = Path()) -> str | dict[str, Any]:
    """What ``--recipe`` or run.yaml's ``recipe`` says: a name, settings as YAML, or a YAML file of the user's.

    Args:
        text: as given.
        base: the folder that a file's path starts from.

    Returns:
        A name, or settings; those of a file that names no recipe are named after the file.

    Raises:
        UsageError: the file is missing, or neither text nor YAML.
    """
    if not text.endswith((".yaml", ".yml")):
        value = _recipe_yaml(text, "--recipe")
        return dict(value) if isinstance(value, dict) else str(value)
    path = base / Path(text).expanduser()
    if not path.is_file():
        raise UsageError(f"recipe {path}: there is no such file", "give a recipe's name, its settings as YAML, or a YAML file")
    try:
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"recipe {path}: not a text file ({error})", "save the file as UTF-8") from error
    value = _recipe_yaml(content, str(path))
    if not isinstance(value, dict):
        raise UsageError(f"recipe {path}: settings must be a mapping of names to values", "docs/recipes.md has the settings")
    return {"name": path.stem, **value}


def load_recipe_list(text: str) -> list[str | dict[str, Any]]:
    """``--recipes``: names, settings in braces and YAML files, with commas between.

    Raises:
        UsageError: not YAML, or a file is missing.
    """
    found = _recipe_yaml(f"[{text}]", "--recipes")
    return [dict(one) if isinstance(one, dict) else load_recipe(str(one)) for one in found]


def with_recipe_files(settings: MineSettings, base: Path) -> MineSettings:
    """The same settings, with the recipes that are YAML files read in.

    Raises:
        UsageError: a file is missing, or not YAML.
    """
    read = [load_recipe(one, base) if isinstance(one, str) else one for one in (settings.recipe, *settings.recipes)]
    return settings.model_copy(update={"recipe": read[0], "recipes": tuple(read[1:])})


def _recipe_yaml(text: str, where: str) -> Any:
    return _parsed(text, where, "as in {name: rocketqa, ceiling: 0.05}")[0]


def validate(model: type[Model], values: dict[str, Any], lines: dict[Location, int] | None = None, file: str = "") -> Model:
    """A settings object, or an error in a user's words."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UsageError(*explain(error, lines=lines, file=file)) from error


def _override(values: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    if not equals or not name:
        raise UsageError(f"--set {override}: expected key=value", "as in --set retrieve.dense.top_k=200")
    value = _parsed(text, f"--set {override}", "quote the value")[0]
    *path, last = name.split(".")
    place: Any = values
    for step in path:
        inner = place.get(step)
        place[step] = dict(inner) if isinstance(inner, dict) else ({} if inner is None else {"name": inner} if step == "recipe" else {})
        place = place[step]
    place[last] = value


def _parsed(text: str, where: str, mend: str) -> tuple[Any, dict[Location, int]]:
    """What YAML says, and the line of each key.

    Raises:
        UsageError: it is not YAML, has a value that is not what its form says (2020-13-45), contains itself, or unfolds without end.
    """
    try:
        lines = _lines(yaml.compose(text, Loader=yaml.SafeLoader))
        return yaml.safe_load(text), lines
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or error
        raise UsageError(
            f"{where}:{mark.line + 1}: not valid YAML: {what}" if mark else f"{where}: not valid YAML: {what}", mend
        ) from error
    except RecursionError as error:
        raise UsageError(f"{where}: not valid YAML: nested too deeply, or an alias stands inside what it names", mend) from error
    except (ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:  # what its constructors raise
        raise UsageError(f"{where}: not valid YAML: {error}", mend) from error


def _lines(node: yaml.Node | None, location: Location = (), budget: Iterator[int] | None = None) -> dict[Location, int]:
    """The line of each key, by its path.

    Raises:
        ValueError: a text cannot be stored, or aliases unfold to too much.
    """
    budget = budget or iter(range(_MOST_NODES))
    if next(budget, None) is None:
        raise ValueError(f"aliases unfold to more than {_MOST_NODES:,} values")
    if isinstance(node, yaml.ScalarNode) and repair(node.value) is not node.value:
        raise ValueError(f"line {node.start_mark.line + 1}: a text has a NUL or a lone surrogate")
    found: dict[Location, int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if repair(str(key.value)) != str(key.value):
                raise ValueError(f"line {key.start_mark.line + 1}: a name has a NUL or a lone surrogate")
            here = (*location, str(key.value))
            found[here] = key.start_mark.line + 1
            found |= _lines(value, here, budget)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            here = (*location, number)
            found[here] = value.start_mark.line + 1
            found |= _lines(value, here, budget)
    return found
