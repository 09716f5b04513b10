"""Tables and a picture from the records of a benchmark run, and from nothing else.

    python benchmarks/report.py benchmarks/results/basis_pursuit.jsonl

writes the same report again without running anything.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from pages import MISSED, Record, read, settings, table_head, table_line, versions
from pages import write as write_page

OURS = "hadaflow"


def rows(results: Iterable[Record]) -> list[list[Record]]:
    """The results problem by problem, in the order they were run."""
    grouped: dict[tuple[Any, ...], list[Record]] = {}
    for record in results:
        grouped.setdefault(tuple(record[key] for key in ("problem", "m", "n", "s", "seed")), []).append(record)
    return list(grouped.values())


def fastest(row: list[Record]) -> Record | None:
    """The fastest result of a row among those that met the target."""
    return min((r for r in row if r["target_met"]), key=lambda r: r["seconds"], default=None)


def ratio(record: Record, row: list[Record]) -> float | None:
    """Time of a result over that of hadaflow in the same row."""
    ours = next((r["seconds"] for r in row if r["entrant"] == OURS), None)
    return record["seconds"] / ours if ours and record["seconds"] is not None else None


def _seconds(value: float) -> str:
    return f"{value:#.2g}" if value < 0.995 else f"{value:.2f}" if value < 9.995 else f"{value:.1f}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def cell(record: Record | None, row: list[Record]) -> str:
    """One entry of the table of times: seconds and, in brackets, the ratio to hadaflow."""
    if record is None:
        return "–"
    if record["seconds"] is None:
        return str(record["message"] if record["status"] in {"over limit", "not tried"} else record["status"])
    text = _seconds(record["seconds"])
    if record["entrant"] != OURS and (factor := ratio(record, row)) is not None:
        text += f" ({_ratio(factor)})"
    if not record["target_met"]:
        return text + MISSED
    return f"**{text}**" if record is fastest(row) else text


def label(row: list[Record]) -> list[str]:
    """What a row is about: class, size, number of non-zeros."""
    first = row[0]
    return [first["title"], f"{first['m']} × {first['n']}", str(first["s"])]


def time_line(row: list[Record], entrants: list[str]) -> str:
    """One line of the table of times."""
    by_name = {record["entrant"]: record for record in row}
    return table_line([*label(row), *(cell(by_name.get(name), row) for name in entrants)])


def time_head(entrants: list[str]) -> str:
    """The head of the table of times."""
    return table_head(["class", "m × n", "s", *entrants])


def summary_table(results: list[Record], entrants: list[str]) -> str:
    """How often each solver met the target, how often it was the fastest, and its times over hadaflow's."""
    grouped = rows(results)
    lines = [table_head(["solver", "tried", "met target", "fastest", "time / hadaflow: median", "least", "most"])]
    for name in entrants:
        mine = [(r, row) for row in grouped for r in row if r["entrant"] == name]
        tried = [r for r, _ in mine if r["status"] not in {"not tried", "not installed"}]
        wins = sum(fastest(row) is r for r, row in mine)
        ratios = [
            factor for r, row in mine if r["target_met"] and _met(row, OURS) and (factor := ratio(r, row)) is not None
        ]
        spread = [_ratio(f(ratios)) if ratios else "–" for f in (median, min, max)]
        met = sum(bool(r["target_met"]) for r, _ in mine)
        lines.append(table_line([name, str(len(tried)), str(met), str(wins), *spread]))
    return "\n".join(lines)


def _met(row: list[Record], name: str) -> bool:
    return any(r["target_met"] for r in row if r["entrant"] == name)


def losses_table(results: list[Record]) -> str:
    """The rows in which another solver is the fastest, or hadaflow misses the target."""
    lines = [table_head(["class", "m × n", "s", "fastest", "seconds", "hadaflow", "hadaflow / fastest"])]
    for row in rows(results):
        best, ours = fastest(row), next((r for r in row if r["entrant"] == OURS), None)
        if best is None or ours is None or best is ours:
            continue
        factor = ours["seconds"] / best["seconds"] if ours["seconds"] is not None else None
        entries = [best["entrant"], _seconds(best["seconds"]), cell(ours, row), _ratio(factor)]
        lines.append(table_line([*label(row), *entries]))
    return "\n".join(lines) if len(lines) > 1 else "None."


def accuracy_table(results: list[Record]) -> str:
    """Every result in full."""
    columns = ["solver", "seconds", "runs", "ratio", "ℓ1 excess", "feasibility", "gap", "passes", "remark"]
    parts = []
    for row in rows(results):
        title, shape, s = label(row)
        first = row[0]
        planted = {True: "yes", False: "no", None: "unknown"}[first.get("planted_is_minimal")]
        parts += [
            f"**{title}, {shape}, s = {s}.** Reference: {first['reference_source']}. Planted x is minimal: {planted}.",
            "",
            table_head(columns),
        ]
        for r in row:
            if r["seconds"] is None:
                parts.append(table_line([r["entrant"], r["message"] or r["status"], *["–"] * 7]))
                continue
            parts.append(
                table_line(
                    [
                        r["entrant"] + ("" if r["target_met"] else MISSED),
                        _seconds(r["seconds"]),
                        str(len(r["runs"])),
                        _ratio(ratio(r, row)),
                        _number(r["excess"], "+.1e"),
                        _number(r["feasibility"], ".1e"),
                        _number(r["gap"], ".1e"),
                        _number(r["details"].get("passes"), ".0f"),
                        _remark(r),
                    ]
                )
            )
        parts.append("")
    return "\n".join(parts)


def _remark(record: Record) -> str:
    remarks = [] if record["claims_optimal"] else ["does not claim success"]
    remarks += [str(record["details"]["status"])] if "status" in record["details"] else []
    if record["warned"]:
        remarks.append(f"warns: {record['warned'][0].split(':')[0]}")
    return "; ".join(remarks)


def _preamble(header: Record) -> str:
    limit = f"{header['limit']:g} s"
    return f"""# Basis pursuit, side by side

Minimise ‖x‖₁ subject to Ax = y (and x ≥ 0 in the class that says so). One run, one machine, {header["threads"]} thread
per solver, float64; ratios within a row can be trusted, seconds elsewhere will differ.

- Machine: {header["cpu"]}; {header["platform"]}; Python {header["python"]}.
- Versions: {versions(header)}.
- Times: median of up to {header["repeats"]} runs, taken in turns with the other solvers; a solver whose first run
  took more than {header["patience"]:g} s runs once. Imports, a warm-up on a small problem and the conversion to the
  solver's preferred memory layout are not timed; everything else is, hadaflow's certificate too.
- Limit: {limit} a run, each solver in its own process. "> {limit}" was ended there; "– (> {limit} at …)" was not
  tried, since the same solver had been over the limit at that smaller, no denser size of the same class.
- Target: ℓ1 norm at most {header["excess_target"]:g} (relative) above the reference, ‖Ax − y‖/‖y‖ and sign violation
  at most {header["feasibility_target"]:g}. **Bold**: the fastest that met it. {MISSED}: missed it. In brackets: time
  over hadaflow's, so above 1 hadaflow is faster.
- Reference: the optimum of HiGHS where it ended at optimality in this run, else the largest lower bound proved by
  any solver's dual vector. Everything is judged by the harness in float64 from x and the dual; the gap is between
  ‖x‖₁ and the bound that the solver's own dual proves, "–" where it returns none.
- Passes over A are counted by hadaflow only.
- Seed {header["seed"]}; one instance a row, so no row speaks for its class alone.

Settings:

{settings(header)}
"""


def report(header: Record, results: list[Record], figure: str | None = None) -> str:
    """The whole report in markdown."""
    entrants = header["entrants"]
    times = "\n".join([time_head(entrants), *(time_line(row, entrants) for row in rows(results))])
    picture = f"![Time by class and solver]({figure})\n\n" if figure else ""
    return (
        f"{_preamble(header)}\n## Seconds (ratio to hadaflow)\n\n{times}\n\n{picture}"
        f"## Summary\n\nRatios over the rows in which both met the target.\n\n{summary_table(results, entrants)}\n\n"
        f"## Rows that hadaflow does not win\n\n{losses_table(results)}\n\n"
        f"## Every result\n\n{accuracy_table(results)}"
    ).rstrip() + "\n"


def write(records: Path) -> Path:
    """Write the report, and the figure, beside the records."""
    header, results = read(records)

    def draw(path: Path) -> None:
        from dot_plot import draw

        draw(header, rows(results), path)

    return write_page(records.with_suffix(".md"), lambda figure: report(header, results, figure), draw)


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
