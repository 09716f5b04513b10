"""Sparse regression with noise, side by side: who finds the coefficients, without being told how many there are.

    python benchmarks/regression.py                                  # four cells, three seeds: a minute or two
    python benchmarks/regression.py --cells full --jobs 2            # the whole grid: hours
    python benchmarks/regression.py --cells full --only-size 200x600 --entrants hadaflow --fresh hadaflow

Appends to the records it finds: a run that was broken off goes on where it was, and what is there is not computed
again, except for entrants named by --fresh whose code has changed since. Seeds come in the outer loop, so that a part
of a run is a run with fewer seeds. Writes the report from the records alone.
"""

from __future__ import annotations

import os

# Before NumPy is imported, here and in every process started from here.
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import regression_report
from machine import describe, installed, keep, run_into
from regression_entrants import ENTRANTS
from regression_problems import GRIDS, SIZES, Cell
from regression_runs import Task, measure

RESULTS = Path(__file__).parent / "results"


def main(arguments: list[str] | None = None) -> None:
    """Run what is missing and write the report."""
    options = parse(arguments)
    run_into(
        options.records,
        lambda file: run(options, file),
        lambda records: regression_report.write(records, options.report),
        mode="a",
    )


def run(options: argparse.Namespace, file: Any) -> None:
    """Run what the records lack, and add it to them."""
    cells = [cell for cell in GRIDS[options.cells] if options.only_size in {None, cell.size}]
    regression_report.mend(options.records)
    known = regression_report.read(options.records)[1]
    tasks = list(missing(cells, options.seeds, options.entrants, known, options.fresh))
    if tasks:
        keep(file, header(options.entrants))
    for done, records in enumerate(results(tasks, options.jobs), 1):
        for record in records:
            keep(file, record)
        print(f"{done} of {len(tasks)}: {records[0]['cell']}, seed {records[0]['seed']}", flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    there = [name for name, entrant in ENTRANTS.items() if entrant.installed]
    sizes = [f"{rows}x{columns}" for rows, columns in SIZES]
    parser.add_argument("--cells", choices=list(GRIDS), default="quick", help="core: the corners of the full grid")
    parser.add_argument("--only-size", choices=sizes, metavar="MxN")
    parser.add_argument("--entrants", nargs="+", choices=list(ENTRANTS), default=there, metavar="NAME")
    parser.add_argument("--fresh", nargs="+", choices=list(ENTRANTS), default=[], metavar="NAME")
    parser.add_argument("--seeds", type=int, help="a cell (quick: 3, else 20)")
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread")
    parser.add_argument("--records", type=Path, help="file, ending in .jsonl, that is added to")
    parser.add_argument("--report", type=Path, help="file to write (default: beside the records)")
    options = parser.parse_args(arguments)
    options.seeds = options.seeds or (3 if options.cells == "quick" else 20)
    if options.seeds < 1 or options.jobs < 1:
        parser.error("--seeds and --jobs must be at least 1")
    absent = [name for name in options.entrants if name not in there]
    if absent:
        parser.error(f"not installed: {', '.join(absent)}; pip install 'hadaflow[bench]' or leave them out")
    # Only the grid that is kept has the name of the results that are kept.
    name = "regression_quick.jsonl" if options.cells == "quick" else "regression.jsonl"
    options.records = (options.records or RESULTS / name).with_suffix(".jsonl")
    return options


def header(entrants: list[str]) -> regression_report.Record:
    """What a reader of the records must know about a run."""
    packages = dict.fromkeys(["numpy", "scipy", *(ENTRANTS[name].distribution for name in entrants)])
    return {
        "kind": "run",
        **describe(),
        "versions": {package: installed(package) or "not installed" for package in packages},
        "settings": {name: ENTRANTS[name].settings for name in entrants},
    }


def missing(
    cells: Iterable[Cell],
    seeds: int,
    entrants: list[str],
    known: Iterable[regression_report.Record],
    fresh: Iterable[str] = (),
) -> Iterator[Task]:
    """What is still to be run; seeds in the outer loop."""
    codes = {name: ENTRANTS[name].code for name in fresh}
    done = {(r["cell"], r["seed"], r["entrant"]) for r in known if r["code"] == codes.get(r["entrant"], r["code"])}
    cells = list(cells)
    for seed in range(seeds):
        for cell in cells:
            names = tuple(name for name in entrants if (cell.name, seed, name) not in done)
            if names:
                yield Task(cell, seed, names)


def results(tasks: list[Task], jobs: int) -> Iterator[list[regression_report.Record]]:
    """The records of each task, as they come."""
    if jobs == 1:
        yield from map(measure, tasks)
        return
    from joblib import Parallel, delayed

    yield from Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(measure)(task) for task in tasks)


if __name__ == "__main__":
    main(sys.argv[1:])
