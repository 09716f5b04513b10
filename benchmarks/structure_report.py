"""The report of a comparison in groups, from its records alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

Record = dict[str, Any]

HEAD = """\
# Groups, complex data and joint columns, side by side

{classes} classes, {seeds} seeds each; one run, one machine, 1 thread, CPU time, the least of the repeats.
{cpu}, {platform}, {date}; {versions}.

Of each class: our time (geometric mean), our largest gap and residual, as the certificate proves them. Then for each
peer **our time over its time** (geometric mean), the largest excess of its norm over the proved minimum (negative: not
feasible to that digit), and its largest residual. SPGL1: as it comes; SPGL1 1e-9:
opt_tol = bp_tol = 1e-9, at most 20 000 iterations; for groups it is told its projection, norm and dual norm.
"""


def line_of(row: Record) -> str:
    """One problem on a line."""
    ours = row["solvers"]["hadaflow"]
    cells = [f"{row['name']} {row['seed']}", f"{1e3 * min(ours['seconds']):.0f} ms, gap {ours['gap']:.0e}"]
    cells += [f"{name} {compared([row['solvers']], name)}" for name in row["solvers"] if name != "hadaflow"]
    return " | ".join(cells)


def write(records: Path) -> Path:
    """The report of what is in a records file."""
    lines = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
    head, rows = lines[0], [line for line in lines if line["kind"] == "problem"]
    names = list(dict.fromkeys(row["name"] for row in rows))
    others = [name for name in (rows[0]["solvers"] if rows else {}) if name != "hadaflow"]
    versions = ", ".join(f"{name} {number}" for name, number in head["versions"].items() if number)
    out = [HEAD.format(classes=len(names), **(head | {"versions": versions}))]
    out += [f"| class | hadaflow | {' | '.join(others)} |", f"| --- | --- | {' | '.join('---' for _ in others)} |"]
    for name in names:
        mine = [row["solvers"] for row in rows if row["name"] == name]
        out.append(" | ".join([f"| {name}", own(mine), *(compared(mine, other) for other in others)]) + " |")
    out += ["", *(summary([row["solvers"] for row in rows], other) for other in others)]
    page = records.with_suffix(".md")
    page.write_text("\n".join(out) + "\n", encoding="utf-8")
    return page


def own(mine: list[Record]) -> str:
    """What hadaflow did in one class."""
    ours = [solvers["hadaflow"] for solvers in mine]
    gap, residual = (max(each[what] for each in ours) for what in ("gap", "residual"))
    exact = sum(each["status"] == "EXACT" for each in ours)
    short = "" if exact == len(ours) else f", {exact} of {len(ours)} exact"
    return f"{1e3 * mean([least(each) for each in ours]):.0f} ms, gap {gap:.0e}, residual {residual:.0e}{short}"


def compared(mine: list[Record], other: str) -> str:
    """All problems of one class against one peer."""
    known = [solvers for solvers in mine if "value" in solvers[other]]
    if not known:
        return str(mine[0][other].get("error", "nothing"))
    excess = max((solvers[other]["excess"] for solvers in known), key=abs)
    failed = f", {len(mine) - len(known)} failed" if len(known) < len(mine) else ""
    residual = max(solvers[other]["residual"] for solvers in known)
    return f"{relative(known, other):.2f} ({excess:+.0e}, {residual:.0e}{failed})"


def summary(mine: list[Record], other: str) -> str:
    """All problems against one peer, on a line."""
    known = [solvers for solvers in mine if "value" in solvers[other]]
    if not known:
        return f"{other}: no answer."
    ahead = sum(least(solvers["hadaflow"]) > least(solvers[other]) for solvers in known)
    ratio = f"{relative(known, other):.2f} of its time (geometric mean of {len(known)})"
    return f"Against {other}: {ratio}; it is faster in {ahead}.\n"


def relative(known: list[Record], other: str) -> float:
    """Our time over that of a peer."""
    return mean([least(solvers["hadaflow"]) / least(solvers[other]) for solvers in known])


def least(solver: Record) -> float:
    """The least of the times of one solver."""
    return float(min(solver["seconds"]))


def mean(values: list[float]) -> float:
    """Geometric mean."""
    return float(np.exp(np.mean(np.log(values))))
