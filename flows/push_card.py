"""The card of a pushed dataset: what was mined and how, what is known of its false negatives, whose texts they are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from flows.rates import rate, shown
from tasks.audit.records import RoundRecord, SelectionRecord
from tasks.errors import UsageError

_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_LANGUAGE = re.compile(r"[a-z]{2,3}|code|multilingual")
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
)


@dataclass(frozen=True)
class Licence:
    """Of the texts, which only who publishes them knows.

    Args:
        name: as the hub calls it, as ``cc-by-4.0``; ``other``: by title and link.
        title: of another licence.
        link: to its text.

    Raises:
        UsageError: the hub would not take it.
    """

    name: str
    title: str | None = None
    link: str | None = None

    def __post_init__(self) -> None:
        if not _LICENCE.fullmatch(self.name):
            raise UsageError(
                f"--license {self.name!r}: the hub's names are in lower case, as in apache-2.0 or cc-by-sa-4.0",
                "take one of them, or other with --license-name and --license-link",
            )
        if self.name == "other" and not (self.title and self.link):
            raise UsageError("--license other says nothing by itself", "add --license-name and --license-link")
        if self.name != "other" and (self.title or self.link):
            raise UsageError(f"--license-name and --license-link go with --license other, not with {self.name!r}", "leave them out")


def check_languages(languages: Sequence[str]) -> None:
    """Refuse what is no code of a language.

    Raises:
        UsageError: which one.
    """
    wrong = next((one for one in languages if not _LANGUAGE.fullmatch(one)), None)
    if wrong is not None:
        raise UsageError(f"--language {wrong!r} is no ISO 639 code", "as in --language en --language de, or multilingual")


def metadata(rows: int, licence: Licence, languages: Sequence[str], configs: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """The fields of the card's head, as ``huggingface_hub.DatasetCardData`` takes them; ``rows``: of the first format."""
    given: dict[str, Any] = {
        "pretty_name": name,
        "license": licence.name,
        "license_name": licence.title,
        "license_link": licence.link,
        "language": list(languages) or None,
        "annotations_creators": ["machine-generated"],
        "task_categories": ["text-retrieval", "sentence-similarity"],
        "size_categories": [next((size for limit, size in _SIZES if rows < limit), "n>1B")],
        "tags": ["hard-negatives", "hardmine"],
        "configs": [dict(one) for one in configs],
    }
    return {field: value for field, value in given.items() if value is not None}


def body(record: RoundRecord, selection: SelectionRecord, measures: Mapping[str, Any], licence: Licence, rows: Mapping[str, int]) -> str:
    """The card's text below its head: Markdown.

    Args:
        record: the round.
        selection: what is pushed of it.
        measures: of the selection; empty: it was not measured.
        licence: of the texts.
        rows: by format.
    """
    settings = record.settings
    lines = [
        f"# Hard negatives: {record.dataset}, round {record.number}",
        "",
        "Mined by Hardmine: for each query its labelled documents, and documents that a retriever ranks near them, without those that are",
        "probably relevant.",
        "",
        "| | |",
        "|---|---|",
        f"| round | {record.dataset}/{record.number}, published {record.created} |",
        f"| recipe | {selection.recipe}, {selection.num_negatives} negatives a query |",
        f"| selection | `{selection.selection_id}` of candidates `{record.candidate_set_id}` |",
        f"| retriever | {_loaded(settings.get('model'))} |",
        *([f"| encoder of documents | {_loaded(settings['document_model'])} |"] if settings.get("document_model") else []),
        f"| teacher | {_teacher(settings.get('teacher'))} |",
        f"| release gate | {'passed' if selection.gate.get('passed') else 'not passed'} |",
        *(f"| rows of `{name}` | {count:,} |" for name, count in rows.items()),
        "",
        "## False negatives",
        "",
        *_rates(measures),
        "",
        "## Recipe",
        "",
        "```json",
        json.dumps(selection.recipe_settings, indent=1, sort_keys=True, ensure_ascii=False),
        "```",
        "",
        "## Licence",
        "",
        f"The texts are under {_licence(licence)}, as who published them here says. Hardmine adds no rights of its own to them.",
        "",
        "## Use",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        f'train = load_dataset("OWNER/NAME", "{next(iter(rows))}", split="train")',
        "```",
        "",
        "Beside each file of rows, aligned with it, a table in `sidecar/` has ids, scores, labels, weights, and `suspected_ids`:",
        "documents that were rejected as probably relevant, to be masked in a batch.",
        "",
    ]
    return "\n".join(lines)


def named(path: str | None) -> str:
    """A model as a stranger may read it: a folder by its last name alone.

    >>> named("/home/me/models/retriever"), named("BAAI/bge-small-en"), named(None)
    ('`retriever`', '`BAAI/bge-small-en`', 'none')
    """
    if not path:
        return "none"
    pure = PurePath(path)
    return f"`{pure.name if pure.is_absolute() or path.startswith(('.', '~')) else path}`"


def _loaded(settings: Mapping[str, Any] | None) -> str:
    """A model with its adapter."""
    settings = settings or {}
    return named(settings.get("path")) + (f" with adapter {named(settings['adapter'])}" if settings.get("adapter") else "")


def _teacher(settings: Mapping[str, Any] | None) -> str:
    """All that scored: of an ensemble each teacher."""
    if not settings:
        return "none"
    first = f"trained in the run, from {named(settings['train']['body'])}" if settings.get("train") else _loaded(settings)
    others = [_loaded(one) for one in settings.get("ensemble") or ()]
    return f"the mean of {', '.join([first, *others])}" if others else first


def _rates(measures: Mapping[str, Any]) -> list[str]:
    known = shown(measures)
    if not known:
        return ["No estimate: the selection was not measured."]
    lines = ["Each estimator by its own name, with its interval and the pairs that it looked at.", "", "| estimate | |", "|---|---|"]
    return [*lines, *(f"| {words} | {rate(measures, name)} |" for name, words in known.items())]


def _licence(licence: Licence) -> str:
    return f"[{licence.title}]({licence.link})" if licence.name == "other" else f"`{licence.name}`"
