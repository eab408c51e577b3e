"""A reader of HTML that refuses what a browser would have to mend."""

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "hr", "img", "input"}
SVG = {"svg", "g", "path", "use", "rect", "circle", "defs", "clipPath", "text", "tspan"}


class Page(HTMLParser):
    """Tags must be closed in order, ids unique."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.stack, self.ids, self.links, self.sources, self.tags, self.words = [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self._seen(tag, attrs)
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in VOID or tag in {each.lower() for each in SVG}, tag
        self._seen(tag, attrs)

    def handle_endtag(self, tag):
        assert self.stack and self.stack.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        self.words.append(data)

    def _seen(self, tag, attrs):
        found = dict(attrs)
        assert len(found) == len(attrs), (tag, attrs)
        self.tags.append(tag)
        if "id" in found:
            self.ids.append(found["id"])
        self.links += [value for name, value in attrs if name in ("href", "xlink:href")]
        self.links += [f"#{name}" for value in found.values() for name in re.findall(r"url\(#([^)]*)\)", value or "")]
        self.sources += [value for name, value in attrs if name in ("src", "srcset", "data", "action", "poster", "background")]
        assert not [name for name in found if name.startswith("on")], attrs

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def check(text):
    """The page, if it is whole: ids are unique, references lead somewhere on the page, nothing is fetched."""
    page = Page(text)
    assert text.startswith("<!doctype html>")
    assert len(page.ids) == len(set(page.ids))
    assert page.sources == []
    for link in page.links:
        assert link == "data:," or (link.startswith("#") and link[1:] in page.ids), link
    styles = "".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    assert "@import" not in styles and "url(" not in styles
    assert "script" not in page.tags
    return page
