"""What the pages that report benchmarks share: records read, tables, the words on machine and settings, and writing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Record = dict[str, Any]
MISSED = "†"


def read(path: Path) -> tuple[Record, list[Record]]:
    """The header and the results of a records file (the last run's, where several were appended)."""
    header: Record = {}
    results: list[Record] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["kind"] == "run":
            header, results = record, []
        else:
            results.append(record)
    return header, results


def table_line(cells: Iterable[object]) -> str:
    """One line of a markdown table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def table_head(cells: list[str]) -> str:
    """The first two lines of a markdown table."""
    return table_line(cells) + "\n" + table_line(["---"] * len(cells))


def table(head: list[str], lines: Iterable[Iterable[object]]) -> str:
    """A markdown table, each line as long as the head."""
    rows = [list(line) for line in lines]
    if any(len(row) != len(head) for row in rows):
        raise ValueError(f"a line has not the {len(head)} cells of the head")
    return "\n".join([table_head(head), *map(table_line, rows)])


def versions(header: Record) -> str:
    """Of the packages, in one line."""
    return ", ".join(f"{name} {version}" for name, version in header["versions"].items())


def settings(header: Record) -> str:
    """Of the entrants, one a line."""
    return "\n".join(f"- {name}: {text}." for name, text in header["settings"].items())


def loads(results: Iterable[Record]) -> str:
    """From which to which load of the machine the results were taken; empty where none was recorded."""
    known = [r["load"] for r in results if r.get("load") is not None]
    return f"{min(known):.1f} to {max(known):.1f}" if known else ""


def write(target: Path, page: Callable[[str | None], str], draw: Callable[[Path], None] | None = None) -> Path:
    """Write a page and, where matplotlib is there, its figure, whose name the page is given."""
    figure = target.with_suffix(".png") if draw and find_spec("matplotlib") else None
    if draw and figure:
        draw(figure)
    target.write_text(page(figure.name if figure else None), encoding="utf-8")
    return target
