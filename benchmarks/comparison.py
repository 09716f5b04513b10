"""The page docs/comparison.md from the records of all benchmarks, and from nothing else.

    python benchmarks/comparison.py

writes it again without running anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from math import exp, log
from pathlib import Path
from statistics import mean, median

import imaging_report
import regression_report
import report
from comparison_words import INTRODUCTION, LIMITS
from pages import Record, table, versions

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "comparison.md"
OURS = report.OURS


def factor(value: float) -> str:
    """A ratio with two digits, in plain numbers."""
    return f"{value:.2f}" if value < 0.995 else f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def spread(values: list[float], form: Callable[[float], str] = factor) -> str:
    """Median, and in brackets least and most."""
    return f"{form(median(values))} ({form(min(values))} to {form(max(values))})" if values else "–"


def geometric(values: Iterable[float]) -> float:
    """The mean for ratios."""
    return exp(mean(log(value) for value in values))


def made_with(header: Record) -> str:
    """Machine, date, versions."""
    return f"{header['cpu']}, {header['platform']}, {header['date']}; Python {header['python']}, {versions(header)}"


# ---- without noise ------------------------------------------------------------------------------


def both_met(results: list[Record], name: str) -> list[tuple[Record, Record]]:
    """The results of a solver beside hadaflow's, of the problems in which both met the target."""
    rows = ({r["entrant"]: r for r in row if r["target_met"]} for row in report.rows(results))
    return [(row[name], row[OURS]) for row in rows if {name, OURS} <= set(row)]


def exact_line(results: list[Record], name: str) -> list[str]:
    """One solver: how often it met the target, its times over hadaflow's, its accuracy."""
    pairs = both_met(results, name)
    ratios = [theirs["seconds"] / ours["seconds"] for theirs, ours in pairs]
    met = [r for r in results if r["entrant"] == name and r["target_met"]]
    accuracy = [f"{median(abs(r[key]) for r in met):.0e}" for key in ("excess", "feasibility")]
    times = ["1", "", ""] if name == OURS else [spread(ratios), *(str(sum(c)) for c in both_sides(ratios))]
    return [name, f"{len(met)} of {len(report.rows(results))}", *times, *accuracy]


def both_sides(ratios: list[float]) -> tuple[list[bool], list[bool]]:
    """Where hadaflow is faster, and where the other is."""
    return [r > 1 for r in ratios], [r < 1 for r in ratios]


def class_line(title: str, rows: list[list[Record]]) -> list[str]:
    """One class of problems: where hadaflow leads most, and where it is farthest behind."""
    leads, losses = [], []
    for row in rows:
        ours = next(r for r in row if r["entrant"] == OURS)
        best = report.fastest([r for r in row if r is not ours])
        if best is None:
            continue
        ratio = best["seconds"] / ours["seconds"] if ours["target_met"] else 0.0
        where = f"({best['entrant']}; {ours['m']} × {ours['n']}, s = {ours['s']})"
        (leads if ratio >= 1 else losses).append((ratio, where))
    ahead, behind = max(leads, default=None), min(losses, default=None)
    lead = "–" if ahead is None else f"**{factor(ahead[0])}** {ahead[1]}"
    loss = "–" if behind is None else f"**{factor(1 / behind[0]) if behind[0] else '∞'}** {behind[1]}"
    return [title, f"{len(won(rows))} of {len(rows)}", lead, loss]


def won(rows: list[list[Record]]) -> list[list[Record]]:
    """The problems in which hadaflow is the fastest at the target."""
    return [row for row in rows if (best := report.fastest(row)) and best["entrant"] == OURS]


def exact_part(header: Record, results: list[Record]) -> str:
    """Basis pursuit."""
    classes: dict[str, list[list[Record]]] = {}
    for row in report.rows(results):
        classes.setdefault(row[0]["title"], []).append(row)
    solvers = ["solver", "met the target", f"time / {OURS}'s", "slower in", "faster in", "ℓ1 excess", "residual"]
    by_class = ["class", f"{OURS} fastest", "times faster than the next, at most", "times slower, at most"]
    return f"""## Measurements without noise

Minimise ‖x‖₁ subject to A x = y, dense and sparse matrices from 100 × 400 to 2000 × 10000, {len(report.rows(results))}
problems of {len(classes)} classes, one thread. The target is an ℓ1 norm within {header["excess_target"]:g} of the
least and a residual within {header["feasibility_target"]:g}; a run may take {header["limit"]:g} s. Ratios are of
problems in which both met it: median (least to most); those in which the other did not are in no ratio. Accuracies are
medians of the runs that met the target (HiGHS is itself the reference where it ends). {OURS} is `recover(A, y)`, its
certificate included.

{table(solvers, (exact_line(results, name) for name in header["entrants"]))}

scikit-learn's is `lars_path`. "celer + refit" is celer's Lasso at shrinking penalties, with least squares on its
support until that solves `A x = y`: two lines by hand, without a proof that the answer is the minimiser.

{table(by_class, (class_line(title, rows) for title, rows in classes.items()))}

Records: [basis pursuit](../benchmarks/results/basis_pursuit.md); {made_with(header)}.
"""


# ---- pictures -----------------------------------------------------------------------------------


def goal_line(rows: list[list[Record]], name: str) -> list[str]:
    """One solver on exactly sparse pictures: how often and how fast it came to the goal."""
    found = [{r["entrant"]: r for r in row} for row in rows]
    ours = f"{OURS}.recover"
    reached = [row[name] for row in found if row[name]["seconds"] is not None]
    ratios = [r[name]["seconds"] / r[ours]["seconds"] for r in found if r[name]["seconds"] and r[ours]["seconds"]]
    best = sum(row[name] in imaging_report.winners(list(row.values())) for row in found)
    times = "1" if name == ours else spread(ratios)
    return [name, f"{len(reached)} of {len(rows)}", times, str(best), f"{median(r['snr'] for r in reached):.0f} dB"]


def noisy_line(rows: list[list[Record]], name: str) -> list[str]:
    """One solver on pictures with noise, beside SPGL1."""
    mine = [next(r for r in row if r["entrant"] == name) for row in rows]
    peers = [next(r for r in row if r["entrant"] == "SPGL1 bpdn") for row in rows]
    gains = [a["snr"] - b["snr"] for a, b in zip(mine, peers, strict=True)]
    times = [a["seconds"] / b["seconds"] for a, b in zip(mine, peers, strict=True)]
    best = sum(a in imaging_report.winners(row) for a, row in zip(mine, rows, strict=True))
    cells = ["0", "1"] if name == "SPGL1 bpdn" else [spread(gains, "{:+.2f}".format), spread(times)]
    return [name, cells[0], f"{best} of {len(rows)}", cells[1], f"{median(r['products'] for r in mine):.0f}"]


def imaging_part(header: Record, results: list[Record]) -> str:
    """Pictures: products with A only."""
    rows = {kind: imaging_report.rows(results, kind) for kind in ("exact", "sparse", "photograph")}

    def names(kind: str) -> list[str]:
        return [name for name in header["entrants"] if any(r["entrant"] == name for r in rows[kind][0])]

    goal = ["solver", f"reached {header['goal']:g} dB", f"time / {OURS}.recover's", "fastest in", "ends at (median)"]
    noisy = ["solver", "SNR − SPGL1's (dB)", "best in", "time / SPGL1's", "products (median)"]
    with_noise = rows["sparse"] + rows["photograph"]
    nobody = sum(not imaging_report.winners(row) for row in with_noise)
    return f"""## Pictures and operators

{results[0]["n"]} wavelet coefficients from {results[0]["m"]} cosine samples of a picture; A is an operator. "FISTA" is
PyLops', "Douglas-Rachford" PyProximal's with a projection written by hand, its step chosen and its time stopped
by who knows the truth. Exactly sparse, without noise:

{table(goal, (goal_line(rows["exact"], name) for name in names("exact")))}

Exactly sparse, with 1, 3 and 10 % noise of known norm:

{table(noisy, (noisy_line(rows["sparse"], name) for name in names("sparse")))}

Photographs, likewise; best is the largest signal-to-noise ratio, or one within {imaging_report.TIE:g} dB of it:

{table(noisy, (noisy_line(rows["photograph"], name) for name in names("photograph")))}

In {nobody} of the {len(with_noise)} with noise the back-projection `Aᵀy` is better than
any solver. One instance a row. Records: [pictures](../benchmarks/results/imaging.md); {made_with(header)}.
"""


# ---- regression ---------------------------------------------------------------------------------


def estimator_line(rows: list[regression_report.Row], name: str) -> list[str]:
    """One estimator in all cells of a size, beside hadaflow."""
    error = f"{mean(row.mean(name) for row in rows):.2f}"
    times = [
        theirs["cpu"] / ours["cpu"]
        for row in rows
        for theirs, ours in zip(row.records[name], row.records[OURS], strict=True)
    ]
    if name == OURS:
        return [name, error, "1", "", "", "1"]
    ratios = [row.mean(OURS) / row.mean(name) for row in rows]
    better = sum(ratio * regression_report.TIE < 1 for ratio in ratios)
    worse = sum(ratio > regression_report.TIE for ratio in ratios)
    cells = [f"{geometric(ratios):.2f}", f"{better} of {len(rows)}", f"{worse} of {len(rows)}"]
    return [name, error, *cells, factor(median(times))]


def part_lines(rows: list[regression_report.Row]) -> Iterable[list[str]]:
    """hadaflow's error over that of each other, by kind of problem."""
    for position, form in enumerate(("{}", "k = {}", "σ = {}")):
        for label in dict.fromkeys(row.labels[position] for row in rows):
            part = [row for row in rows if row.labels[position] == label]
            peers = [name for name in part[0].records if name not in regression_report.OURS]
            ratios = [geometric(row.mean(OURS) / row.mean(name) for row in part) for name in peers]
            yield [form.format(label), *(f"**{r:.2f}**" if r > regression_report.TIE else f"{r:.2f}" for r in ratios)]


def regression_part(header: Record, results: list[Record]) -> str:
    """Sparse regression with noise."""
    sizes = regression_report.sizes(results)
    columns = [
        "estimator",
        "error / oracle's",
        f"{OURS}'s error / its",
        f"{OURS} better in",
        "worse in",
        "CPU time / ours",
    ]
    tables = "\n\n".join(
        f"{size.replace('x', ' × ')}, {len(rows)} settings of {rows[0].seeds} draws:\n\n"
        + table(columns, (estimator_line(rows, name) for name in rows[0].records))
        for size, rows in sizes.items()
    )
    first, rows = next(iter(sizes.items()))
    peers = [name for name in rows[0].records if name not in regression_report.OURS]
    return f"""## Regression with noise

Coefficients ±1 at k places, four designs, noise of standard deviation σ; nobody is told k or σ. The error is that of
the coefficients, over that of least squares on the true support. LassoCV, OMP CV, relaxed and adaptive lasso are
scikit-learn's or built on it, MCP CV is skglm's; "hadaflow" is `SparseFlowRegressor()`, "hadaflow CV" is
`SparseFlowRegressorCV()`. Better and worse: by more than {100 * (regression_report.TIE - 1):.1f} %.

{tables}

{first.replace("x", " × ")} by kind of problem: hadaflow's error over that of each other. **Above 1** the other is
better.

{table(["", *peers], part_lines(rows))}

Records: [regression](../benchmarks/results/regression.md); {made_with(header)}.
"""


# ---- training -----------------------------------------------------------------------------------


def training_part(records: list[Record]) -> str:
    """Gradient descent beside PyTorch."""
    header = next(r for r in records if r["kind"] == "run")

    def times(record: Record, name: str) -> str:
        pairs = zip(record["seconds"][name], record["seconds"][OURS], strict=True)
        return factor(median(theirs / ours for theirs, ours in pairs))

    lines = [
        [f"{r['m']} × {r['n']}, depth {r['depth']}", str(r["threads"]), times(r, "autograd"), times(r, "explicit")]
        for r in records
        if r["kind"] == "pytorch"
    ]
    return f"""## Gradient descent as such

`hf.descend` beside loops in PyTorch on the CPU, the same steps in float32; time over hadaflow's.

{table(["problem", "threads", "autograd", "gradient written out"], lines)}

Records: [training](../benchmarks/results/descent.md); {made_with(header)}.
"""


# ---- page ---------------------------------------------------------------------------------------


def in_short(exact: list[Record], pictures: list[Record], regression: list[Record]) -> str:
    """Where it wins and where it loses, in a few sentences."""
    rows = report.rows(exact)
    large, small = ([row for row in rows if (row[0]["m"] >= 500) == big] for big in (True, False))
    sparse = [row for row in rows if row[0]["problem"].startswith("sparse")]
    goal = imaging_report.rows(pictures, "exact")
    lost = sum(not any(imaging_report.is_ours(r) for r in imaging_report.winners(row)) for row in goal)
    photographs = imaging_report.rows(pictures, "photograph")
    flow = sum(any(imaging_report.is_ours(r) for r in imaging_report.winners(row)) for row in photographs)
    cells = [row for group in regression_report.sizes(regression).values() for row in group]
    best = sum(OURS in row.best for row in cells)
    behind = max(row.to_best_peer(OURS) for row in cells)
    noisy = [row.mean(OURS) / row.mean("LassoCV") for row in cells if row.labels[2] == "4"]
    return f"""## In short

- **Without noise** `recover` is the fastest at the target in {len(won(large))} of {len(large)} problems with 500 and
  more measurements, and in {len(won(small))} of {len(small)} with fewer. In {len(sparse)} of all these the matrix is
  sparse; there it is the fastest in {len(won(sparse))}, and HiGHS or celer with a refit in the others.
- **Pictures**, exactly sparse and without noise: Douglas-Rachford with a step chosen by hand is ahead in {lost} of
  {len(goal)}. Noisy photographs: `flow` is at least as good as all others in {flow} of {len(photographs)}, and takes
  several times as long as SPGL1.
- **Regression**: `SparseFlowRegressor` has the smallest error, or one that no table would tell from it, in {best} of
  {len(cells)} settings, and in the worst one {factor(behind)} times that of the best. Where noise drowns the signals
  (σ = 4), LassoCV's is smaller by {100 * (1 - 1 / geometric(noisy)):.0f} %.
"""


def page(folder: Path) -> str:
    """The whole page in markdown, from the records in a folder."""
    exact, pictures = (report.read(folder / f"{name}.jsonl") for name in ("basis_pursuit", "imaging"))
    regression = regression_report.read(folder / "regression.jsonl.gz")
    training = [json.loads(line) for line in (folder / "descent.jsonl").read_text("utf-8").splitlines()]
    parts = [
        INTRODUCTION,
        in_short(exact[1], pictures[1], regression[1]),
        exact_part(*exact),
        imaging_part(*pictures),
        regression_part(*regression),
        training_part(training),
        LIMITS,
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(RESULTS), encoding="utf-8")
    print(PAGE)
