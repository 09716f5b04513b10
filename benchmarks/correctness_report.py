"""The page of a sweep for correctness, made of its records alone."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

Record = dict[str, Any]

_SHOWN = 40  # claims that are not so, listed one by one


def write(records: Path) -> Path:
    """Write the page beside the records and return where it is."""
    header, verdicts = read(records)
    target = records.with_name(records.name.removesuffix(".jsonl.gz") + ".md")
    target.write_text(page(header, verdicts), encoding="utf-8")
    return target


def read(records: Path) -> tuple[Record, list[Record]]:
    """The header and the verdicts."""
    with gzip.open(records, "rt", encoding="utf-8") as file:
        header, *verdicts = (json.loads(line) for line in file)
    return header, verdicts


def page(header: Record, verdicts: list[Record]) -> str:
    """The whole page as markdown."""
    families: dict[str, list[Record]] = defaultdict(list)
    for verdict in verdicts:
        families[verdict["family"]].append(verdict)
    exact = [v for v in verdicts if v["status"] == "EXACT"]
    judged = [v for v in exact if v["reference"] == "closed"]
    alone = [v for v in judged if v["unique"]]
    false = [v for v in verdicts if v["wrong"]]
    fits = [v for v in verdicts if v["status"] == "LEAST_SQUARES"]
    machine = f"Python {header['python']}; {header['cpu']}, {header['platform']}, {header['date']}"
    lines = [
        "# Is anything said that is not so?",
        "",
        f"{len(verdicts)} seeded problems in {len(families)} families, each judged in extended precision against",
        "HiGHS, Lawson-Hanson and the planted vector. A claim counts as false only with a witness: a row that does not",
        "fit, a shorter point, another minimiser, a better fit.",
        "",
        f"- answers with a claim that is not so: **{len(false)}**",
        f"- said to be right (`status.ok`): {sum(v['ok'] for v in verdicts)}",
        f"- `EXACT`: {len(exact)}; shortest norm known to nine digits for {len(judged)} of them",
        f"- `EXACT`, largest residual of a row: {_most(exact, 'rows')} times its rounding",
        f"- `EXACT`, largest excess of the norm: {_most(judged, 'excess')}",
        f"- `unique`: {sum(v['unique'] for v in exact)}, farthest from the reference point: {_most(alone, 'distance')}",
        f"- `LEAST_SQUARES`: {len(fits)}, largest excess of the residual: {_most(fits, 'excess')} of ‖y‖",
        "",
        f"hadaflow {header['hadaflow']}, NumPy {header['numpy']}, SciPy {header['scipy']}, {machine}.",
        "Again: `python benchmarks/correctness.py`; one problem: `--one FAMILY:SEED`.",
        "",
        "| family | problems | ok | status | reference closed | false claims | row residual / rounding | norm excess |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: |",
        *(_row(name, group) for name, group in families.items()),
        "",
        "Row residual and norm excess: the largest among answers said to be `EXACT`.",
    ]
    if false:
        lines += ["", "## Claims that are not so", ""]
        lines += [f"- `{v['family']}:{v['seed']}` {v['status']}: {', '.join(v['wrong'])}" for v in false[:_SHOWN]]
        lines += [f"- and {len(false) - _SHOWN} more"] if len(false) > _SHOWN else []
    return "\n".join(lines) + "\n"


def _row(name: str, group: list[Record]) -> str:
    statuses = ", ".join(f"{status} {count}" for status, count in Counter(v["status"] for v in group).most_common())
    exact = [v for v in group if v["status"] == "EXACT"]
    ok, closed = sum(v["ok"] for v in group), sum(v["reference"] == "closed" for v in group)
    cells = [name, len(group), f"{ok / len(group):.0%}", statuses, f"{closed / len(group):.0%}"]
    cells += [sum(bool(v["wrong"]) for v in group), _most(exact, "rows"), _most(exact, "excess")]
    return "| " + " | ".join(map(str, cells)) + " |"


def _most(verdicts: list[Record], key: str) -> str:
    values = [v[key] for v in verdicts if v[key] is not None]
    return f"{max(values):.1e}" if values else ""
