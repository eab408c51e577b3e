"""What comes from outside: texts that cannot be stored, and Arrow data whose offsets lie."""

from __future__ import annotations

import pyarrow as pa

_BYTES = ((pa.types.is_string, pa.binary()), (pa.types.is_large_string, pa.large_binary()), (pa.types.is_string_view, pa.binary_view()))
_LISTS = ((pa.types.is_list, pa.list_), (pa.types.is_large_list, pa.large_list))


def repair(text: str) -> str:
    r"""The text itself if it can be stored, else a copy with NULs as spaces and lone surrogates as U+FFFD.

    >>> repair("a\0b\ud800")
    'a b�'
    """
    if "\0" in text:
        text = text.replace("\0", " ")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def checked(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, if every offset in it points into its data; those of a damaged file would have Arrow read memory that is not the file's.

    A text that is not UTF-8 is no damage here.

    Raises:
        pa.ArrowInvalid: some do not.
    """
    for column in batch.columns:
        column.view(_as_bytes(column.type)).validate(full=True)
    return batch


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    """The same layout with bytes for texts, whose encoding is then not looked at."""
    for is_kind, made in _BYTES:
        if is_kind(kind):
            return made
    for is_kind, make in _LISTS:
        if is_kind(kind):
            return make(kind.value_field.with_type(_as_bytes(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_as_bytes(field.type)) for field in kind])
    return kind
