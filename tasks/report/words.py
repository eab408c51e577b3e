"""Numbers and texts as a report prints them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from markupsafe import Markup, escape

SPACE = "\N{NO-BREAK SPACE}"
NOTHING = "–"
SHORT = 280  # characters of a text that are shown at once
LONGEST = 20_000  # characters of a text that the file holds

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_WHITE = re.compile(r"\s+")
_SIZES = ("B", "kB", "MB", "GB", "TB")


def clean(text: str) -> str:
    r"""A text that HTML and XML can hold: control characters and lone surrogates become U+FFFD.

    >>> clean("a\x00b\r\n")
    'a�b\n'
    """
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n").replace("\r", "\n"))


def line(text: str, length: int = SHORT) -> str:
    """A text on one line, cut at a word where that does not lose much.

    >>> line("one  two three", 9)
    'one two …'
    """
    flat = _WHITE.sub(" ", clean(text[:LONGEST])).strip()
    if len(flat) <= length:
        return flat
    cut = flat[: length - 1]
    at_word = cut.rfind(" ") + 1
    return (cut[:at_word] if at_word > length * 2 // 3 else cut) + "…"


def whole(text: str) -> str:
    """The full text, up to :data:`LONGEST` characters, with a word on what is missing."""
    if len(text) <= LONGEST:
        return clean(text).strip()
    return f"{clean(text[:LONGEST]).rstrip()} … ({len(text) - LONGEST:,} more characters are not in this file)"


def count(value: float | None) -> str:
    """A whole number.

    >>> count(12345)
    '12,345'
    """
    return NOTHING if value is None else f"{value:,.0f}"


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many digits.

    >>> number(-0.5)
    '−0.500'
    """
    if value is None:
        return NOTHING
    text = f"{value:,.{digits}f}" if abs(value) < 1e6 else f"{value:.3g}"
    return text.replace("-", "−")


def percent(share: float | None) -> str:
    r"""A share; small ones get a second digit.

    >>> percent(0.041), percent(0.0004), percent(0.0)
    ('4.1\xa0%', '0.04\xa0%', '0.0\xa0%')
    """
    return NOTHING if share is None else f"{_hundredths(share)}{SPACE}%"


def interval(low: float | None, high: float | None, share: bool = True) -> str:
    r"""The ends of an interval, or nothing.

    >>> interval(0.03, 0.052)
    '3.0\xa0–\xa05.2'
    """
    if low is None or high is None:
        return ""
    first, second = (_hundredths(low), _hundredths(high)) if share else (number(low), number(high))
    return f"{first} – {second}".replace(" ", SPACE)


def seconds(value: float) -> str:
    r"""A time.

    >>> seconds(0.42), seconds(75), seconds(8000)
    ('0.4\xa0s', '1\xa0min\xa015\xa0s', '2\xa0h\xa013\xa0min')
    """
    if round(value) < 60:
        return f"{value:.1f}{SPACE}s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}{SPACE}min{SPACE}{rest}{SPACE}s"
    return f"{minutes // 60}{SPACE}h{SPACE}{minutes % 60}{SPACE}min"


def size(value: float) -> str:
    r"""Bytes.

    >>> size(0), size(1536), size(2.5e9)
    ('0\xa0B', '1.5\xa0kB', '2.5\xa0GB')
    """
    place = 0
    while value >= 1000 and place < len(_SIZES) - 1:
        value, place = value / 1000, place + 1
    return f"{value:.1f}{SPACE}{_SIZES[place]}" if place else f"{value:.0f}{SPACE}B"


def date(text: str) -> str:
    """ISO 8601 as a date in UTC; other texts as they are.

    >>> date("2026-03-01T10:20:30+00:00"), date("yesterday")
    ('2026-03-01 10:20 UTC', 'yesterday')
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return line(text, 60)
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at.tzinfo else f"{at:%Y-%m-%d %H:%M}"


def spaced(name: str) -> str:
    """A name as words.

    >>> spaced("teacher_ceiling")
    'teacher ceiling'
    """
    return name.replace("_", " ")


def marked(text: str) -> Markup:
    """A text with what stands between backticks as code; all else is escaped.

    >>> marked("run `a < b`")
    Markup('run <code>a &lt; b</code>')
    """
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return escape(text)
    return Markup("").join(Markup("<code>%s</code>") % piece if at % 2 else escape(piece) for at, piece in enumerate(pieces))


def _hundredths(share: float) -> str:
    per_cent = 100 * share
    digits = 2 if 0 < abs(per_cent) < 0.1 else 1
    return f"{per_cent:.{digits}f}".replace("-", "−")
