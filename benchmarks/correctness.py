"""Is anything said that is not so? Thousands of small problems, each answer judged in extended precision.

    python benchmarks/correctness.py                          # 5000 problems, some minutes on two cores
    python benchmarks/correctness.py --families weights --count 200 --output weights.jsonl.gz
    python benchmarks/correctness.py --one rows_in_units:11   # one problem: what was said, and what is wrong with it

Keeps a record per problem and writes a page of them beside it. Ends with 1 if anything said was not so.
"""

from __future__ import annotations

import os

# Before NumPy is imported, here and in every process started from here.
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import gzip
import json
import multiprocessing
import sys
import time
from pathlib import Path
from typing import Any

import correctness_report
from correctness_judge import check
from correctness_problems import FAMILIES, problems
from correctness_reference import EXTENDED
from machine import describe, installed

RESULTS = Path(__file__).parent / "results"


def main(arguments: list[str] | None = None) -> int:
    """Run the sweep, or one problem of it."""
    options = parse(arguments)
    if not EXTENDED:
        sys.exit("numpy.longdouble is no longer than float64 on this machine: it cannot judge")
    if options.one:
        name, _, seed = options.one.partition(":")
        verdict = check(name, int(seed))
        print("\n".join(f"{key:10s} {value}" for key, value in verdict.record().items()))
        return int(verdict.false)
    header = {"kind": "header", "count": options.count, **describe()}
    header |= {package: installed(package) for package in ("hadaflow", "numpy", "scipy")}
    records = run(problems(options.count, options.families), options.workers)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with gzip.GzipFile(options.output, "wb", mtime=0) as file:
        file.writelines((json.dumps(record, ensure_ascii=False) + "\n").encode() for record in [header, *records])
    page = correctness_report.write(options.output)
    false = [record for record in records if record["wrong"]]
    print(f"\n{len(records)} answers, {len(false)} with a claim that is not so. Page: {page}")
    return int(bool(false))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), metavar="FAMILY")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS / "correctness.jsonl.gz", help="ends in .jsonl.gz")
    parser.add_argument("--one", metavar="FAMILY:SEED")
    return parser.parse_args(arguments)


def run(chosen: list[tuple[str, int]], workers: int) -> list[dict[str, Any]]:
    """A record per problem, in the order of the problems however they are shared out."""
    begin, records = time.perf_counter(), []
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for record in pool.imap(_record, chosen, chunksize=10):
            records.append({"kind": "verdict", **record})
            if record["wrong"]:
                print(f"{record['family']}:{record['seed']}  {record['status']}: {', '.join(record['wrong'])}")
            if len(records) % 500 == 0:
                print(f"  {len(records)} of {len(chosen)}, {time.perf_counter() - begin:.0f} s", flush=True)
    return records


def _record(problem: tuple[str, int]) -> dict[str, Any]:
    return check(*problem).record()


if __name__ == "__main__":
    sys.exit(main())
