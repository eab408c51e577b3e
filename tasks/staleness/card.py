"""What a checkpoint's model card says of its training: the steps, and the temperature of its softmax."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_STEPS = re.compile(r"^Loss: `[^`]*`; ([\d,]+) steps\.", re.MULTILINE)
_SETTINGS = re.compile(r"^```json\n(.*?)^```", re.MULTILINE | re.DOTALL)
_NO_SOFTMAX = ("margin_mse", "dual_supervision", "rank_weighted", "live_retrieval", "lexical_margin")


@dataclass(frozen=True)
class CardFacts:
    """Of one training; none: the card does not say.

    Args:
        steps: optimiser steps.
        scale: what similarities were multiplied by before the softmax; none also for losses without one.
    """

    steps: int | None = None
    scale: float | None = None


def card_facts(text: str) -> CardFacts:
    """Read a card that a training of Hardmine's wrote; of any other, nothing is known.

    >>> card_facts("Loss: `x`; 1,234 steps.")
    CardFacts(steps=1234, scale=None)
    """
    steps, settings = _STEPS.search(text), _SETTINGS.search(text)
    if steps is None:
        return CardFacts()
    return CardFacts(int(steps.group(1).replace(",", "")), _scale(settings.group(1)) if settings else None)


def _scale(text: str) -> float | None:
    try:
        loss = json.loads(text)["loss"]
        if loss["kind"] in _NO_SOFTMAX:
            return None
        found = float(loss["scale"]) if "scale" in loss else 1 / float(loss["student_temperature"])
    except (ValueError, KeyError, TypeError, ZeroDivisionError):
        return None
    return found if found > 0 else None
