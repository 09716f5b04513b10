"""One adapter per solver for pictures: an instance in, points ``(seconds, products, x)`` of its way out.

Only adapters that can be watched report more than the end of their run. Watching is not timed: the clock stands still
while the harness looks at an iterate.
"""

from __future__ import annotations

import importlib.util
import math
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from imaging_problems import Instance

GOAL = 80.0  # dB at which an exactly sparse picture counts as recovered
ENOUGH = 110.0  # dB at which a solver that is watched may end


@dataclass(frozen=True)
class Point:
    """Where a run was after so many seconds and products."""

    seconds: float
    products: int
    snr: float


@dataclass
class Run:
    """One run in progress: A with its meter, a clock that can pause, and the points seen."""

    instance: Instance
    setting: float | None = None  # of the solver, where it is tried with several
    patience: float = math.inf  # products after which a run that is watched is given up
    points: list[Point] = field(default_factory=list)
    x: Any = None
    remarks: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.measurement = self.instance.measure()
        self.A = self.measurement.operator
        self.seconds = 0.0
        self.resume()

    def resume(self) -> None:
        """Let the clock run on."""
        self._since = time.perf_counter()

    def pause(self) -> None:
        """Stop the clock."""
        self.seconds += time.perf_counter() - self._since

    def again(self) -> None:
        """Clock and meter back to zero: a new attempt that owes nothing to the ones before."""
        self.seconds, self.measurement.products, self.points = 0.0, 0, []
        self.resume()

    def see(self, x: np.ndarray) -> None:
        """Look at an iterate; `Enough` ends the run."""
        self.pause()
        self.x = np.array(x, copy=True).ravel()
        self.points.append(Point(self.seconds, self.measurement.products, self.instance.snr(self.x)))
        done = self.instance.kind == "exact" and self.points[-1].snr >= ENOUGH
        if done or self.points[-1].products > self.patience:
            raise Enough
        self.resume()


class Enough(Exception):
    """A watched run has come far enough."""


@dataclass(frozen=True, eq=False)
class Entrant:
    """A solver with the settings it runs under here."""

    name: str
    package: str
    kinds: tuple[str, ...]
    settings: str
    solve: Callable[[Run], None]
    ladder: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # settings to try, by the kind of instance

    @property
    def installed(self) -> bool:
        """Whether its package can be imported."""
        return importlib.util.find_spec(self.package) is not None

    def run(
        self, instance: Instance, setting: float | None = None, patience: float = math.inf
    ) -> tuple[Run, list[str]]:
        """Solve, and tell which warnings came."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run = Run(instance, setting, patience)
            with suppress(Enough):
                self.solve(run)
        return run, sorted({f"{w.category.__name__}: {str(w.message).splitlines()[0][:80]}" for w in caught})


# hadaflow

UNIFORM_SHARE = 1e-6


def recover(run: Run) -> None:
    """`recover`; with noise, told its norm."""
    import hadaflow as hf

    r = hf.recover(run.A, run.instance.y, noise_level=run.instance.noise)
    run.remarks = {"status": r.status.name, "gap": float(r.certificate.gap)}
    run.see(r.x)


def flow(run: Run) -> None:
    """`flow` from a start that follows from the data, or a small uniform one where x is exactly sparse."""
    import hadaflow as hf

    problem, model, noise = hf.Problem(run.A, run.instance.y), hf.HadamardPower(depth=4), run.instance.noise
    if run.instance.kind == "photograph":
        start = hf.start_from_data(problem, model, noise_level=noise)
    else:
        start = hf.start_from_data(problem, model, fraction=UNIFORM_SHARE).max()
    path = hf.flow(
        problem, model, init_scale=start, method="proximal", stop=hf.stopping.Discrepancy(noise), max_steps=500
    )
    run.remarks = {"status": path.status.name, "steps": len(path.times) - 1}
    run.see(path.x)


# SPGL1

SPGL1_TOLERANCES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
SPGL1_ITERATIONS = 5000


def spg_bp(run: Run) -> None:
    """`spg_bp` with one tolerance after the other, each from the start, until one reaches the goal."""
    import spgl1

    for tolerance in SPGL1_TOLERANCES:
        run.again()
        x, _, _, info = spgl1.spg_bp(
            run.A, run.instance.y, opt_tol=tolerance, bp_tol=tolerance, iter_lim=SPGL1_ITERATIONS
        )
        run.remarks = {"tolerance": tolerance, "stat": int(info["stat"])}
        run.see(x)
        if run.points[-1].snr >= GOAL:
            break


def spg_bpdn(run: Run) -> None:
    """`spg_bpdn` with the true norm of the noise."""
    import spgl1

    x, _, _, info = spgl1.spg_bpdn(run.A, run.instance.y, run.instance.noise, iter_lim=SPGL1_ITERATIONS)
    run.remarks = {"stat": int(info["stat"])}
    run.see(x)


# Douglas-Rachford

DR_ITERATIONS = {"exact": 1500, "sparse": 300, "photograph": 300}
DR_LADDER = {"exact": (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2), "sparse": (1e-4, 1e-3, 1e-2), "photograph": (1e-4, 1e-3)}


def douglas_rachford(run: Run) -> None:
    """PyProximal's, between the l1 norm and the projection on ``||A x - y|| <= noise``, in closed form."""
    import pyproximal
    from pyproximal.optimization.primal import DouglasRachfordSplitting

    A, y, noise = run.A, run.instance.y, run.instance.noise

    class Ball(pyproximal.ProxOperator):
        """The projection, for A A^T = I."""

        def __init__(self) -> None:
            super().__init__(None, False)

        def __call__(self, x: np.ndarray) -> float:
            return 0.0

        def prox(self, x: np.ndarray, tau: float) -> np.ndarray:
            residual = y - A.matvec(x)
            size = np.linalg.norm(residual)
            return x if size <= noise else x + A.rmatvec((1 - noise / size) * residual)

    back = A.rmatvec(y)
    step = run.setting * float(np.abs(back).max())
    ball = Ball()
    # What is watched and returned is the iterate of the projection, which agrees with the data: g comes first.
    DouglasRachfordSplitting(
        pyproximal.L1(), ball, back, tau=step, niter=DR_ITERATIONS[run.instance.kind], callback=run.see
    )


# FISTA

FISTA_LADDER = tuple(10.0**-k for k in range(1, 9))
FISTA_ITERATIONS, FISTA_BISECTIONS, FISTA_MATCH = 300, 12, 2e-3


def fista_ladder(run: Run) -> None:
    """PyLops' FISTA for the lasso down a ladder of penalties, each started where the one before ended."""
    import pylops

    operator, y = pylops.aslinearoperator(run.A), run.instance.y
    x = np.zeros(operator.shape[1])
    top = float(np.abs(operator.rmatvec(y)).max())
    for fraction in FISTA_LADDER:
        # PyLops minimises ||y - A x||^2 + eps ||x||_1, hence eps = 2 lambda.
        x = pylops.optimization.sparsity.fista(
            operator,
            y,
            x0=x,
            niter=FISTA_ITERATIONS,
            eps=2 * fraction * top,
            alpha=1.0,
            tol=0.01 * fraction * top,
            callback=run.see,
        )[0]
        run.remarks = {"penalty": fraction}


def fista_bisection(run: Run) -> None:
    """PyLops' FISTA for the lasso, its penalty by bisection until the residual is the noise."""
    import pylops

    operator, y, noise = pylops.aslinearoperator(run.A), run.instance.y, run.instance.noise
    x, low, high = np.zeros(operator.shape[1]), 0.0, float(np.abs(operator.rmatvec(y)).max())
    penalty = 3 * noise / len(y) ** 0.5
    for _ in range(FISTA_BISECTIONS):
        x = pylops.optimization.sparsity.fista(
            operator, y, x0=x, niter=FISTA_ITERATIONS, eps=2 * penalty, alpha=1.0, tol=1e-4 * noise
        )[0]
        ratio = float(np.linalg.norm(operator.matvec(x) - y)) / noise
        run.remarks = {"penalty": penalty, "residual": ratio}
        if abs(ratio - 1) <= FISTA_MATCH:
            break
        low, high = (penalty, high) if ratio < 1 else (low, penalty)
        guess = penalty / ratio**1.3
        penalty = guess if low < guess < high else 0.5 * (low + high)
    run.see(x)


NOISY = ("sparse", "photograph")
ENTRANTS = {
    e.name: e
    for e in (
        Entrant(
            "hadaflow.recover",
            "hadaflow",
            ("exact", *NOISY),
            "recover(A, y), with noise recover(A, y, noise_level=its norm): the start vanishes; certificate included",
            recover,
        ),
        Entrant(
            "hadaflow.flow",
            "hadaflow",
            NOISY,
            'flow(problem, HadamardPower(4), method="proximal", stop=Discrepancy(norm of the noise)); photographs from '
            "start_from_data(..., noise_level=norm of the noise), exactly sparse x from the uniform product scale "
            f"{UNIFORM_SHARE:.0e} max|A^T y| / ||A||^2, which is "
            f"start_from_data(..., fraction={UNIFORM_SHARE:.0e}).max()",
            flow,
        ),
        Entrant(
            "SPGL1",
            "spgl1",
            ("exact",),
            f"spg_bp, opt_tol = bp_tol down {', '.join(f'{t:.0e}' for t in SPGL1_TOLERANCES)}, each from the start; "
            f"the first that reaches the goal counts, alone; iter_lim {SPGL1_ITERATIONS}",
            spg_bp,
        ),
        Entrant(
            "SPGL1 bpdn",
            "spgl1",
            NOISY,
            f"spg_bpdn with the true norm of the noise, default tolerances; iter_lim {SPGL1_ITERATIONS}",
            spg_bpdn,
        ),
        Entrant(
            "Douglas-Rachford",
            "pyproximal",
            ("exact", *NOISY),
            "PyProximal's DouglasRachfordSplitting on the l1 norm and ||A x - y|| <= norm of the noise, whose "
            "projection is written by hand and told that A A^T = I; step size by hand: the best, by the truth, of "
            f"{', '.join(f'{t:.0e}' for t in DR_LADDER['exact'])} (noisy: a few of them) of max|A^T y|, and the search "
            f"is not counted; at most {DR_ITERATIONS['exact']} iterations (noisy: {DR_ITERATIONS['sparse']})",
            douglas_rachford,
            DR_LADDER,
        ),
        Entrant(
            "FISTA",
            "pylops",
            ("exact",),
            f"PyLops' fista, told that ||A|| = 1, penalties down {', '.join(f'{t:.0e}' for t in FISTA_LADDER)} of the "
            f"largest, warm-started, at most {FISTA_ITERATIONS} iterations each",
            fista_ladder,
        ),
        Entrant(
            "FISTA bisection",
            "pylops",
            NOISY,
            "PyLops' fista, told that ||A|| = 1, penalty by warm-started bisection until the residual is the noise "
            f"to {100 * FISTA_MATCH:g} %, all of it counted",
            fista_bisection,
        ),
    )
}
