"""Checks the links of the built pages: ``python docs/links.py docs/_build/html``.

Every link to a page, a file or an anchor must lead somewhere. Links to other sites are listed, and
not fetched: nothing here needs a network.
"""

import argparse
import sys
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

# What a page refers to: links, pictures, style sheets and scripts.
REFERENCES = {"a": "href", "link": "href", "img": "src", "script": "src", "source": "src"}


class Page(HTMLParser):
    """The anchors of a page, and what it refers to."""

    def __init__(self, text):
        super().__init__()
        # The top of a page is an anchor of every page.
        self.anchors, self.references = {"", "top"}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        """Keep an element's anchor and reference."""
        attributes = dict(attrs)
        self.anchors |= {attributes[key] for key in ("id", "name") if attributes.get(key)}
        target = attributes.get(REFERENCES.get(tag))
        if target:
            self.references.append(target)


def find_pages(folder: Path) -> list[Path]:
    """Return the pages of a folder; what the theme keeps in ``_static`` are templates."""
    found = sorted(Path(folder).rglob("*.html"))
    return [path for path in found if "_static" not in path.relative_to(folder).parts]


def check(folder: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Return the broken links of a folder of pages, and links to other sites with their pages."""
    folder = Path(folder).resolve()
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in find_pages(folder)}
    broken, external = [], defaultdict(list)
    for path, page in pages.items():
        name = path.relative_to(folder).as_posix()
        for target in dict.fromkeys(page.references):
            parts = urlsplit(target)
            if parts.scheme in ("data", "javascript", "mailto"):
                continue
            if parts.scheme or parts.netloc:
                external[urldefrag(target).url].append(name)
                continue
            goal = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if goal.is_dir():
                goal = goal / "index.html"
            if not goal.is_relative_to(folder) or not goal.is_file():
                broken.append(f"{name}: {target}: no such file")
            elif goal in pages and unquote(parts.fragment) not in pages[goal].anchors:
                broken.append(f"{name}: {target}: no such anchor")
    return broken, dict(external)


def main() -> None:
    """Print the links to other sites and what is broken; fail if anything is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the built pages")
    folder = parser.parse_args().folder
    n_pages = len(find_pages(folder))
    if not n_pages:
        sys.exit(f"{folder} holds no pages")
    broken, external = check(folder)
    for link, pages in sorted(external.items()):
        print(f"not fetched: {link} ({len(pages)} pages)")
    print(f"{n_pages} pages, {len(broken)} broken links")
    sys.exit("\n".join(broken) or None)


if __name__ == "__main__":
    main()
