"""Basis pursuit, side by side: hadaflow.recover and the solvers people use today, in one run.

    python benchmarks/basis_pursuit.py                 # the two smallest sizes, under two minutes
    python benchmarks/basis_pursuit.py --full          # every class and size: about an hour
    python benchmarks/basis_pursuit.py --classes gaussian cosine --sizes 500x2000 250x1000:80

Prints a markdown table while it runs; keeps the records as JSON lines and writes the report from them alone.
"""

from __future__ import annotations

import os

# Before NumPy is imported, here and in every process started from here.
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import report
from judging import EXCESS_TARGET, FEASIBILITY_TARGET, Judgement, best_reference, excess, judge, target_met
from machine import describe, keep, run_into
from peers import ENTRANTS, version_of
from problems import CLASSES, FULL_SIZES, QUICK_SIZES, Instance, ProblemClass, Size, cases
from workers import Outcome, Task, Workers

RESULTS = Path(__file__).parent / "results"
LEFT_TO_FULL = {"highs ipm"}  # the slowest of the four ways to run HiGHS on nearly every row


@dataclass(frozen=True)
class Plan:
    """What to run, and how long to wait for it."""

    classes: list[str]
    sizes: tuple[Size, ...]
    entrants: list[str]
    seed: int
    repeats: int
    limit: float
    patience: float  # a solver whose first run took longer than this is not repeated


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    options = parse(arguments)
    plan = plan_from(options)
    run_into(options.output, lambda file: run(plan, file), report.write)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--quick", action="store_true", help="the two smallest sizes (default)")
    mode.add_argument("--full", action="store_true", help="all sizes, 30 s a run")
    parser.add_argument("--classes", nargs="+", choices=list(CLASSES), default=list(CLASSES), metavar="CLASS")
    parser.add_argument("--sizes", nargs="+", type=Size.parse, metavar="MxN[:S]", help="sizes of your own")
    parser.add_argument("--entrants", nargs="+", choices=list(ENTRANTS), metavar="NAME")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, help="seconds a run (quick: 1.5, full: 30)")
    parser.add_argument("--output", type=Path, help="records file, ending in .jsonl; the report lies beside it")
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    # Only the full run has the name of the results that are kept.
    options.output = options.output or RESULTS / ("basis_pursuit.jsonl" if options.full else "quick.jsonl")
    options.output = options.output.with_suffix(".jsonl")
    return options


def plan_from(options: argparse.Namespace) -> Plan:
    """The plan that the command line asks for."""
    return Plan(
        classes=options.classes,
        sizes=tuple(options.sizes) if options.sizes else FULL_SIZES if options.full else QUICK_SIZES,
        entrants=options.entrants or [name for name in ENTRANTS if options.full or name not in LEFT_TO_FULL],
        seed=options.seed,
        repeats=options.repeats,
        limit=options.limit or (30.0 if options.full else 1.5),
        patience=3.0 if options.full else 0.15,
    )


def header(plan: Plan) -> report.Record:
    """What a reader of the records must know about the run."""
    versions = {name: version_of(name) for name in ("numpy", "scipy")}
    for name in plan.entrants:
        distribution = "scikit-learn" if ENTRANTS[name].package == "sklearn" else ENTRANTS[name].package
        versions[distribution] = ENTRANTS[name].version or "not installed"
    return {
        "kind": "run",
        **describe(),
        "versions": versions,
        "threads": 1,
        "entrants": plan.entrants,
        "settings": {name: ENTRANTS[name].settings for name in plan.entrants},
        "sizes": [f"{size}:{size.s}" for size in plan.sizes],
        "seed": plan.seed,
        "repeats": plan.repeats,
        "limit": plan.limit,
        "patience": plan.patience,
        "excess_target": EXCESS_TARGET,
        "feasibility_target": FEASIBILITY_TARGET,
    }


def run(plan: Plan, file: Any) -> None:
    """Run every case, print its row and keep its records."""
    keep(file, header(plan))
    print(report.time_head(plan.entrants), flush=True)
    too_slow: dict[tuple[str, str], list[Size]] = {}  # where a solver was over the limit in a class
    with Workers(plan.entrants, plan.limit) as workers:
        for problem, size in cases(plan.classes, plan.sizes):
            outcomes = solve_all(plan, workers, Task(problem.name, size, plan.seed), too_slow)
            row = records(problem, problem.draw(size, plan.seed), outcomes)
            for record in row:
                keep(file, record)
            print(report.time_line(row, plan.entrants), flush=True)


def solve_all(
    plan: Plan, workers: Workers, task: Task, too_slow: dict[tuple[str, str], list[Size]]
) -> dict[str, list[Outcome]]:
    """All runs of one problem, the solvers in turns, so that a busy moment of the machine meets all of them."""
    outcomes: dict[str, list[Outcome]] = {name: [] for name in plan.entrants}
    for turn in range(plan.repeats):
        for name, runs in outcomes.items():
            if turn and not (runs[0].seconds is not None and runs[0].seconds <= plan.patience):
                continue
            known = too_slow.setdefault((name, task.problem), [])
            slow = next((size for size in known if task.size.at_least_as_hard_as(size)), None)
            if not ENTRANTS[name].installed:
                runs.append(Outcome("not installed", message=f"{ENTRANTS[name].package} is not installed"))
            elif slow is not None:
                runs.append(Outcome("not tried", message=f"– (> {plan.limit:g} s at {slow})"))
            else:
                runs.append(workers[name].run(task))
                if runs[-1].status == "over limit" and not turn:
                    known.append(task.size)
    return outcomes


def records(problem: ProblemClass, instance: Instance, outcomes: dict[str, list[Outcome]]) -> list[report.Record]:
    """Judge the first answer of each solver and put everything known of it into one record."""
    answers = {name: runs[0].answer for name, runs in outcomes.items()}
    judged = {name: judge(instance, a.x, a.dual) for name, a in answers.items() if a is not None}
    optimal = {name for name, a in answers.items() if a is not None and a.optimal}
    reference, source = best_reference(judged, optimal)
    planted = float(abs(instance.planted).sum())
    shared = {
        "kind": "result",
        "problem": problem.name,
        "title": problem.title,
        "m": instance.size.m,
        "n": instance.size.n,
        "s": instance.s,
        "hard": instance.size.hard,
        "seed": instance.seed,
        "planted_l1": planted,
        "planted_is_minimal": None if reference is None else planted <= reference * (1 + 1e-7),
        "reference": reference,
        "reference_source": source,
    }
    return [
        shared | {"entrant": name} | one_record(runs, judged.get(name), reference) for name, runs in outcomes.items()
    ]


def one_record(runs: list[Outcome], judgement: Judgement | None, reference: float | None) -> report.Record:
    """What one solver did on one problem."""
    first = runs[0]
    seconds = [outcome.seconds for outcome in runs if outcome.seconds is not None]
    record: report.Record = {
        "status": first.status,
        "message": first.message,
        "seconds": median(seconds) if seconds else None,
        "runs": seconds,
        "warned": first.warned,
        "target_met": False,
        "details": {},
    }
    if judgement is None or first.answer is None:
        return record
    return record | {
        "claims_optimal": first.answer.optimal,
        "details": first.answer.details,
        "l1": judgement.l1,
        "excess": excess(judgement, reference),
        "feasibility": judgement.feasibility,
        "negativity": judgement.negativity,
        "nonzeros": judgement.nonzeros,
        "distance_to_planted": judgement.distance,
        "lower_bound": judgement.lower_bound,
        "gap": judgement.gap,
        "target_met": target_met(judgement, reference),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
