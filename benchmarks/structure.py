"""Groups, complex data and joint columns, side by side: hadaflow, SPGL1, and interior points.

    python benchmarks/structure.py                     # 25 classes, three seeds: some minutes
    python benchmarks/structure.py --kinds complex     # classes whose names contain a word
    python benchmarks/structure.py --clarabel          # CVXPY with Clarabel, too: up to minutes a problem

Every answer is judged by the harness: its residual, and how far its norm is above the bound that the certificate of
hadaflow proves. Keeps the records as JSON lines and writes a report from them alone.
"""

from __future__ import annotations

import os

# Before NumPy is imported.
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import structure_report as report
from machine import describe, installed, keep, load, run_into
from structure_problems import KINDS, Drawn, draw

import hadaflow as hf

RESULTS = Path(__file__).parent / "results"
PATIENCE = 20.0  # seconds; who took longer is not repeated
Record = dict[str, Any]


def by_hadaflow(drawn: Drawn) -> tuple[np.ndarray, Record]:
    """Recover, certificate included."""
    r = hf.recover(drawn.A, drawn.y, **drawn.options)
    c = r.certificate
    return r.x, {
        "status": r.status.name,
        "gap": c.gap,
        "unique": c.unique,
        "bound": c.lower_bound,
        "by": r.stats.method,
    }


def by_spgl1(tolerance: float | None) -> Callable[[Drawn], tuple[np.ndarray, Record]]:
    """SPGL1: the functions that it has for complex data and for several columns, three of our own for groups."""

    def solve(drawn: Drawn) -> tuple[np.ndarray, Record]:
        import spgl1

        options = {} if tolerance is None else {"opt_tol": tolerance, "bp_tol": tolerance, "iter_lim": 20_000}
        if drawn.joint:
            return spgl1.spg_mmv(drawn.A, drawn.y, 0.0, **options)[0], {}
        if drawn.groups is None:
            return spgl1.spg_bp(drawn.A, drawn.y, **options)[0], {}
        from spgl1.spgl1 import spgl1 as core

        project, primal, dual = group_functions(drawn.groups)
        x = core(drawn.A, drawn.y, 0, 0, project=project, primal_norm=primal, dual_norm=dual, **options)[0]
        return x, {}

    return solve


def group_functions(width: int) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """What SPGL1 has to be told of groups of consecutive coordinates."""
    from spgl1.spgl1 import oneprojector

    def norms(x: np.ndarray) -> np.ndarray:
        return np.sqrt((x * x).reshape(-1, width).sum(axis=1))

    def project(x: np.ndarray, _weight: Any, tau: float) -> np.ndarray:
        size = norms(x)
        shrunk = oneprojector(size, 1, tau) if tau > 0 else 0 * size
        return x * np.repeat(np.divide(shrunk, size, out=np.zeros_like(size), where=size > 0), width)

    return project, lambda x, _w: float(norms(x).sum()), lambda x, _w: float(norms(x).max())


def by_clarabel(drawn: Drawn) -> tuple[np.ndarray, Record]:
    """CVXPY with Clarabel at 1e-10."""
    import cvxpy as cp

    columns = drawn.y.shape[1] if drawn.joint else 1
    x = cp.Variable((drawn.A.shape[1], columns), complex=np.iscomplexobj(drawn.A))
    y = drawn.y.reshape(len(drawn.y), -1)
    if drawn.groups is not None:
        size = cp.sum(cp.norm(cp.reshape(x[:, 0], (-1, drawn.groups), order="C"), axis=1))
    else:
        size = cp.sum(cp.norm(x, axis=1)) if columns > 1 else cp.sum(cp.abs(x))
    tight = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
    cp.Problem(cp.Minimize(size), [drawn.A @ x == y]).solve(solver=cp.CLARABEL, **tight)
    return np.asarray(x.value).reshape(drawn.A.shape[1], *drawn.y.shape[1:]), {}


ENTRANTS: dict[str, Callable[[Drawn], tuple[np.ndarray, Record]]] = {
    "hadaflow": by_hadaflow,
    "SPGL1": by_spgl1(None),
    "SPGL1 1e-9": by_spgl1(1e-9),
    "Clarabel": by_clarabel,
}


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", metavar="WORD", help="classes whose names contain one of these words")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clarabel", action="store_true", help="CVXPY with Clarabel, too")
    parser.add_argument("--output", type=Path, help="records file, ending in .jsonl; the report lies beside it")
    options = parser.parse_args(arguments)
    kinds = [name for name in KINDS if any(word in name for word in options.kinds or [""])]
    if not kinds or options.seeds < 1 or options.repeats < 1:
        parser.error("no class has such a name, or there is nothing to repeat")
    entrants = [name for name in ENTRANTS if options.clarabel or name != "Clarabel"]
    whole = len(kinds) == len(KINDS) and options.seeds >= 3
    output = (options.output or RESULTS / ("structure.jsonl" if whole else "structure_quick.jsonl")).with_suffix(
        ".jsonl"
    )

    def run(file: Any) -> None:
        versions = {name: installed(name) for name in ("numpy", "scipy", "spgl1", "cvxpy", "clarabel")}
        versions = {"hadaflow": hf.__version__} | versions
        keep(file, {"kind": "run", **describe(), "versions": versions, "seeds": options.seeds, "load": load()})
        for name in kinds:
            for seed in range(options.seeds):
                row = judged(name, seed, entrants, options.repeats)
                keep(file, row)
                print(report.line_of(row), flush=True)

    run_into(output, run, report.write)


def judged(name: str, seed: int, entrants: list[str], repeats: int) -> Record:
    """One problem, all entrants in turn; times are the least of the repeats, in CPU seconds."""
    drawn = draw(name, seed)
    row: Record = {"kind": "problem", "name": name, "seed": seed, "solvers": {}}
    for repeat in range(repeats):
        for entrant in entrants:
            mine = row["solvers"].setdefault(entrant, {"seconds": []})
            if "error" in mine or (repeat and mine["seconds"][0] > PATIENCE):
                continue
            begin = time.process_time()
            try:
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    x, told = ENTRANTS[entrant](drawn)
            except Exception as error:  # noqa: BLE001 - a peer that fails, however it does, is shown failing
                mine["error"] = f"{type(error).__name__}: {error}"[:80]
                continue
            mine["seconds"].append(time.process_time() - begin)
            mine |= {**told, "value": drawn.value(x), "residual": drawn.residual(x)}
    bound = row["solvers"]["hadaflow"]["bound"]
    for mine in row["solvers"].values():
        if "value" in mine:
            mine["excess"] = mine["value"] / bound - 1
    return row


if __name__ == "__main__":
    main()
