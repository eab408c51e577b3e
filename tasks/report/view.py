"""What the template prints: parts of blocks of figures, tables, cards and text."""

from __future__ import annotations

from dataclasses import dataclass, field

from markupsafe import Markup

from tasks.report.cards import Card
from tasks.report.data import Section
from tasks.report.keys import Key
from tasks.report.tables import Table


@dataclass(frozen=True)
class Figure:
    """A drawing with its legend and words.

    Args:
        svg: the drawing.
        narrow: the same for a small screen; a figure that has one is as wide as the column.
        title: above it.
        keys: its legend.
        caption: under it.
    """

    svg: Markup
    narrow: Markup | None = None
    title: str = ""
    keys: tuple[Key, ...] = ()
    caption: str = ""

    @property
    def wide(self) -> bool:
        """Whether it takes the whole column."""
        return self.narrow is not None


@dataclass(frozen=True)
class Block:
    """A piece of a part; with a ``fold``, that line opens it. Tables stand beside a figure that is not wide, else below."""

    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    cards: tuple[Card, ...] = ()
    text: str = ""
    code: str = ""
    fold: str = ""


@dataclass(frozen=True)
class Part:
    """A section. Without blocks, ``missing`` says why."""

    name: Section
    title: str
    lead: str = ""
    blocks: tuple[Block, ...] = field(default=())
    missing: str = ""
