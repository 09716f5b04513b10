"""Check that every link within the built site leads somewhere, and that no page loads anything from a network.

``python docs/check_links.py docs/_build/html`` lists what does not and ends with status 1.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: What a browser loads by itself, unlike a link that is followed.
_LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}


class _Page(HTMLParser):
    """The anchors and links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value or "")
            elif name in ("href", "src") and value:
                self.links.add(value)
                if (tag, name) in _LOADED:
                    self.loaded.add(value)


def read(page: Path) -> _Page:
    """A page of the site, taken apart."""
    parser = _Page()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def broken_links(site: Path) -> list[str]:
    """What is wrong with the links of a site, one sentence each."""
    pages = {page.resolve(): read(page) for page in sorted(site.rglob("*.html")) if "_static" not in page.parts}
    found = []
    for page, content in pages.items():
        name = page.relative_to(site.resolve())
        for link in sorted(content.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in content.loaded and parts.scheme != "data":
                    found.append(f"{name}: {link} is loaded from a network")
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                found.append(f"{name}: {link} does not exist")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{name}: {link} has no such anchor")
    return found


if __name__ == "__main__":
    problems = broken_links(Path(sys.argv[1]))
    print(*problems or ["all links within the site lead somewhere"], sep="\n")
    sys.exit(bool(problems))
