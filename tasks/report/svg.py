"""A matplotlib figure as inline SVG: the page's fonts and colours, no ids that another figure may have, the same bytes each time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree as ET

from markupsafe import Markup

from tasks.compare.figure import COLOURS, GREY, GRID, INK, inline_figure

VARIABLES = {
    INK: "var(--ink)",
    GREY: "var(--muted)",
    GRID: "var(--grid)",
    "#ffffff": "var(--surface)",
    **{colour: f"var(--s{number})" for number, colour in enumerate(COLOURS)},
}
TIP, CLASS = "tip:", "class:"  # ids that become a <title> and a class

_COLOUR = re.compile(r"#[0-9a-f]{6}")
_FAMILY = re.compile(r"font-family:[^;]*;?\s*")
_FRACTION = re.compile(r"-?\d+\.\d+")
_REFERENCE = re.compile(r"url\(#([^)]*)\)")
_NO_TURN = re.compile(r"^rotate\(-?0 [^)]*\)$")
_ROUNDED = ("d", "x", "y", "width", "height", "transform")


def inline_svg(name: str, size: tuple[float, float], draw: Callable[[Any], None], label: str) -> Markup:
    """Draw one figure for a page.

    Colours of :data:`VARIABLES` become CSS variables and text stays text in the page's font. A group with the id ``tip:…`` shows the rest
    of that id when it is pointed at, and one with the id ``class:…`` gets that class.

    Args:
        name: begins all ids; no other figure of the page may have it.
        size: inches.
        draw: fills an empty ``matplotlib.figure.Figure``.
        label: what the figure shows, for those who cannot see it.
    """
    root = ET.fromstring(inline_figure(size, draw).encode())
    _rewrite(root, name)
    inner = "".join(ET.tostring(child, encoding="unicode").strip() for child in root)
    frame = f'viewBox="{root.attrib["viewBox"]}" role="img" style="--width: {size[0]:g}"'
    return Markup('<svg %s aria-label="%s">%s</svg>') % (Markup(frame), label, Markup(inner))


def _rewrite(root: ET.Element, name: str) -> None:
    used = set(_references(root))
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("style", "metadata"):
                parent.remove(child)
    for element in list(root.iter()):
        element.tag = _local(element.tag)
        element.text, element.tail = (_trim(element.text, element.tag), None)
        attributes = {_local(key): value for key, value in element.attrib.items()}
        own = attributes.pop("id", "")
        element.attrib.clear()
        element.attrib.update({key: _value(key, value, name) for key, value in attributes.items()})
        if _NO_TURN.match(element.attrib.get("transform", "")):
            del element.attrib["transform"]
        _name(element, own, used, name)


def _name(element: ET.Element, own: str, used: set[str], name: str) -> None:
    """Keep an id only where something refers to it."""
    if own.startswith(TIP):
        tip = ET.Element("title")
        tip.text = own.removeprefix(TIP)
        element.insert(0, tip)
        element.set("class", "tip")
    elif own.startswith(CLASS):
        element.set("class", own.removeprefix(CLASS))
    elif own in used:
        element.set("id", f"{name}-{own}")


def _references(root: ET.Element) -> Iterator[str]:
    for element in root.iter():
        for key, value in element.attrib.items():
            if _local(key) == "href":
                yield value.removeprefix("#")
            else:
                yield from _REFERENCE.findall(value)


def _value(key: str, value: str, name: str) -> str:
    if key == "href":
        return f"#{name}-{value.removeprefix('#')}"
    if key == "clip-path":
        return _REFERENCE.sub(rf"url(#{name}-\1)", value)
    if key == "style":
        return _FAMILY.sub("", _COLOUR.sub(lambda found: VARIABLES.get(found.group(), found.group()), value))
    if key in _ROUNDED:
        return _FRACTION.sub(lambda found: f"{float(found.group()):.2f}".rstrip("0").rstrip("."), " ".join(value.split()))
    return value


def _trim(text: str | None, tag: str) -> str | None:
    return text if tag in ("text", "title", "tspan") else None


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
