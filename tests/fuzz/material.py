"""What bad input is made of: ids and texts that break careless readers, lines that are no rows, and spoilt files."""

import json
import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

#: HARDMINE_FUZZ=5000 tries each property so often
MUCH = settings(
    max_examples=int(os.environ.get("HARDMINE_FUZZ", "25")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
FEW = settings(MUCH, max_examples=max(10, MUCH.max_examples // 4))

ODD_IDS = (
    "../../etc/passwd", "/etc/passwd", "..", ".", "C:\\x", "a/b", "a\\b", "~root",
    "%2e%2e%2f", "nul", "-rf",
    "'; DROP TABLE docs; --", '" OR 1=1 --', "$id", "{}", "${HOME}", "$(id)", "`id`", "?", "*", "%s", "%(x)s", "<script>alert(1)</script>",
    "=1+1", "@x", "a,b", 'a"b', "a'b", "a;b", "a|b", "#", "a#b", "#0", "null", "NaN", "true", "0", "-1", "1e9", "00",
    "é", "e\u0301", "İ", "ß",
    "שלום", "\u202eabc", "🧪", "👩‍🔬", "\u200b\u200b", "\ufeffx", "\u2028x", "x\x85y", "x" * 5_000,
)  # fmt: skip
ODD_TEXTS = (
    "", " ", "\t", "\0", "a\0b", "\ud800", "x\udfff", "\ufeff", "\ufffe", "\u202eright to left", "كيف أقرأ هذا", "שלום עולם", "🧪" * 50,
    "👩‍👩‍👧‍👦 family", "a\rb", "a\r\nb", "a\nb", "a\u2028b", "a\x0bb", "<script>alert('x')</script>", "'; DROP TABLE docs; --", "{{ 7*7 }}",
    '"', '""', "'", ",", "\\", "NaN", "null", "[", '["a"', "e\u0301" * 40, "z\u0351\u036b\u0343" * 200, "word " * 20_000, "x" * 100_000,
)  # fmt: skip
NUMBERS = (0, 1, -1, 2**31, 2**63, 2**64, 10**400, -(10**400), 0.5, 1e300, float("nan"), float("inf"), float("-inf"), True, False, None)
ANY = st.text(st.characters(), max_size=30)
odd_ids, odd_texts, numbers = st.sampled_from(ODD_IDS), st.sampled_from(ODD_TEXTS), st.sampled_from(NUMBERS)
#: any value that JSON (as Python writes it) can hold
values = st.recursive(
    odd_ids | odd_texts | numbers | ANY, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY, inner, max_size=3), max_leaves=6
)

#: lines of bytes that are no rows of any format, without a line end in them
BAD_LINES = (
    b"", b" ", b"\0", b"\0\0\0\0", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\xef\xbb\xbf{}", b"\xed\xa0\x80",
    b"\xc0\xaf", b"{", b"}", b"[]", b"[1]", b"1",
    b"null", b"NaN", b'"text"', b"{}", b'{"a"}', b'{"a": }', b"{'a': 1}", b'{"a": NaN}', b'{"a": 1} x', b"[" * 50_000, b'{"a":' * 50_000,
    b'"', b'"a', b'a"b"c', b",", b"," * 200, b"\t", b"\t\t\t\t\t\t\t", b"a b c",
    b"q1 Q0 d1 1 nan t", b"q1 Q0 d1 1 1e999 t", b"q1 Q0 d1 x 0.5",
    b"#", b"---", b"\x1a", b"\x7f", b"PAR1", b"\x1f\x8b\x08", b"9" * 5_000, b"x" * 300_000, b'{"doc_id": "' + b"x" * 300_000,
)  # fmt: skip
bad_lines = st.sampled_from(BAD_LINES) | st.binary(max_size=40).map(lambda line: line.replace(b"\n", b" "))
line_ends = st.sampled_from([b"\n", b"\r\n"])
#: a row of JSON with whatever values
odd_rows = st.dictionaries(
    st.sampled_from(["doc_id", "query_id", "_id", "id", "text", "title", "query", "score", "rank", "relevance",
                     "positive_ids", "group", "split",
                     "anchor", "positive",
                     "negative", "negative_1", "negative_id", "answers", "language", "pair", "label", "note", "reviewer"]),
    values, max_size=5,
).map(lambda row: json.dumps(row).encode())  # fmt: skip


@st.composite
def spoilt(draw, whole):
    """A file's bytes, cut, with bytes changed, put in or doubled."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        what = draw(st.sampled_from(["cut", "change", "insert", "double", "drop"]))
        if what == "cut":
            del data[at:]
        elif what == "change" and data:
            data[at] = draw(st.integers(0, 255))
        elif what == "insert":
            data[at:at] = draw(st.binary(max_size=20))
        elif what == "double":
            data[at:at] = data[at : at + 200]
        elif what == "drop":
            del data[at : at + draw(st.integers(1, 30))]
    return bytes(data)
