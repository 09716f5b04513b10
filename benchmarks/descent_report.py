"""Tables from the records of a run of benchmarks/descent.py, and from nothing else.

    python benchmarks/descent_report.py benchmarks/results/descent.jsonl

writes the same report again without running anything.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

from pages import MISSED, Record, loads, read, table, table_head, table_line, versions
from pages import write as write_page

MOST_OF_PRODUCTS, MOST_OF_READING, MOST_OF_SINGLE = 0.6, 1.3, 6.0
LEAST_OF_AUTOGRAD, LEAST_OF_STEPS = 2.0, 100.0


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Turn by turn."""
    return [a / b for a, b in zip(above, below, strict=True)]


def spread(values: Sequence[float], form: str = ".2f", most: float | None = None, least: float | None = None) -> str:
    """Median and quartiles, marked where the median misses a target."""
    middle = median(values)
    missed = (most is not None and middle > most) or (least is not None and middle < least)
    text = f"**{middle:{form}}**" if (most is not None or least is not None) and not missed else f"{middle:{form}}"
    if len(values) > 1:
        low, _, high = quantiles(values, n=4, method="inclusive")
        text += f" ({low:{form}}–{high:{form}})"
    return text + (MISSED if missed else "")


def duration(value: float) -> str:
    """Seconds, in the unit that suits them."""
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e6:.3g} µs"


def _of(results: list[Record], kind: str) -> list[Record]:
    return [record for record in results if record["kind"] == kind]


def _shape(record: Record) -> str:
    return f"{record['m']} × {record['n']}"


def _load(record: Record) -> str:
    return "–" if record["load"] is None else f"{record['load']:.1f}"


def step_table(results: list[Record]) -> str:
    """One step beside NumPy's products and one reading of A."""
    columns = ["m × n", "type", "order", "depth", "kernel", "threads", "load", "a step", "/ NumPy's products"]
    lines = []
    for r in _of(results, "step"):
        seconds = r["seconds"]
        ours = seconds[str(r["depth"])]
        target = r["compiled"]
        cells = [_shape(r), r["dtype"], r["order"], r["depth"], "C" if r["compiled"] else "NumPy", r["threads"]]
        cells.append(_load(r))
        cells += [
            duration(median(ours)),
            spread(ratios(ours, seconds["numpy"]), most=MOST_OF_PRODUCTS if target else None),
            spread(ratios(ours, seconds["read"]), most=MOST_OF_READING if target else None),
        ]
        lines.append(cells)
    return table([*columns, "/ reading A once"], lines)


def batch_table(results: list[Record]) -> str:
    """Many starts beside one run."""
    lines = [table_head(["m × n", "type", "threads", "load", "starts", "a step of all", "/ a step of one run"])]
    for r in _of(results, "batch"):
        both = r["seconds"]["batch"], r["seconds"]["single"]
        cells = [_shape(r), r["dtype"], r["threads"], _load(r), r["starts"], duration(median(both[0]))]
        lines.append(table_line([*cells, spread(ratios(*both), most=MOST_OF_SINGLE)]))
    return "\n".join(lines)


def pytorch_table(results: list[Record]) -> str:
    """Paper B's convergence experiment beside PyTorch."""
    found = _of(results, "pytorch")
    if any(r.get("missing") for r in found):
        return "PyTorch is not installed."
    lines = [
        table_head(["depth", "steps", "threads", "load", "hadaflow", "autograd / ours", "explicit / ours", "apart"])
    ]
    for r in found:
        seconds, ours = r["seconds"], r["seconds"]["hadaflow"]
        count = str(r["steps"]) if r["steps"] == r["length"] else f"{r['steps']} of {r['length']}"
        cells = [r["depth"], count, r["threads"], _load(r), duration(median(ours))]
        cells.append(spread(ratios(seconds["autograd"], ours), least=LEAST_OF_AUTOGRAD))
        lines.append(table_line([*cells, spread(ratios(seconds["explicit"], ours)), f"{r['apart']:.1e}"]))
    return "\n".join(lines)


def flow_table(results: list[Record]) -> str:
    """The flow beside descent step by step."""
    columns = ["depth", "iterations", "way", "seconds", "descend / flow", "window starts", "window stops"]
    lines = [table_head(columns)]
    for r in _of(results, "flow"):
        windows, walked = r["windows"], r["seconds"]["descend"]
        reference = windows.get("descend")
        for name, seconds in r["seconds"].items():
            scaled = name == "descend" and r["steps"] < r["length"]
            faster = "–"
            if name != "descend":
                faster = spread(ratios(walked, seconds), ".3g", least=LEAST_OF_STEPS if r["depth"] == 4 else None)
            marks = [
                _mark(windows.get(name), reference if name != "descend" else None, place, r["length"])
                for place in (0, 1)
            ]
            cells = [r["depth"], r["length"], _way(name), duration(median(seconds)) + (" ‡" if scaled else "")]
            lines.append(table_line([*cells, faster, *marks]))
    return "\n".join(lines)


def _way(name: str) -> str:
    return "descend" if name == "descend" else f"flow, tolerance {float(name.split()[1]):g}"


def _mark(window: list[float | None] | None, reference: list[float | None] | None, place: int, length: int) -> str:
    if window is None:
        return "–"
    here = window[place]
    if here is None or not here < float("inf"):
        return f"not in {length}"
    there = None if reference is None else reference[place]
    return f"{here:.0f}" + ("" if there is None else f" ({(here - there) / there:+.2%})")


def rules_table(results: list[Record]) -> str:
    """Iterations of the step rules."""
    found = _of(results, "rules")
    if not found:
        return "Not run."
    goals = list(found[0]["reached"])
    lines = [table_head(["step rule", *(f"error ≤ {goal}" for goal in goals), "passes over A", "seconds"])]
    for r in found:
        counts = [f"> {r['most']}" if r["reached"][goal] is None else str(r["reached"][goal]) for goal in goals]
        lines.append(table_line([r["rule"], *counts, f"{r['passes']:.0f}", f"{r['seconds']:.2g}"]))
    return "\n".join(lines)


def unmet(results: list[Record]) -> str:
    """The rows whose median misses its target, one line each."""
    lines = []
    for r in results:
        where = ", ".join(f"{key} {r[key]}" for key in ("dtype", "order", "depth", "threads") if key in r)
        for ratio, target, below in _judged(r):
            if (ratio > target) if below else (ratio < target):
                lines.append(
                    f"- {r['kind']}, {_shape(r)}, {where}: {ratio:.2f}, target {'≤' if below else '≥'} {target:g}."
                )
    return "\n".join(lines) or "None."


def _judged(r: Record) -> list[tuple[float, float, bool]]:
    """Median ratio, target, and whether the ratio is to be below it."""
    seconds = r.get("seconds")
    if r["kind"] == "step" and r["compiled"]:
        ours = seconds[str(r["depth"])]
        return [
            (median(ratios(ours, seconds["numpy"])), MOST_OF_PRODUCTS, True),
            (median(ratios(ours, seconds["read"])), MOST_OF_READING, True),
        ]
    if r["kind"] == "batch":
        return [(median(ratios(seconds["batch"], seconds["single"])), MOST_OF_SINGLE, True)]
    if r["kind"] == "pytorch" and not r.get("missing"):
        return [(median(ratios(seconds["autograd"], seconds["hadaflow"])), LEAST_OF_AUTOGRAD, False)]
    if r["kind"] == "flow" and r["depth"] == 4:
        return [(median(ratios(seconds["descend"], seconds["flow 1e-06"])), LEAST_OF_STEPS, False)]
    return []


def report(header: Record, results: list[Record]) -> str:
    """The whole report in markdown."""
    range_of_loads = loads(results)
    load = f" Load average during the run: {range_of_loads}." if range_of_loads else ""
    experiment = next(iter(_of(results, "rules")), {"m": 250, "n": 10_000, "k": 7, "largest": 64})
    return f"""# Gradient descent and gradient flow

Seconds within one run on one machine; only the ratios mean anything elsewhere. Everything in a row was timed in turns
(A, B, C, A, B, C, …, {header["repeats"]} times); a ratio is taken turn by turn, and shown as median (quartiles).
**Bold**: target met; {MISSED}: missed.

- Machine: {header["cpu"]}; {header["platform"]}; Python {header["python"]}.{load}
- Versions: {versions(header)}.
- BLAS: {header["blas"]}. Compiled kernel: {"yes" if header["compiled"] else "no"}.
- Seeds: {header["seed"]} for the matrices of the first two tables, 42 for the others.

## One step

A constant step with the entrywise update of all factors, in a run that records nothing; from its first moment to its
last. Gaussian A. NumPy's products: `A.T @ (A @ w - y)`, without any update. Reading A once: `np.vdot(A, A)`. Targets:
at most {MOST_OF_PRODUCTS:g} and {MOST_OF_READING:g}.

Load: how many processes, this one among them, wanted a core in the last minute. Rows with more threads than free cores
tell how each shares the machine with others, and no more: BLAS keeps its threads spinning for some 30 ms after a
product, and collapses where another process holds a core; so turns are three times as long there, with a pause before
each.

{step_table(results)}

## {next((r["starts"] for r in _of(results, "batch")), 16)} starts at once

`descend_batch` at depth 2, without recording. Target: at most {MOST_OF_SINGLE:g} single runs.

{batch_table(results)}

## Beside PyTorch

The convergence experiment of paper B: 500 × 3000 Rademacher, float32, product scale 1e-6, step 0.2 / D². "autograd" is
the loop of that paper (`loss.backward()`), "explicit" writes the gradient out under `no_grad`. Target: at least
{LEAST_OF_AUTOGRAD:g} times faster than autograd. Apart: largest difference of an entry of x between the loops.

{pytorch_table(results)}

## In continuous time

Early stopping coordinate by coordinate, paper B: 100 × 200 Rademacher, five ones, noise 0.5, init scale 0.005, step
0.01. The window starts when all five are within 0.1 of 1 and stops when another entry passes 0.005^(D/4), found with
`FlowPath.first`, whose seconds count; iterations are time · m / (2 step). In brackets: distance from descent step by
step, most of which is the difference between steps and flow. One thread. Target at depth 4, at the default tolerance
1e-6: at least {LEAST_OF_STEPS:g} times faster.

{flow_table(results)}

‡ scaled up from fewer steps.

## Step rules

{_shape(experiment)} Rademacher; {experiment["k"]} entries 1, −2, 4, … up to {experiment["largest"]} in size, no noise,
depth 2, init scale 1e-12, one run each. Iterations until ‖x − truth‖ / ‖truth‖ is below the error. The constant step is
1 / (20 max |truth|), the first step of the increasing rule up to its estimate of that maximum.

{rules_table(results)}

## Targets missed

{unmet(results)}
"""


def write(records: Path) -> Path:
    """Write the report beside the records."""
    return write_page(records.with_suffix(".md"), lambda _: report(*read(records)))


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
