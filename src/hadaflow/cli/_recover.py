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
Recover the sparse x in [bold]y = A x[/bold] and prove how good it is.

{given.READS}
By default: the x of smallest l1 norm, with exact zeros. With --depth and --init-scale: the x at which gradient flow \
from that start ends. Of an option given twice, the last one counts.

Exit code: 0 recovered, 1 not converged, 2 bad input, 130 interrupted.
"""

EXAMPLES = """\
[bold]Examples[/bold]

[cyan]hadaflow recover A.npy y.npy --output x.npz[/cyan]

[cyan]hadaflow recover A.mtx y.csv --noise-level 0.1 --plot recovery.png[/cyan]

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
    weights: Annotated[Path | None, given.in_problem("FILE", "Weights of the l1 norm, one per column of A")] = None,
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
        "noise_level": noise_level,
        "depth": depth,
        "init_scale": init_scale,
        "method": method.value,
    }
    job = Job(
        "recover",
        {"A": a_file, "y": y_file, "weights": weights},
        {"output": output, "json": json_file, "plot": plot},
        options,
        force=force,
        quiet=quiet,
        scheduler=scheduler,
    )

    def solve(data: dict[str, Any], progress: ProgressCallback | None) -> Report:
        result = quietly(hf.recover, data["A"], data["y"], weights=data["weights"], progress=progress, **options)
        return _report(result)

    return job.run(solve)


def _report(result: hf.Recovery) -> Report:
    certificate, stats, support, n = result.certificate, result.stats, result.support(), len(result.x)
    dense, ways = np.count_nonzero(result.x) > len(support), ", then ".join(dict.fromkeys(stats.tried))
    return Report(
        status=result.status,
        problem=result.problem,
        messages={"hint": result.hint},
        summary={
            "certificate": asdict(certificate),
            "solution": {"nonzeros": int(np.count_nonzero(result.x)), "support_size": len(support)},
            "stats": asdict(stats),
        },
        rows={
            **proof(certificate, weighted=result.weights is not None),
            "worst row": f"{certificate.backward_error:.2g}  (|Ax - y| / (|A||x| + |y|), the largest)",
            "non-zeros": f"{len(support)} of {n}{' stand out; none is exactly zero' if dense else ''}",
            "unique": f"{'yes, proved' if certificate.unique else 'not proved'}  (margin {certificate.margin:.2g})",
            "time": f"{stats.seconds:.3g} s, {stats.passes:.4g} passes over A",
            "steps": f"{stats.events} events, {stats.newton_steps} Newton steps  ({ways})",
        },
        vectors={"output": ("x", result.x)},
        arrays={"x": result.x, "dual": result.dual, "support": support},
        draw=lambda: plotting.plot_recovery(result, axes=plotting.blank_figure().axes),
    )
