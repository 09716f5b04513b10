"""``hadaflow recover``: the sparse x, and the proof of its quality."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np

import hadaflow as hf
from hadaflow import plotting
from hadaflow.cli import _options as given
from hadaflow.cli._job import Job, Report, proof
from hadaflow.convergence import quietly
from hadaflow.results import ProgressCallback

ABOUT = f"""\
Recover the sparse x in [bold]y = A x[/bold] and prove how good it is. A and y may be complex.

{given.READS}
By default: the x of smallest l1 norm, with exact zeros. With --depth and --init-scale: the x at which gradient flow \
from that start ends. Of an option given twice, the last one counts.

Exit code: 0 recovered, 1 not converged, 2 bad input, 130 interrupted.
"""

EXAMPLES = """\
[bold]Examples[/bold]

[cyan]hadaflow recover A.npy y.npy --output x.npz[/cyan]

[cyan]hadaflow recover A.mtx y.csv --noise-level 0.1 --plot recovery.png[/cyan]

[cyan]hadaflow recover A.npy y.npy --groups 4[/cyan]

[cyan]hadaflow recover data.npz data.npz --json - | jq .certificate.gap[/cyan]
"""

_in_flow = partial(given.option, "Gradient flow")


class Method(StrEnum):
    """Which dynamics to follow."""

    AUTO = "auto"
    SADDLES = "saddles"
    LIMIT = "limit"


def recover(
    a_file: given.MatrixFile,
    y_file: given.VectorFile,
    *,
    positive: given.Positive = False,
    noise_level: Annotated[float, given.in_problem("S", "Stop once ||Ax - y|| <= S, in units of y")] = 0.0,
    weights: Annotated[Path | None, given.in_problem("FILE", "Weights of the l1 norm, one per column or group")] = None,
    groups: Annotated[str | None, given.in_problem("N|FILE", "Groups of x: their size, or a label per column")] = None,
    joint: Annotated[bool, given.in_problem("", "Columns of y have one support: x is a matrix", "--joint")] = False,
    real: Annotated[bool, given.in_problem("", "x is real though A and y are complex", "--real")] = False,
    depth: Annotated[float | None, _in_flow("D", "Number of factors, 1 or >= 2; with --init-scale")] = None,
    init_scale: Annotated[float | None, _in_flow("A", "Start of all factors, in x^(1/D); with --depth")] = None,
    method: Annotated[Method, _in_flow("NAME", "auto (default), saddles or limit")] = Method.AUTO,
    scheduler: given.Scheduler = None,
    output: given.NewFile = None,
    json_file: given.Json = None,
    plot: given.Plot = None,
    force: given.Force = False,
    quiet: given.Quiet = False,
) -> int:
    """Read, recover, save and report; the exit code."""
    options: dict[str, Any] = {
        "positive": positive,
        "joint": joint,
        "real": real,
        "noise_level": noise_level,
        "depth": depth,
        "init_scale": init_scale,
        "method": method.value,
    }
    size = int(groups) if groups is not None and groups.isdigit() else None
    labels = None if groups is None or size is not None else Path(groups)
    job = Job(
        "recover",
        {"A": a_file, "y": y_file, "weights": weights, "groups": labels},
        {"output": output, "json": json_file, "plot": plot},
        options | {"groups": size},
        force=force,
        quiet=quiet,
        scheduler=scheduler,
        tables=("y",) if joint else (),
    )

    def solve(data: dict[str, Any], progress: ProgressCallback | None) -> Report:
        chosen = {"weights": data["weights"], "groups": data["groups"] if size is None else size}
        result = quietly(hf.recover, data["A"], data["y"], progress=progress, **chosen, **options)
        return _report(result)

    return job.run(solve)


def _report(result: hf.Recovery) -> Report:
    certificate, stats, support, n = result.certificate, result.stats, result.support(), len(result.x)
    ways = ", then ".join(dict.fromkeys(stats.tried))
    nonzeros = int(np.count_nonzero(np.abs(result.x).reshape(n, -1).sum(axis=1)))
    count = f"{len(support)} of {n}"
    if nonzeros > len(support):
        count += " stand out; none is exactly zero"
    elif result.problem.groups.count not in (0, n):
        count += f", in {len(result.active_groups())} of {result.problem.groups.count} groups"
    return Report(
        status=result.status,
        problem=result.problem,
        messages={"hint": result.hint},
        summary={
            "certificate": asdict(certificate),
            "solution": {"nonzeros": nonzeros, "support_size": len(support)},
            "stats": asdict(stats),
        },
        rows={
            **proof(certificate, weighted=result.weights is not None),
            "worst row": f"{certificate.backward_error:.2g}  (|Ax - y| / (|A||x| + |y|), the largest)",
            "non-zeros": count,
            "unique": f"{'yes, proved' if certificate.unique else 'not proved'}  (margin {certificate.margin:.2g})",
            "time": f"{stats.seconds:.3g} s, {stats.passes:.4g} passes over A",
            "steps": f"{stats.events} events, {stats.newton_steps} Newton steps  ({ways})",
        },
        vectors={"output": ("x", result.x)},
        arrays={"x": result.x, "dual": result.dual, "support": support},
        draw=lambda: plotting.plot_recovery(result, axes=plotting.blank_figure().axes),
    )
