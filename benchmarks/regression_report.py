"""Tables and a picture from the records of the regression benchmark, and from nothing else.

    python benchmarks/regression_report.py benchmarks/results/regression.jsonl.gz

writes the same report again without running anything. Only seeds that all estimators of a size have done are counted,
so that every number of a row is of the same problems.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import pages
from pages import Record, settings, table_head, table_line, versions
from regression_entrants import ENTRANTS, OURS
from regression_problems import FULL, TEST_ROWS

YARDSTICKS = ("LassoCV", "abess")
TIE = 1.005  # least squares on the same support, with or without an intercept, is no victory


def read(path: Path) -> tuple[Record, list[Record]]:
    """All headers as one and, for each cell, seed and estimator, the newest result."""
    header: Record = {"versions": {}, "settings": {}, "dates": []}
    newest: dict[tuple[Any, ...], Record] = {}
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            if record["kind"] == "run":
                merged = {key: header[key] | record[key] for key in ("versions", "settings")}
                header |= record | merged | {"dates": sorted({*header["dates"], record["date"]})}
            else:
                newest[record["cell"], record["seed"], record["entrant"]] = record
    return header, list(newest.values())


def mend(path: Path) -> None:
    """Cut off a last line that a run, ended in the middle of it, has left."""
    if path.exists() and (content := path.read_bytes()) and not content.endswith(b"\n"):
        path.write_bytes(content[: content.rfind(b"\n") + 1])


@dataclass(frozen=True)
class Row:
    """The results of one cell: for each estimator one record a seed, the seeds the same for all."""

    cell: str
    records: dict[str, list[Record]]

    def mean(self, name: str, key: str = "ratio") -> float:
        return mean(r[key] for r in self.records[name])

    @property
    def seeds(self) -> int:
        return len(next(iter(self.records.values())))

    @property
    def best(self) -> set[str]:
        """Who has the smallest error, or one that no table would tell from it."""
        least = min(map(self.mean, self.records))
        return {name for name in self.records if self.mean(name) <= TIE * least}

    @property
    def peer(self) -> str | None:
        """The best of the others."""
        return min((name for name in self.records if name not in OURS), key=self.mean, default=None)

    def to_best_peer(self, name: str) -> float:
        return self.mean(name) / self.mean(self.peer) if self.peer else float("nan")

    @property
    def labels(self) -> list[str]:
        """Design, number of non-zeros and noise."""
        _, design, k, sigma = self.cell.split(", ")
        return [design, k.removeprefix("k = "), sigma.removeprefix("sigma = ")]

    @property
    def nothing(self) -> float:
        """Error over the oracle's of predicting nothing: all coefficients are ±1."""
        return mean(sqrt(int(self.labels[1])) / r["oracle"] for r in next(iter(self.records.values())))


def sizes(results: Iterable[Record]) -> dict[str, list[Row]]:
    """The rows of each size, in the order of the grid."""
    grouped: dict[str, dict[str, dict[str, dict[int, Record]]]] = {}
    for r in results:
        if r["status"] != "done":
            continue
        size = r["cell"].partition(",")[0]
        grouped.setdefault(size, {}).setdefault(r["cell"], {}).setdefault(r["entrant"], {})[r["seed"]] = r
    return {size: list(_rows(cells)) for size, cells in sorted(grouped.items(), key=lambda item: _place(item[1]))}


def _place(cells: Iterable[str]) -> int:
    order = {cell.name: number for number, cell in enumerate(FULL)}
    return min(order.get(cell, len(order)) for cell in cells)


def _rows(cells: dict[str, dict[str, dict[int, Record]]]) -> Iterable[Row]:
    present = {name for entrants in cells.values() for name in entrants}
    names = [name for name in ENTRANTS if name in present]
    for cell in sorted(cells, key=lambda cell: _place([cell])):
        if seeds := sorted(set.intersection(*(set(cells[cell].get(name, {})) for name in names))):
            yield Row(cell, {name: [cells[cell][name][seed] for seed in seeds] for name in names})


def standard_error(values: Sequence[float]) -> float:
    """Standard error of a mean; of a single value it is not known."""
    return stdev(values) / sqrt(len(values)) if len(values) > 1 else float("nan")


def error_table(rows: list[Row]) -> str:
    """Error over the oracle's: one line a cell, one column an estimator."""
    names = list(rows[0].records)
    lines = [table_head(["design", "k", "σ", "seeds", *names, "all zero"])]
    for row in rows:
        entries = []
        for name in names:
            text = f"{row.mean(name):.2f} ± {standard_error([r['ratio'] for r in row.records[name]]):.2f}"
            entries.append(f"**{text}**" if name in row.best else text)
        lines.append(table_line([*row.labels, str(row.seeds), *entries, f"{row.nothing:.2f}"]))
    return "\n".join(lines)


def summary_table(rows: list[Row]) -> str:
    """Averages over the cells, each with the same weight."""
    columns = ["error / oracle", "error / best peer's", "most", "best in", "F1", "prediction error / σ²", "non-zeros"]
    lines = [table_head(["estimator", *columns, "CPU s", *(f"time / {name}" for name in YARDSTICKS)])]
    for name in rows[0].records:
        to_peer = [row.to_best_peer(name) for row in rows]
        numbers = [
            f"{mean(row.mean(name) for row in rows):.3f}",
            f"{mean(to_peer):.3f}",
            f"{max(to_peer):.2f}",
            str(sum(name in row.best for row in rows)),
            *(f"{mean(row.mean(name, key) for row in rows):.3f}" for key in ("f1", "prediction")),
            f"{mean(row.mean(name, 'nonzeros') for row in rows):.1f}",
            f"{median(r['cpu'] for row in rows for r in row.records[name]):.2g}",
            *(_times(rows, name, other) for other in YARDSTICKS),
        ]
        lines.append(table_line([name, *numbers]))
    return "\n".join(lines)


def _times(rows: list[Row], name: str, other: str) -> str:
    if other not in rows[0].records:
        return "–"
    pairs = [pair for row in rows for pair in zip(row.records[name], row.records[other], strict=True)]
    return f"{median(r['cpu'] / max(s['cpu'], 1e-9) for r, s in pairs):.2g}"


def parts_table(rows: list[Row]) -> str:
    """Error over the best peer's, averaged over parts of the grid."""
    names = list(rows[0].records)
    lines = [table_head(["part", "cells", *names])]
    for column, form in enumerate(("{}", "k = {}", "σ = {}")):
        for value in dict.fromkeys(row.labels[column] for row in rows):
            part = [row for row in rows if row.labels[column] == value]
            numbers = [f"{mean(row.to_best_peer(name) for row in part):.3f}" for name in names]
            lines.append(table_line([form.format(value), str(len(part)), *numbers]))
    return "\n".join(lines)


def losses_table(rows: list[Row], name: str) -> str:
    """The cells in which a peer has the smaller error, with what its seeds say about the difference."""
    lines = [table_head(["design", "k", "σ", "best", "its error", name, "difference, seed by seed"])]
    for row in rows:
        if row.peer is None or row.to_best_peer(name) <= TIE:
            continue
        pairs = zip(row.records[name], row.records[row.peer], strict=True)
        differences = [r["ratio"] - s["ratio"] for r, s in pairs]
        spread = standard_error(differences)
        text = f"{mean(differences):+.3f} ± {spread:.3f}"
        clear = mean(differences) > 2 * spread
        entries = [row.peer, f"{row.mean(row.peer):.2f}", f"{row.mean(name):.2f}", f"**{text}**" if clear else text]
        lines.append(table_line([*row.labels, *entries]))
    return "\n".join(lines) if len(lines) > 1 else "None."


def failures(results: Iterable[Record]) -> str:
    """Who failed or warned, and how often."""
    lines = []
    for name in ENTRANTS:
        mine = [r for r in results if r["entrant"] == name]
        failed = [r for r in mine if r["status"] != "done"]
        warned = [kind for r in mine for kind in r.get("warned", [])]
        counts = [f"{warned.count(kind)} with {kind}" for kind in sorted(set(warned))]
        if failed:
            counts.append(f"{len(failed)} failed (first: {failed[0]['message']}); their seeds are counted for nobody")
        codes = sorted({r["code"] for r in mine})
        if len(codes) > 1:
            counts.append(f"of several states of the code: {', '.join(codes)}")
        if counts:
            lines.append(f"- {name}: of {len(mine)} runs {'; '.join(counts)}.")
    return "\n".join(lines) or "None."


def _preamble(header: Record, results: list[Record]) -> str:
    codes = sorted({r["code"] for r in results if r["entrant"] in OURS})
    digest = f" Source of hadaflow: {', '.join(code.removeprefix('hadaflow ') for code in codes)}." if codes else ""
    return f"""# Sparse regression with noise, side by side

y = Xw + σ·noise, Gaussian; k of the coefficients are ±1 at random places, the others zero; the columns of X have unit
variance. Nobody is told k or σ.

- Machine: {header["cpu"]}; {header["platform"]}; Python {header["python"]}; {", ".join(header["dates"])}.
- Versions: {versions(header)}.{digest}
- Error: ‖ŵ − w‖, over that of the oracle, least squares on the true support; mean over the seeds ± its standard error.
  **Bold**: the smallest of its row and what is within 0.5 % of it. "all zero": the error of predicting nothing.
- Only seeds that every estimator of the table has done are counted; the problem of a seed is the same for all.
- Prediction error: mean (x·(ŵ − w))² over {TEST_ROWS} fresh rows, over σ². F1: of the support, any non-zero counts.
- Time: CPU seconds of one thread, imports and compilation not counted; ratios are medians over all problems. Other
  work ran on the machine, so times within about a third of each other are equal.

Settings:

{settings(header)}
"""


def report(header: Record, results: list[Record], picture: str | None = None) -> str:
    """The whole report in markdown."""
    by_size = {size: rows for size, rows in sizes(results).items() if rows}
    parts = [_preamble(header, results)]
    parts += [f"![Error of each estimator in each cell]({picture})\n"] if picture else []
    for size, rows in by_size.items():
        title = size.replace("x", " × ")
        parts.append(f"## {title}: averages over {len(rows)} cells\n\n{summary_table(rows)}\n")
        parts.append(
            "Error over that of the best peer of each cell, averaged over parts of the grid; below 1 nobody else is as "
            f"good on average:\n\n{parts_table(rows)}\n"
        )
    for size, rows in by_size.items():
        title = size.replace("x", " × ")
        for name in (name for name in OURS if name in rows[0].records):
            lost = f"## {title}: cells in which another is better than {name}\n\n"
            lost += "**Bold**: by more than two standard errors of the difference.\n\n"
            parts.append(f"{lost}{losses_table(rows, name)}\n")
        parts.append(f"## {title}: error over the oracle's\n\n{error_table(rows)}\n")
    parts.append(f"## Failures and warnings\n\n{failures(results)}\n")
    return "\n".join(parts)


def write(records: Path, target: Path | None = None) -> Path:
    """Write the report, and the figure, beside the records or where asked for."""
    header, results = read(records)
    rows = {size: rows for size, rows in sizes(results).items() if rows}

    def draw(path: Path) -> None:
        from regression_plot import draw

        draw(rows, path)

    target = target or records.with_name(records.name.removesuffix(".gz")).with_suffix(".md")
    return pages.write(target, lambda figure: report(header, results, figure), draw if rows else None)


if __name__ == "__main__":
    print(write(*map(Path, sys.argv[1:3])))
