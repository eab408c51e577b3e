"""The forms of answers that prompts may be exported for, by name."""

from __future__ import annotations

from pydantic import BaseModel

from tasks.judge.questions import Verdict
from tasks.write.negatives import Drafts
from tasks.write.queries import Queries

FORMS: dict[str, type[BaseModel]] = {form.__name__: form for form in (Verdict, Drafts, Queries)}
