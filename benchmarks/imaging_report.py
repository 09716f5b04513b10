"""Tables and a picture from the records of a run of the imaging benchmark, and from nothing else.

    python benchmarks/imaging_report.py benchmarks/results/imaging.jsonl

writes the same report again without running anything.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import pages
from pages import Record, read, settings, table_head, table_line, versions

OURS = "hadaflow"
TIE = 0.05  # dB

LOOKS = {
    "hadaflow.recover": ("#111111", "D"),
    "hadaflow.flow": ("#0072B2", "D"),
    "SPGL1": ("#009E73", "s"),
    "SPGL1 bpdn": ("#009E73", "s"),
    "Douglas-Rachford": ("#D55E00", "^"),
    "FISTA": ("#CC79A7", "o"),
    "FISTA bisection": ("#CC79A7", "o"),
}


def rows(results: Iterable[Record], *kinds: str) -> list[list[Record]]:
    """The results row by row, in the order they were run."""
    grouped: dict[str, list[Record]] = {}
    for record in results:
        if record["of"] in kinds:
            grouped.setdefault(record["row"], []).append(record)
    return list(grouped.values())


def winners(row: list[Record]) -> list[Record]:
    """Without noise the fastest at the goal; with noise those near the largest SNR, that of A^T y included."""
    if row[0]["of"] == "exact":
        done = [r for r in row if r["seconds"] is not None]
        return [min(done, key=lambda r: r["seconds"])] if done else []
    best = max(row[0]["back_projection"], *(r["snr"] for r in row))
    return [r for r in row if r["snr"] >= best - TIE]


def is_ours(record: Record) -> bool:
    """Whether it is one of hadaflow's."""
    return str(record["entrant"]).startswith(OURS)


def cell(record: Record | None, row: list[Record]) -> str:
    """One entry of a table."""
    if record is None:
        return "–"
    if record["of"] == "exact":
        text = f"ends at {record['snr']:.0f} dB, {record['end_seconds']:.2f} s"
        if record["seconds"] is not None:
            text = f"{record['seconds']:.2f} s, {record['products']}; {record['snr']:.0f} dB"
    else:
        text = f"{record['snr']:.2f} dB; {record['seconds']:.2f} s, {record['products']}"
    return f"**{text}**" if record in winners(row) else text


def back_cell(row: list[Record]) -> str:
    """What A^T y alone gives."""
    back = row[0]["back_projection"]
    text = f"{back:.2f} dB; 1"
    return f"**{text}**" if back >= max(r["snr"] for r in row) - TIE else text


def table(grouped: list[list[Record]], entrants: list[str]) -> str:
    """A table of rows by those entrants that took part in them."""
    present = [name for name in entrants if any(r["entrant"] == name for row in grouped for r in row)]
    lines = [table_head(["row", "non-zeros", *(["A^T y"] if grouped[0][0]["of"] != "exact" else []), *present])]
    for row in grouped:
        by_name = {r["entrant"]: r for r in row}
        back = [back_cell(row)] if row[0]["of"] != "exact" else []
        cells = (cell(by_name.get(name), row) for name in present)
        lines.append(table_line([row[0]["row"], str(row[0]["nonzeros"]), *back, *cells]))
    return "\n".join(lines)


def plain_line(row: list[Record]) -> str:
    """One line while the benchmark runs."""
    return table_line([row[0]["row"], *(f"{r['entrant']}: {cell(r, row)}" for r in row)])


def losses(results: list[Record]) -> str:
    """Rows in which another solver is the first at the goal, or ends with a larger signal-to-noise ratio."""
    lines = [table_head(["row", "best", "it", "best of hadaflow"])]
    for row in rows(results, "exact", "sparse", "photograph"):
        best = winners(row)
        ours = [r for r in row if is_ours(r)]
        exact = row[0]["of"] == "exact"
        if not ours or any(is_ours(r) for r in best) or (exact and not best):
            continue
        mine = ours[0] if exact else max(ours, key=lambda r: r["snr"])
        name, text = (best[0]["entrant"], cell(best[0], row)) if best else ("A^T y", back_cell(row))
        lines.append(table_line([row[0]["row"], name, text.strip("*"), cell(mine, row).strip("*")]))
    return "\n".join(lines) if len(lines) > 1 else "None."


def costs(grouped: list[list[Record]], entrants: list[str]) -> str:
    """What a solver takes on the rows with noise, and what it gains over SPGL1."""
    lines = [
        table_head(["solver", "rows", "seconds: median", "products: median", "SNR over SPGL1: median", "least", "most"])
    ]
    for name in entrants:
        mine = [(r, row) for row in grouped for r in row if r["entrant"] == name]
        if not mine:
            continue
        gains = [r["snr"] - reference for r, row in mine if (reference := spgl1_of(row)) is not None]
        spread = [f"{f(gains):+.2f} dB" for f in (median, min, max)] if gains else ["–"] * 3
        cost = [f"{median(r['seconds'] for r, _ in mine):.2f}", f"{median(r['products'] for r, _ in mine):.0f}"]
        lines.append(table_line([name, str(len(mine)), *cost, *spread]))
    return "\n".join(lines)


def spgl1_of(row: list[Record]) -> float | None:
    """Signal-to-noise ratio of SPGL1 in a row."""
    return next((r["snr"] for r in row if r["entrant"] == "SPGL1 bpdn"), None)


def every_result(results: list[Record]) -> str:
    """Every result in full."""
    columns = [
        "row",
        "solver",
        "seconds",
        "runs",
        "products",
        "end: seconds",
        "products",
        "SNR (dB)",
        "residual",
        "ℓ1 / true",
        "non-zeros",
        "remark",
    ]
    lines = [table_head(columns)]
    for r in results:
        remarks = [f"step {r['setting']:.0e}"] if r["setting"] is not None else []
        remarks += [
            f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in r["remarks"].items()
        ]
        remarks += [f"warns: {r['warned'][0].split(':')[0]}"] if r["warned"] else []
        seconds = "–" if r["seconds"] is None else f"{r['seconds']:.2f}"
        spread = "–" if not r["runs"] else f"{len(r['runs'])}: {min(r['runs']):.2f} to {max(r['runs']):.2f}"
        lines.append(
            table_line(
                [
                    r["row"],
                    r["entrant"],
                    seconds,
                    spread,
                    "–" if r["products"] is None else str(r["products"]),
                    f"{r['end_seconds']:.2f}",
                    str(r["end_products"]),
                    f"{r['snr']:.2f}",
                    f"{r['residual']:.1e}" if r["of"] == "exact" else f"{r['residual']:.4f}",
                    f"{r['l1'] / r['true_l1']:.4f}",
                    str(r["found_nonzeros"]),
                    "; ".join(remarks),
                ]
            )
        )
    return "\n".join(lines)


def _preamble(header: Record, results: list[Record]) -> str:
    first, size, range_of_loads = results[0], header["size"], pages.loads(results)
    load = f", load {range_of_loads} while it ran, this run being 1 of it" if range_of_loads else ""
    return f"""# Pictures from 35 % of their cosine samples, side by side

Unknown: {first["n"]} orthonormal wavelet coefficients (periodised, as deep as PyWavelets advises) of a picture of
{size} × {size} pixels. Measured: {first["m"]} samples of its orthonormal DCT, drawn at random, low frequencies
likelier. A is a LinearOperator. One run, one machine, {header["threads"]} thread, float64; products with A and Aᵀ are
counted in the operator and do not depend on the machine.

- Machine: {header["cpu"]}; {header["platform"]}{load};
  Python {header["python"]}.
- Versions: {versions(header)}.
- Times: median of up to {header["repeats"]} runs, in turns with the other solvers; a solver whose first run took more
  than {header["patience"]:g} s runs once. Imports and a warm-up on a small picture are not timed, nor is looking at
  iterates.
- SNR = 20 log₁₀(‖x‖ / ‖x̂ − x‖), judged by the harness.
- Seed {header["seed"]}; one instance a row, so no row speaks for its class alone.

Settings:

{settings(header)}
"""


EXACT = """\
Seconds and products to {goal:g} dB; then the dB at which the solver ended. **Bold**: the fastest to {goal:g} dB.
Douglas-Rachford and FISTA are watched: they count from their first iterate at {goal:g} dB, which only who knows the
truth can tell, and end at {enough:g} dB or at their limit. hadaflow and SPGL1 count whole runs, hadaflow's certificate
included."""
SPARSE = """\
SNR; seconds and products. **Bold**: the largest SNR, or within 0.05 dB of it, that of A^T y included. Douglas-Rachford
counts from where its SNR stays within {near_end:g} dB of its end, which only who knows the truth can tell."""
PHOTOGRAPHS = "As above. The noise has the given norm relative to the exact samples; every solver is told it."
SECTIONS = (
    ("exact", "Exactly sparse, no noise", EXACT),
    ("sparse", "Exactly sparse, with noise", SPARSE),
    ("photograph", "Photographs, with noise", PHOTOGRAPHS),
)


def report(header: Record, results: list[Record], figure: str | None = None) -> str:
    """The whole report in markdown."""
    parts = [_preamble(header, results)]
    for kind, title, words in SECTIONS:
        if grouped := rows(results, kind):
            parts.append(f"## {title}\n\n{words.format(**header)}\n\n{table(grouped, header['entrants'])}\n")
            if kind != "exact":
                parts.append(costs(grouped, header["entrants"]) + "\n")
    if figure:
        parts.append(f"![Time to the goal; signal-to-noise ratio over that of SPGL1]({figure})\n")
    parts.append(f"## Rows that hadaflow does not win\n\n{losses(results)}\n")
    parts.append(
        "## Every result\n\nResidual: without noise ‖Ax − y‖/‖y‖, with noise ‖Ax − y‖ over the norm of the noise.\n\n"
        + every_result(results)
    )
    return "\n".join(parts).rstrip() + "\n"


def draw(header: Record, results: list[Record], path: Path) -> None:
    """Time to the goal without noise; with noise, what is gained over SPGL1."""
    import dots
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    exact, noisy = rows(results, "exact"), rows(results, "sparse", "photograph")
    panels = [panel for panel in (exact, noisy) if panel]
    heights = [len(panel) + 1.8 for panel in panels]
    figure = Figure(figsize=(9, 0.29 * sum(heights) + 1.1), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, panel in zip(axes, panels, strict=True):
        title = f"No noise: time to {header['goal']:g} dB" if panel is exact else "With noise: SNR over that of SPGL1"
        dots.panel(axis, [row[0]["row"] for row in panel], title)
        _draw_dots(axis, panel)
    names = [name for name in LOOKS if name in header["entrants"] and name not in {"SPGL1 bpdn", "FISTA bisection"}]
    more = [
        Line2D([], [], color="#777777", marker="|", markersize=9, linestyle="", label="A^T y (photographs)"),
        Line2D([], [], color="#555555", marker="o", fillstyle="none", linestyle="", label="missed the goal"),
    ]
    dots.finish(figure, path, names, LOOKS, more)


def _draw_dots(axis: Any, panel: list[list[Record]]) -> None:
    from dots import dot

    exact = panel[0][0]["of"] == "exact"
    for height, row in enumerate(panel):
        reference = spgl1_of(row) or row[0]["snr"]
        if row[0]["of"] == "photograph":
            axis.plot(row[0]["back_projection"] - reference, height, color="#777777", marker="|", markersize=9)
        for record in row:
            missed = exact and record["seconds"] is None
            at = (record["end_seconds"] if missed else record["seconds"]) if exact else record["snr"] - reference
            dot(axis, at, height, record["entrant"], LOOKS, hollow=missed)
    if exact:
        axis.set_xscale("log")
        axis.set_xlabel("seconds (log scale)")
    else:
        axis.axvline(0, color="#009E73", linewidth=1)
        axis.set_xlabel("dB")


def write(records: Path) -> Path:
    """Write the report, and the figure, beside the records."""
    header, results = read(records)
    return pages.write(
        records.with_suffix(".md"),
        lambda figure: report(header, results, figure),
        lambda path: draw(header, results, path),
    )


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
