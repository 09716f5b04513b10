"""What benchmarks/descent.py measures; everything that is compared is timed in turns, within one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from descent_loops import Loops
from machine import load
from threadpoolctl import ThreadpoolController

import hadaflow as hf
from hadaflow._sweep import compiled
from hadaflow.recording import error_to
from hadaflow.stopping import MaxSteps, When

Record = dict[str, Any]
SETTLE = 0.05  # seconds in which the threads of BLAS and OpenMP stop spinning
SECONDS_ONLY = {"every": 10**9, "metrics": ("seconds",)}


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    sizes: tuple[tuple[int, int], ...]
    threads: tuple[int, ...]
    repeats: int
    block: float  # seconds that one turn lasts, about
    most_steps: int  # of a walk that is scaled up to its full length
    most_training: int  # steps of a run beside PyTorch
    seed: int = 0
    whole: bool = False  # the runs of paper B in full length, up to 3.2 million steps


def in_turns(contestants: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Seconds that each contestant reports, A, B, A, B, ..., so that a busy moment meets all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, contestant in contestants.items():
            time.sleep(SETTLE)
            seconds[name].append(contestant())
    return seconds


def timed(action: Callable[[], Any], times: int = 1) -> float:
    """Seconds of one call, in a row of ``times``."""
    begin = time.perf_counter()
    for _ in range(times):
        action()
    return (time.perf_counter() - begin) / times


def sparse_problem(m: int, n: int, dtype: str, order: str, seed: int) -> tuple[Any, hf.Problem]:
    """A Gaussian matrix of nearly unit columns, and a problem with ten ones."""
    rng = np.random.default_rng(seed)
    matrix = np.asarray(rng.standard_normal((m, n), dtype=dtype) / np.sqrt(m, dtype=dtype), order=order)
    return matrix, hf.Problem(matrix, matrix[:, : min(10, n)].sum(axis=1))


def seconds_per_step(run: hf.Trajectory, steps: int) -> float:
    """From the first moment of a run to its last, without what is done once before."""
    if run.steps != steps:
        raise RuntimeError(f"{run.steps} steps were taken instead of {steps}: {run.reason}")
    clock = run.history["seconds"]
    return float(clock[-1] - clock[0]) / steps


def limited(threads: int) -> Any:
    """Context in which BLAS and OpenMP use so many threads."""
    return ThreadpoolController().limit(limits=threads)


# ---- one step, and a batch of them -------------------------------------------------------------------------------


def steps(
    effort: Effort, depths: tuple[int, ...] = (2, 3, 4), orders: tuple[str, ...] = ("C", "F")
) -> Iterator[Record]:
    """One step of descent beside NumPy's two products and beside reading the matrix once."""
    for m, n in effort.sizes:
        for dtype in ("float64", "float32"):
            for order in orders:
                matrix, problem = sparse_problem(m, n, dtype, order, effort.seed)
                for threads in effort.threads:
                    with limited(threads):
                        yield from _one_matrix(effort, matrix, problem, depths, threads)


def _one_matrix(
    effort: Effort, matrix: Any, problem: hf.Problem, depths: tuple[int, ...], threads: int
) -> Iterator[Record]:
    m, n = matrix.shape
    w = np.random.default_rng(1).standard_normal(n).astype(matrix.dtype)
    flat = matrix.ravel(order="K")  # no copy

    def products() -> None:
        matrix.T @ (matrix @ w - problem.y)

    products()
    block = effort.block if threads == 1 else 3 * effort.block
    count = int(np.clip(block / min(timed(products) for _ in range(5)), 5, 600))

    def descent(depth: int) -> float:
        run = hf.descend(
            problem,
            hf.HadamardPower(depth),
            init_scale=1e-3 ** (1 / depth),
            step=0.01,
            stop=MaxSteps(count),
            record=hf.Recorder(**SECONDS_ONLY),
        )
        return seconds_per_step(run, count)

    contestants: dict[str, Callable[[], float]] = {str(depth): lambda depth=depth: descent(depth) for depth in depths}
    contestants |= {"numpy": lambda: timed(products, count), "read": lambda: timed(lambda: np.vdot(flat, flat), count)}
    for contestant in contestants.values():
        contestant()
    seconds = in_turns(contestants, effort.repeats)
    order = "C" if matrix.flags.c_contiguous else "F"
    shared = {"kind": "step", "compiled": compiled(), "threads": threads, "load": load(), "m": m, "n": n}
    shared |= {"dtype": str(matrix.dtype), "order": order, "steps": count}
    for depth in depths:
        yield shared | {"depth": depth, "seconds": {name: seconds[name] for name in (str(depth), "numpy", "read")}}


def steps_in_numpy(effort: Effort) -> list[Record]:
    """The same without the compiled kernel, for a process that was started without it."""
    return list(steps(effort, depths=(3,), orders=("C",)))


def batch(effort: Effort, starts: int = 16) -> Iterator[Record]:
    """Many starts side by side, beside one run."""
    for m, n in effort.sizes:
        for dtype in ("float64", "float32"):
            _, problem = sparse_problem(m, n, dtype, "C", effort.seed)
            count = int(np.clip(effort.block / (1e-9 * m * n), 3, 30))
            scales = 1e-3**0.5 * np.linspace(0.5, 1.0, starts)
            shared: dict[str, Any] = {"step": 0.01, "stop": MaxSteps(count), "record": hf.Recorder(**SECONDS_ONLY)}

            def single(problem: hf.Problem = problem, count: int = count, shared: Any = shared) -> float:
                run = hf.descend(problem, hf.HadamardPower(2), init_scale=1e-3**0.5, **shared)
                return seconds_per_step(run, count)

            def many(
                problem: hf.Problem = problem, count: int = count, shared: Any = shared, scales: Any = scales
            ) -> float:
                runs = hf.descend_batch(problem, hf.HadamardPower(2), init_scale=scales, **shared)
                return max(seconds_per_step(run, count) for run in runs)

            for threads in effort.threads:
                with limited(threads):
                    single(), many()
                    seconds = in_turns({"single": single, "batch": many}, effort.repeats)
                record = {"kind": "batch", "threads": threads, "load": load(), "m": m, "n": n, "dtype": dtype}
                yield record | {"starts": starts, "steps": count, "seconds": seconds}


# ---- paper B -----------------------------------------------------------------------------------------------------


def measurements(seed: int, m: int, n: int, truth: Any, noise: float, dtype: str = "float64") -> hf.Problem:
    """Rademacher design and noisy measurements, as paper B draws the design."""
    rng = np.random.RandomState(seed)
    matrix = (2.0 * rng.binomial(1, 0.5, (m, n)) - 1).astype(dtype)
    return hf.Problem(matrix, (matrix @ truth + noise * rng.standard_normal(m)).astype(dtype))


def ones_first(n: int, count: int) -> Any:
    """Ones, then zeros."""
    return np.r_[np.ones(count), np.zeros(n - count)]


def pytorch(
    effort: Effort, shape: tuple[int, int] = (500, 3000), runs: Mapping[int, int] | None = None
) -> Iterator[Record]:
    """The convergence experiment of paper B beside the same loop in PyTorch, with autograd and without."""
    try:
        import torch
    except ImportError:
        yield {"kind": "pytorch", "missing": True}
        return
    m, n = shape
    problem = measurements(42, m, n, ones_first(n, 5), 0.5, "float32")
    matrix = problem.operator.columns(np.arange(n)).astype(np.float32, order="C")
    loops = Loops(torch, torch.from_numpy(matrix), torch.from_numpy(problem.y))
    for threads in effort.threads:
        torch.set_num_threads(threads)
        with limited(threads):
            for depth, length in (runs or {2: 300, 3: 5000, 5: 30000}).items():
                count = length if effort.whole else min(length, effort.most_training)
                answers: dict[str, Any] = {}
                contestants = {
                    name: lambda name=name, loop=loop, depth=depth, count=count, answers=answers: timed(
                        lambda: answers.update({name: loop(depth, count)})
                    )
                    for name, loop in {
                        "hadaflow": lambda depth, count: _train(problem, depth, count),
                        "autograd": loops.autograd,
                        "explicit": loops.explicit,
                    }.items()
                }
                seconds = in_turns(contestants, effort.repeats)
                apart = max(float(np.abs(answers["hadaflow"] - x).max()) for x in answers.values())
                record = {"kind": "pytorch", "threads": threads, "load": load(), "m": m, "n": n, "depth": depth}
                yield record | {"length": length, "steps": count, "seconds": seconds, "apart": apart}


def _train(problem: hf.Problem, depth: int, count: int) -> Any:
    run = hf.descend(
        problem,
        hf.HadamardPower(depth),
        init_scale=1e-6 ** (1 / depth),
        step=0.2 / depth**2,
        loss_scale=2 / problem.shape[0],
        stop=MaxSteps(count),
        record=hf.Recorder(every=10**9, metrics=()),
    )
    if run.steps != count:
        raise RuntimeError(f"{run.steps} steps were taken instead of {count}: {run.reason}")
    return run.x


# ---- continuous time ---------------------------------------------------------------------------------------------

COORDINATES = {2: 3000, 3: 50_000, 4: 3_200_000}  # depth and iterations of paper B's coordinate experiment
STEP = 0.01


def flow(effort: Effort, depths: tuple[int, ...] = (2, 3, 4)) -> Iterator[Record]:
    """The flow beside descent step by step: seconds, and the window of early stopping."""
    m, n, k = 100, 200, 5
    problem = measurements(42, m, n, ones_first(n, k), 0.5)
    per_time = m / (2 * STEP)  # iterations
    for depth in depths:
        length = COORDINATES[depth]
        count = length if effort.whole else min(length, effort.most_steps)
        bound = 0.005 ** (depth / 4)
        windows: dict[str, Any] = {}

        def near(snapshot: hf.Snapshot) -> float:
            return float(np.abs(snapshot.x[:k] - 1).max())

        def outside(snapshot: hf.Snapshot) -> float:
            return float(snapshot.x[k:].max())

        def walk(depth: int = depth, count: int = count, every: int = 10**9, **metrics: Any) -> hf.Trajectory:
            return hf.descend(
                problem,
                hf.HadamardPower(depth),
                init_scale=0.005,
                step=STEP,
                loss_scale=2 / problem.shape[0],
                stop=MaxSteps(count),
                record=hf.Recorder(every=every, metrics=metrics),
            )

        def follow(
            tolerance: float, depth: int = depth, length: int = length, bound: float = bound, windows: Any = windows
        ) -> float:
            def go() -> None:
                model, end = hf.HadamardPower(depth), length / per_time
                path = hf.flow(problem, model, init_scale=0.005, t_end=end, tolerance=tolerance)
                start = path.first(lambda snapshot: near(snapshot) < 0.1)
                stop = path.first(lambda snapshot: outside(snapshot) > bound)
                windows[f"flow {tolerance:g}"] = [start * per_time, stop * per_time]

            return timed(go)

        contestants = {
            "descend": lambda walk=walk, length=length, count=count: timed(walk) * length / count,
            "flow 1e-06": lambda follow=follow: follow(1e-6),
            "flow 0.0001": lambda follow=follow: follow(1e-4),
        }
        with limited(1):
            follow(1e-4)
            seconds = in_turns(contestants, effort.repeats)
            if length <= 50_000 or effort.whole:
                every = 1 if length <= 50_000 else 20
                history = walk(count=length, every=every, near=near, outside=outside).history
                crossed = history["near"] < 0.1, history["outside"] > bound
                windows["descend"] = [int(history.steps[hits.argmax()]) if hits.any() else None for hits in crossed]
        record = {"kind": "flow", "threads": 1, "load": load(), "m": m, "n": n, "depth": depth}
        yield record | {"length": length, "steps": count, "seconds": seconds, "windows": windows}


# ---- step rules --------------------------------------------------------------------------------------------------


def rules(shape: tuple[int, int] = (250, 10_000), largest: int = 64, most: int = 40_000) -> Iterator[Record]:
    """Iterations of the step rules to a given error, on the convergence demonstration of the increasing rule."""
    m, n = shape
    sizes = 2.0 ** np.arange(int(np.log2(largest)) + 1)
    truth = np.r_[sizes * (-1.0) ** np.arange(len(sizes)), np.zeros(n - len(sizes))]
    problem = measurements(42, m, n, truth, 0.0)
    error, goals = error_to(truth), (1e-1, 1e-2, 1e-3)
    size = float(np.linalg.norm(truth))
    for name, rule in {
        "constant": hf.steps.Constant(1 / (20 * largest)),
        "increasing": hf.steps.Increasing(),
        "auto": hf.steps.Auto(),
    }.items():
        begin = time.perf_counter()
        run = hf.descend(
            problem,
            hf.HadamardPower(2),
            init_scale=1e-12,
            step=rule,
            loss_scale=2 / problem.shape[0],
            stop=When(lambda snapshot: error(snapshot) <= goals[-1] * size) | MaxSteps(most),
            record=hf.Recorder(every=1, metrics={"error": error}),
        )
        history = run.history
        reached = {}
        for goal in goals:
            hits = history["error"] <= goal * size
            reached[f"{goal:g}"] = int(history.steps[hits.argmax()]) if hits.any() else None
        record = {"kind": "rules", "rule": name, "m": m, "n": n, "k": len(sizes), "largest": largest, "most": most}
        passes = run.stats.passes
        yield record | {"reached": reached, "passes": passes, "seconds": time.perf_counter() - begin}
