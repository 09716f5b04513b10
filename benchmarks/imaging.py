"""Pictures from 35 % of their cosine samples, side by side: hadaflow and first-order solvers, with products only.

    python benchmarks/imaging.py                      # all rows at 256 x 256: some ten minutes
    python benchmarks/imaging.py --rows phantom       # rows whose names contain a word
    python benchmarks/imaging.py --size 64 --repeats 1

Exactly sparse coefficients without noise: time and products to 80 dB, and where each solver ends. With noise: the
signal-to-noise ratio reached. Prints a markdown table while it runs; keeps the records as JSON lines and writes the
report from them alone.
"""

from __future__ import annotations

import os

# Before NumPy is imported.
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import argparse
import math
import sys
from pathlib import Path
from statistics import median
from typing import Any

import imaging_report as report
import numpy as np
from imaging_problems import ROWS, Instance
from imaging_solvers import ENOUGH, ENTRANTS, GOAL, Entrant, Point, Run
from machine import describe, keep, load, run_into
from peers import version_of

RESULTS = Path(__file__).parent / "results"
SIZES = (32, 64, 128, 256, 512)
NEAR_END = 0.05  # dB; a noisy run that is watched counts from where it stays this near to its end
PATIENCE = 20.0  # seconds; a solver whose first run took longer is not repeated
DISTRIBUTIONS = ("numpy", "scipy", "hadaflow", "spgl1", "pyproximal", "pylops", "PyWavelets")


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    options = parse(arguments)
    warm_up(options.entrants)
    run_into(options.output, lambda file: run(options, file), report.write)


def run(options: argparse.Namespace, file: Any) -> None:
    """Run every row, print it and keep its records."""
    keep(file, header(options))
    for name in options.chosen:
        row = solve_all(options, ROWS[name].draw(options.size, options.seed))
        for record in row:
            keep(file, record)
        print(report.plain_line(row), flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", metavar="WORD", help="rows whose names contain one of these words")
    parser.add_argument("--entrants", nargs="+", choices=list(ENTRANTS), default=list(ENTRANTS), metavar="NAME")
    parser.add_argument("--size", type=int, choices=SIZES, default=256, help="pixels a side (default: 256)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, help="records file, ending in .jsonl; the report lies beside it")
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    options.chosen = [name for name in ROWS if any(word in name for word in options.rows or [""])]
    if not options.chosen:
        parser.error(f"no row has a name with {' or '.join(options.rows)}; there are: {'; '.join(ROWS)}")
    # Only the whole run has the name of the results that are kept.
    whole = len(options.chosen) == len(ROWS) and options.entrants == list(ENTRANTS) and options.size == 256
    options.output = options.output or RESULTS / ("imaging.jsonl" if whole else "imaging_quick.jsonl")
    options.output = options.output.with_suffix(".jsonl")
    return options


def header(options: argparse.Namespace) -> report.Record:
    """What a reader of the records must know about the run."""
    return {
        "kind": "run",
        **describe(),
        "versions": {name: version_of(name) for name in DISTRIBUTIONS},
        "threads": 1,
        "entrants": options.entrants,
        "settings": {name: ENTRANTS[name].settings for name in options.entrants},
        "size": options.size,
        "seed": options.seed,
        "repeats": options.repeats,
        "patience": PATIENCE,
        "goal": GOAL,
        "enough": ENOUGH,
        "near_end": NEAR_END,
    }


def warm_up(entrants: list[str]) -> None:
    """Imports, plans of transforms and the like, on a small picture, before anything is timed."""
    for name in ("phantom, best terms", "phantom, best terms, 3 %"):
        instance = ROWS[name].draw(32, 0)
        for entrant in map(ENTRANTS.__getitem__, entrants):
            if entrant.installed and instance.kind in entrant.kinds:
                entrant.run(instance, next(iter(entrant.ladder.get(instance.kind, ())), None))


def solve_all(options: argparse.Namespace, instance: Instance) -> list[report.Record]:
    """All runs of one problem, the solvers in turns, so that a busy moment of the machine meets all of them."""
    runs: dict[str, list[Run]] = {}
    warned: dict[str, list[str]] = {}
    for turn in range(options.repeats):
        for name in options.entrants:
            entrant = ENTRANTS[name]
            if instance.kind not in entrant.kinds or not entrant.installed:
                continue
            if turn == 0:
                runs[name] = [best_of_ladder(entrant, instance)] if entrant.ladder else []
            elif runs[name][0].seconds > PATIENCE:
                continue
            if turn or not entrant.ladder:
                setting = runs[name][0].setting if turn else None
                run, warned[name] = entrant.run(instance, setting)
                runs[name].append(run)
    return [one_record(instance, options, name, done, warned.get(name, [])) for name, done in runs.items()]


def best_of_ladder(entrant: Entrant, instance: Instance) -> Run:
    """The run with the best setting: the first at the goal, or else the one that ends best."""
    best: Run | None = None
    for setting in entrant.ladder[instance.kind]:
        reached = None if best is None else reached_goal(best, instance)
        run, _ = entrant.run(instance, setting, math.inf if reached is None else reached.products)
        if best is None or merit(run, instance) > merit(best, instance):
            best = run
    assert best is not None
    if instance.kind == "exact":  # those that were given up would end early
        best, _ = entrant.run(instance, best.setting)
    return best


def merit(run: Run, instance: Instance) -> tuple[float, float]:
    """Fewest products to the goal first, then the quality of the end."""
    reached = reached_goal(run, instance)
    return -math.inf if reached is None else -reached.products, run.points[-1].snr


def reached_goal(run: Run, instance: Instance) -> Point | None:
    """Where a run counts as done: at the goal, or with noise where it stays near its end; None if never."""
    if instance.kind == "exact":
        return next((point for point in run.points if point.snr >= GOAL), None)
    end = run.points[-1].snr
    away = [k for k, point in enumerate(run.points) if abs(point.snr - end) > NEAR_END]
    return run.points[away[-1] + 1 if away else 0]


def one_record(
    instance: Instance, options: argparse.Namespace, name: str, runs: list[Run], warned: list[str]
) -> report.Record:
    """What one solver did on one problem."""
    reached = [point for run in runs if (point := reached_goal(run, instance)) is not None]
    last = runs[-1]
    A = instance.measure().operator
    residual = float(np.linalg.norm(A @ last.x - instance.y))
    record: dict[str, Any] = {
        "kind": "result",
        "row": instance.name,
        "of": instance.kind,
        "wavelet": instance.wavelet,
        "m": A.shape[0],
        "n": A.shape[1],
        "nonzeros": int(np.count_nonzero(instance.truth)),
        "seed": options.seed,
        "load": load(),
        "noise": instance.noise / float(np.linalg.norm(instance.y)),
        "back_projection": instance.snr(A.rmatvec(instance.y)),
        "entrant": name,
        "setting": last.setting,
        "seconds": median(point.seconds for point in reached) if reached else None,
        "runs": [point.seconds for point in reached],
        "products": reached[0].products if reached else None,
        "end_seconds": median(run.points[-1].seconds for run in runs),
        "end_products": last.points[-1].products,
        "snr": last.points[-1].snr,
        "residual": residual / instance.noise if instance.noise else residual / float(np.linalg.norm(instance.y)),
        "l1": float(np.abs(last.x).sum()),
        "true_l1": float(np.abs(instance.truth).sum()),
        "found_nonzeros": int(np.count_nonzero(last.x)),
        "remarks": last.remarks,
        "warned": warned,
    }
    return record


if __name__ == "__main__":
    main(sys.argv[1:])
