"""Tokenizers, as a training saves them."""

from __future__ import annotations

from typing import Any


def forget_last_batch(tokenizer: Any) -> None:
    """Take back the padding and truncation that the last call set in a fast tokenizer.

    They would be saved with it, and depend on whether this process has tokenised anything: a training that is resumed at
    its last step has not. Each later call sets its own.

    Args:
        tokenizer: of transformers.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_padding()
        backend.no_truncation()
