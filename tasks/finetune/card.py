"""The model card: what a checkpoint was trained on, and how. Equal trainings have equal cards."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_HEAD = """---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags:
- sentence-transformers
- feature-extraction
- hard-negatives
- hardmine
---

# Retriever trained on mined negatives

Trained by Hardmine from the base model with weights `{base}`.
"""

_BASE = "behind the base: "
_USE = re.compile(r"^\| (?P<round>[\w-]+/\d+) \| (?P<recipe>[^|]*) \| `(?P<selection_id>\w+)` \| (?P<use>[^|]+) \|$", re.MULTILINE)


def card(keyed: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Markdown with a YAML head.

    Args:
        keyed: the job's settings: rounds, behind, training, base, prompts, dtype, device.
        facts: samples, steps, losses and the rest of the stage's meta, without times.
    """
    training = keyed["training"]
    lines = [_HEAD.format(base=keyed["base"])]
    lines += ["## Training data", "", "| round | recipe | selection | use |", "|---|---|---|---|"]
    for number, each in enumerate(keyed["rounds"]):
        is_earlier = number > 0 and "mixture" not in keyed
        use = f"{facts['earlier_rows']:,} rows' negatives, with the other earlier rounds" if is_earlier else "trained on"
        lines.append(f"| {each['round']} | {each['recipe']} | `{each['selection_id']}` | {use} |")
    lines += [f"| {each['round']} | {each['recipe']} | `{each['selection_id']}` | {_of_base(each['use'])} |" for each in keyed["behind"]]
    lines += [
        "",
        f"{facts['samples']:,} rows of {facts['queries']:,} queries (split train only) with {facts['negatives']:,} negatives, "
        f"{facts['random_negatives']:,} of them random documents. Masked in a batch: {facts['known_positives']:,} known positives, "
        f"{facts['suspected']:,} pairs rejected as likely relevant.",
    ]
    if facts["left_out"]:
        lines.append("Queries left out, by split: " + ", ".join(f"{name} {count:,}" for name, count in facts["left_out"].items()) + ".")
    lines += ["", "## Training", "", f"Loss: `{training['loss']['kind']}`; {facts['steps']:,} steps.{_loss_line(facts)}", ""]
    shown = {
        **training,
        **{
            name: keyed[name]
            for name in ("dtype", "device", "query_prompt", "document_prompt", "title_template", "prompts")
            if name in keyed
        },
    }
    lines += ["```json", json.dumps(shown, indent=1, sort_keys=True, ensure_ascii=False), "```", ""]
    lines += ["## Use", "", "```python", "from sentence_transformers import SentenceTransformer", ""]
    lines += ['model = SentenceTransformer("this folder")', "```", ""]
    return "\n".join(lines)


def uses(text: str) -> list[dict[str, str]]:
    """What a card that this module wrote says its model was trained on, rounds behind its own base too; of any other card nothing.

    >>> uses("| d/1 | top | `s1` | trained on |")
    [{'round': 'd/1', 'recipe': 'top', 'selection_id': 's1', 'use': 'trained on'}]
    """
    return [found.groupdict() for found in _USE.finditer(text)]


def _of_base(use: str) -> str:
    return use if use.startswith(_BASE) else f"{_BASE}{use}"


def _loss_line(facts: Mapping[str, Any]) -> str:
    losses = facts["losses"]
    return f" Mean loss: {losses[0][1]:.4f} at the start, {losses[-1][1]:.4f} at the end." if losses else ""
