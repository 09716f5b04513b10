"""``hadaflow descend`` and ``hadaflow flow``: training from a given start, step by step or in continuous time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial, reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

import hadaflow as hf
from hadaflow import plotting
from hadaflow.cli import _options as given
from hadaflow.cli._job import Files, Job, Report, proof
from hadaflow.convergence import quietly
from hadaflow.results import ProgressCallback
from hadaflow.stopping import Discrepancy, MaxSteps, NullGradient, Residual, Rule, Validation

_DEPTH = 3.0
_START = 1e-6  # product scale relative to the size of x
_FITS = 1e-4  # residual up to which the l1 norm of x is compared with that of exact solutions
_RESIDUAL = 1e-8  # where a descent stops of which nothing is asked
_MOST_STEPS = 100_000
_PER_DECADE = 400  # snapshots kept of a descent: its jumps may be sudden
_MOST_BYTES = 2**28  # for their x, which only a picture needs

_ABOUT_BOTH = f"""\
{given.READS}
The start is a uniform --init-scale a; by default a^D is {_START:g} of the coefficient that the column of A which y \
points at most has alone. Training ends where the first of --residual, --noise-level, --sigma (standard \
deviation of the noise) and --validation says so; with --validation, the x of the smallest error is kept.
"""

_CODES = "Exit code: 0 stopped where asked, 1 not converged or diverged, 2 bad input, 130 interrupted (what is done \
is saved).\n"

ABOUT_DESCEND = f"""\
Train [bold]x = u^D - v^D[/bold] on [bold]y = A x[/bold] by gradient descent.

{_ABOUT_BOTH}
Without any of them: at relative residual {_RESIDUAL:g}, or after --max-steps, if given.

{_CODES}"""

ABOUT_FLOW = f"""\
Train [bold]x = u^D - v^D[/bold] on [bold]y = A x[/bold] by gradient flow, in continuous time.

{_ABOUT_BOTH}
Without any of them: at flow time --t-end or, by default, at the limit.

{_CODES}"""

EXAMPLES_DESCEND = """\
[bold]Examples[/bold]

[cyan]hadaflow descend A.npy y.npy --noise-level 0.1 --output x.npz --plot path.png[/cyan]

[cyan]hadaflow descend A.npy y.npy --depth 2 --init-scale 1e-3 --step 0.01 --max-steps 5000[/cyan]

[cyan]hadaflow descend A.npy y.npy --validation A2.npy y2.npy --json - | jq .training.time[/cyan]
"""

EXAMPLES_FLOW = """\
[bold]Examples[/bold]

[cyan]hadaflow flow A.npy y.npy --output x.npz --plot path.png[/cyan]

[cyan]hadaflow flow A.npy y.npy --depth 2 --init-scale 1e-3 --t-end 50 --average average.csv[/cyan]
"""

_in_model = partial(given.option, "Model and start")
_in_steps = partial(given.option, "Steps")
_in_stop = partial(given.option, "When to stop")

_Depth = Annotated[float, _in_model("D", f"Number of factors, 1 or >= 2 (default {_DEPTH:g})")]
_InitScale = Annotated[float | None, _in_model("A", "Start of all factors, in x^(1/D)")]
_Positive = Annotated[bool, _in_model("", "x = u^D, which is >= 0", "--positive")]
_Residual = Annotated[float | None, _in_stop("R", "Stop once ||Ax - y|| <= R ||y||")]
_NoiseLevel = Annotated[float | None, _in_stop("S", "Stop once ||Ax - y|| <= S, in units of y")]
_Sigma = Annotated[float | None, _in_stop("S", "Stop where noise S explains the rest")]
_Validation = Annotated[
    tuple[Path, Path] | None, _in_stop("A_FILE Y_FILE", "Stop at the smallest error on these data", "--validation")
]
_MaxSteps = Annotated[int | None, _in_stop("N", f"Stop after N steps (default {_MOST_STEPS})")]
_Average = Annotated[Path | None, given.in_output("FILE", "Save the running average: .npz .npy .csv")]


class Loss(StrEnum):
    """What is descended."""

    HALF = "half"
    MEAN = "mean"


def descend(
    a_file: given.MatrixFile,
    y_file: given.VectorFile,
    *,
    depth: _Depth = _DEPTH,
    init_scale: _InitScale = None,
    positive: _Positive = False,
    step: Annotated[str, _in_steps("S", "Their length, or auto (default): long but safe")] = "auto",
    loss: Annotated[Loss, _in_steps("NAME", "half (default): 1/2 ||Ax - y||^2, or mean: 1/m")] = Loss.HALF,
    residual: _Residual = None,
    noise_level: _NoiseLevel = None,
    sigma: _Sigma = None,
    validation: _Validation = None,
    max_steps: _MaxSteps = None,
    scheduler: given.Scheduler = None,
    output: given.NewFile = None,
    average: _Average = None,
    json_file: given.Json = None,
    plot: given.Plot = None,
    force: given.Force = False,
    quiet: given.Quiet = False,
) -> int:
    """Read, descend, save and report; the exit code."""
    start = _Start(depth, init_scale, positive)
    goals = _Goals(residual, noise_level, sigma, max_steps)
    options = {**asdict(start), "step": step, "loss": loss.value, **asdict(goals)}
    length: Any = step if step == "auto" else _number(step)

    def train(common: dict[str, Any], rules: list[Rule]) -> _Run:
        if not rules and max_steps is None:
            rules = [Residual(_RESIDUAL)]
        stop = reduce(or_, [*rules, MaxSteps(_MOST_STEPS if max_steps is None else max_steps)])
        record = hf.Recorder(per_decade=_PER_DECADE, x=plot is not None, max_bytes=_MOST_BYTES)
        return _Run.of_descent(quietly(hf.descend, step=length, loss=loss.value, stop=stop, record=record, **common))

    outputs = {"output": output, "average": average, "json": json_file, "plot": plot}
    job = Job("descend", _inputs(a_file, y_file, validation), outputs, options, force, quiet, scheduler)
    return job.run(partial(_solve, start, goals, train))


def flow(
    a_file: given.MatrixFile,
    y_file: given.VectorFile,
    *,
    depth: _Depth = _DEPTH,
    init_scale: _InitScale = None,
    positive: _Positive = False,
    t_end: Annotated[float, _in_stop("T", "Stop at flow time T (default: limit)")] = math.inf,
    tolerance: Annotated[float, _in_steps("E", "Error allowed per step, of max |x| (default 1e-6)")] = 1e-6,
    residual: _Residual = None,
    noise_level: _NoiseLevel = None,
    sigma: _Sigma = None,
    validation: _Validation = None,
    max_steps: _MaxSteps = None,
    scheduler: given.Scheduler = None,
    output: given.NewFile = None,
    average: _Average = None,
    json_file: given.Json = None,
    plot: given.Plot = None,
    force: given.Force = False,
    quiet: given.Quiet = False,
) -> int:
    """Read, follow the flow, save and report; the exit code."""
    start = _Start(depth, init_scale, positive)
    goals = _Goals(residual, noise_level, sigma, max_steps)
    options = {**asdict(start), "t_end": t_end, "tolerance": tolerance, **asdict(goals)}

    def train(common: dict[str, Any], rules: list[Rule]) -> _Run:
        stop = reduce(or_, rules) if rules else None
        most = _MOST_STEPS if max_steps is None else max_steps
        return _Run.of_flow(quietly(hf.flow, t_end=t_end, tolerance=tolerance, stop=stop, max_steps=most, **common))

    outputs = {"output": output, "average": average, "json": json_file, "plot": plot}
    job = Job("flow", _inputs(a_file, y_file, validation), outputs, options, force, quiet, scheduler)
    return job.run(partial(_solve, start, goals, train))


@dataclass(frozen=True)
class _Start:
    """The model, and from where it is trained."""

    depth: float
    init_scale: float | None
    positive: bool

    def model(self) -> hf.HadamardPower:
        return hf.HadamardPower(self.depth, sign="positive" if self.positive else "both")

    def scale(self, problem: hf.Problem) -> float:
        """The init scale that was asked for, or one that is small beside x whatever the units of the data are."""
        if self.init_scale is not None:
            return self.init_scale
        gradient = problem.operator.rmatvec(problem.y.astype(np.float64))
        best = int(np.argmax(np.abs(gradient)))
        column = problem.operator.columns(np.array([best]))
        square = float((column * column).sum())
        size = abs(float(gradient[best])) / square if square > 0 else 0.0
        return float((_START * (size or 1.0)) ** (1 / self.depth))


@dataclass(frozen=True)
class _Goals:
    """When to stop."""

    residual: float | None
    noise_level: float | None
    sigma: float | None
    max_steps: int | None

    def rules(self, data: dict[str, Any]) -> list[Rule]:
        """Those that were asked for."""
        chosen: list[Rule] = []
        if self.residual is not None:
            chosen.append(Residual(self.residual))
        if self.noise_level is not None:
            chosen.append(Discrepancy(self.noise_level))
        if self.sigma is not None:
            chosen.append(NullGradient(self.sigma))
        if data["validation_A"] is not None:
            chosen.append(Validation(data["validation_A"], data["validation_y"]))
        return chosen


@dataclass(frozen=True)
class _Run:
    """What both kinds of training end with."""

    path: hf.Trajectory | hf.FlowPath
    dual: NDArray[np.float64]
    average: NDArray[Any]
    penalty: float
    steps: int
    time: float

    @classmethod
    def of_descent(cls, path: hf.Trajectory) -> _Run:
        return cls(path, path.dual, path.average, path.penalty, path.steps, path.time)

    @classmethod
    def of_flow(cls, path: hf.FlowPath) -> _Run:
        last = min(path.t_end, float(path.times[-1]))  # the average of all time is the limit once more
        return cls(path, path.dual(last), path.average(last), path.penalty(last), path.stats.events, path.t_end)


def _inputs(a_file: Path, y_file: Path, validation: tuple[Path, Path] | None) -> Files:
    first, second = (None, None) if validation is None else validation
    return {"A": a_file, "y": y_file, "validation_A": first, "validation_y": second}


def _number(step: str) -> float:
    try:
        return float(step)
    except ValueError as error:
        raise ValueError(f"--step must be a number or auto, got {step!r}") from error


def _solve(
    start: _Start,
    goals: _Goals,
    train: Callable[[dict[str, Any], list[Rule]], _Run],
    data: dict[str, Any],
    progress: ProgressCallback | None,
) -> Report:
    """Train, and tell what came out."""
    problem, model = hf.Problem(data["A"], data["y"]), start.model()
    scale = start.scale(problem)
    common = {"problem": problem, "model": model, "init_scale": scale, "progress": progress}
    run = train(common, goals.rules(data))
    path, history, stats = run.path, run.path.history, run.path.stats
    certificate, support = path.certificate, path.support()
    lasso = None
    if math.isfinite(run.penalty):
        lasso = hf.certify_lasso(problem, run.average, run.penalty or 1e-300, positive=start.positive)
    gap = "none yet" if lasso is None else f"gap {lasso.gap:.2g} of the lasso at penalty {lasso.penalty:.4g}"
    return Report(
        status=path.status,
        problem=problem,
        messages={"reason": path.reason},
        summary={
            "training": {"init_scale": scale, "steps": run.steps, "time": run.time},
            "certificate": asdict(certificate),
            "lasso": dict.fromkeys(("penalty", "objective", "lower_bound", "gap")) if lasso is None else asdict(lasso),
            "solution": {"nonzeros": int(np.count_nonzero(path.x)), "support_size": len(support)},
            "stats": asdict(stats),
        },
        rows={
            "start": f"init scale {scale:.4g} at depth {start.depth:g}",
            **proof(certificate, of="x with Ax = y", fits=certificate.residual <= _FITS),
            "non-zeros": f"{len(support)} of {len(path.x)} stand out",
            "average": gap,
            "flow time": f"{run.time:.6g}, {run.steps} steps",
            "time": f"{stats.seconds:.3g} s, {stats.passes:.4g} passes over A",
        },
        vectors={"output": ("x", path.x), "average": ("average", run.average)},
        arrays={
            "x": path.x,
            "average": run.average,
            "dual": run.dual,
            "support": support,
            "times": history.times,
            "steps": history.steps,
            **history.metrics,
        },
        draw=lambda: plotting.plot_training(path, axes=plotting.blank_figure(2).axes),
    )
