"""Gradient descent and gradient flow: what a step, a batch and a path cost, as ratios within one run.

    python benchmarks/descent.py                # small sizes and shortened runs, about a minute
    python benchmarks/descent.py --full         # everything, about ten minutes; with --whole, half an hour
    python benchmarks/descent.py --parts step flow

Keeps the records as JSON lines and writes the report from them alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import descent_report
import descent_runs
from machine import describe, installed, keep, run_into
from threadpoolctl import threadpool_info

import hadaflow as hf

RESULTS = Path(__file__).parent / "results"
PARTS = ("step", "numpy", "batch", "pytorch", "flow", "rules")


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    options = parse(arguments)
    effort = effort_from(options)
    run_into(options.output, lambda file: run(options.parts, effort, file), descent_report.write)


def run(parts: list[str], effort: descent_runs.Effort, file: Any) -> None:
    """Measure the parts and keep their records."""
    keep(file, header(effort))
    begin = time.perf_counter()
    for part in parts:
        for record in measure(part, effort):
            keep(file, record)
        print(f"{part}: done after {time.perf_counter() - begin:.0f} s", flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all sizes, longer runs")
    parser.add_argument(
        "--whole", action="store_true", help="the runs of paper B in full length, up to 3.2 million steps"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--threads", nargs="+", type=int, help="numbers of threads (default: 1 and all)")
    parser.add_argument("--repeats", type=int, help="turns (quick: 5, full: 9)")
    parser.add_argument("--output", type=Path, help="records file, ending in .jsonl; the report lies beside it")
    options = parser.parse_args(arguments)
    if options.repeats is not None and options.repeats < 1:
        parser.error("--repeats must be at least 1")
    # Only the full run has the name of the results that are kept.
    options.output = options.output or RESULTS / ("descent.jsonl" if options.full else "descent_quick.jsonl")
    options.output = options.output.with_suffix(".jsonl")
    return options


def effort_from(options: argparse.Namespace) -> descent_runs.Effort:
    """How much the command line asks for."""
    cores = os.cpu_count() or 1
    return descent_runs.Effort(
        sizes=((1000, 5000), (2000, 20_000)) if options.full else ((1000, 5000),),
        threads=tuple(options.threads or sorted({1, cores})),
        repeats=options.repeats or (9 if options.full else 5),
        block=0.1 if options.full else 0.05,
        most_steps=100_000 if options.full else 1000,
        most_training=5000 if options.full else 1000,
        whole=options.whole,
    )


def header(effort: descent_runs.Effort) -> descent_report.Record:
    """What a reader of the records must know about the run."""
    names = ("numpy", "scipy", "threadpoolctl", "torch")
    blas = {f"{lib['internal_api']} {lib['version']}" for lib in threadpool_info() if lib["user_api"] == "blas"}
    return {
        "kind": "run",
        **describe(),
        "versions": {"hadaflow": hf.__version__} | {name: installed(name) or "not installed" for name in names},
        "blas": ", ".join(sorted(blas)),
        "compiled": descent_runs.compiled(),
        "seed": effort.seed,
        "repeats": effort.repeats,
        "threads": list(effort.threads),
    }


def measure(part: str, effort: descent_runs.Effort) -> Iterator[descent_report.Record]:
    """The records of one part."""
    parts: dict[str, Callable[[], Iterable[descent_report.Record]]] = {
        "step": lambda: descent_runs.steps(effort),
        "numpy": lambda: without_kernel(effort),
        "batch": lambda: descent_runs.batch(effort),
        "pytorch": lambda: descent_runs.pytorch(effort),
        "flow": lambda: descent_runs.flow(effort),
        "rules": descent_runs.rules,
    }
    yield from parts[part]()


def without_kernel(effort: descent_runs.Effort) -> list[descent_report.Record]:
    """One step in a process of its own that has no compiled kernel."""
    before = os.environ.get("HADAFLOW_COMPILED")
    os.environ["HADAFLOW_COMPILED"] = "0"
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(descent_runs.steps_in_numpy, effort).result()
    finally:
        if before is None:
            del os.environ["HADAFLOW_COMPILED"]
        else:
            os.environ["HADAFLOW_COMPILED"] = before


if __name__ == "__main__":
    main(sys.argv[1:])
