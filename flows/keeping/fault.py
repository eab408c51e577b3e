"""One thing that is not as it was written."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

Kind = Literal["missing", "damaged"]


class Fault(BaseModel):
    """One file that is not as it was written: what is wrong, which record names it, and what becomes of it."""

    name: str
    kind: Kind
    named_by: str = ""
    mend: str = ""
