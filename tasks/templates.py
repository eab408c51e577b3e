"""Title templates: how a document's title and text become one string, for models and for training files alike."""

from __future__ import annotations

import string
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator


def check_template(value: str) -> str:
    """A template itself.

    Raises:
        ValueError: it has another field than {title} and {text}, formats one of them, or lacks {text}.
    """
    try:
        fields = [(name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(value) if name is not None]
    except ValueError as error:
        raise ValueError(f"is not a template: {error}") from None
    if ("text", "", None) not in fields or any(field not in (("text", "", None), ("title", "", None)) for field in fields):
        raise ValueError("takes {title} and {text} only, and needs {text}")
    return value


Template = Annotated[str, AfterValidator(check_template)]


def templated(documents: pa.Table, template: str) -> pa.Array:
    """Title and text by a template; the text alone where there is no title.

    >>> table = pa.table({"title": ["T", "", None], "text": ["a", "b", "c"]})
    >>> templated(table, "{title}: {text}").to_pylist()
    ['T: a', 'b', 'c']
    """
    title, text = pc.fill_null(documents["title"], ""), pc.fill_null(documents["text"], "")
    pieces: list[pa.ChunkedArray | str] = []
    for literal, name, _, _ in string.Formatter().parse(template):
        pieces += [literal] if literal else []
        pieces += [{"title": title, "text": text}[name]] if name else []
    whole = pc.binary_join_element_wise(*pieces, "")
    values = pc.if_else(pc.equal(title, ""), text, whole)
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def document_inputs(template: str, documents: pa.Table) -> list[str]:
    """:func:`templated` as a list: what a model is given of each document."""
    inputs: list[str] = templated(documents, template).to_pylist()
    return inputs
