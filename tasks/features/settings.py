"""How documents are compared by their words."""

from __future__ import annotations

from pydantic import Field

from tasks.settings import Settings


class SignatureSettings(Settings):
    """MinHash signatures of word shingles."""

    shingle: int = Field(3, ge=1, le=16, description="words in a shingle; a shorter text is one shingle of all its words")
