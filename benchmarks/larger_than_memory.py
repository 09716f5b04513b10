"""A matrix larger than the memory of its workers: recovered on a Dask cluster, then once more with a worker killed.

    python benchmarks/larger_than_memory.py                       # 20 GB on disk, two workers of 3 GB: half an hour
    python benchmarks/larger_than_memory.py --gigabytes 1 --memory 0.4

Draws a Gaussian matrix in float32 block by block into a folder of its own, recovers a sparse x from it, and records
time, passes, peak memory of each worker, and whether the loss of a worker changed a bit of the answer. Each time is
compared with what ``hadaflow.planning.plan`` had predicted. The matrix is deleted at the end; the record is added to
those in results/.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe, installed, keep, load

import hadaflow as hf
from hadaflow.blocks import open_matrix
from hadaflow.planning import plan as plan_for

RESULTS = Path(__file__).parent / "results"
GIGA = 10**9


def main() -> None:
    """Run the benchmark."""
    options = parse()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "A.npy"
        y, x = draw(path, options)
        records = [run(path, y, x, options, kill=kill) for kill in (False, True)]
    same = records[0].pop("x") == records[1].pop("x")
    record = {
        "machine": describe(),
        "versions": {name: installed(name) for name in ("hadaflow", "numpy", "dask", "distributed")},
        "rows": options.rows,
        "columns": options.columns,
        "non-zeros": options.sparsity,
        "dtype": "float32",
        "bytes": 4 * options.rows * options.columns,
        "memory limit of a worker": int(options.memory * GIGA),
        "workers": options.workers,
        "seed": options.seed,
        "undisturbed": records[0],
        "with a worker killed": records[1],
        "the same answer, bit for bit": same,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with options.output.open("a", encoding="utf-8") as file:
        keep(file, record)
    print(json.dumps(record, indent=2))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=20.0, help="size of A on disk")
    parser.add_argument("--memory", type=float, default=3.0, help="memory limit of a worker, GB")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sparsity", type=int, default=100)
    parser.add_argument("--shape", type=float, default=12.5, help="columns per row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None, help="where to put A; default the system's for such files")
    parser.add_argument("--output", type=Path, default=RESULTS / "larger_than_memory.jsonl")
    options = parser.parse_args()
    options.rows = int((options.gigabytes * GIGA / 4 / options.shape) ** 0.5)
    options.columns = int(options.rows * options.shape)
    return options


def draw(path: Path, options: argparse.Namespace) -> tuple[Any, Any]:
    """The matrix on disk; y and x."""
    rng = np.random.default_rng(options.seed)
    m, n = options.rows, options.columns
    x = np.zeros(n)
    x[rng.choice(n, options.sparsity, replace=False)] = rng.standard_normal(options.sparsity)
    y = np.empty(m)
    step = max(1, int(64 * 2**20 / 4 / n))
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": (m, n)}
        )
        for start in range(0, m, step):
            rows = rng.standard_normal((min(step, m - start), n), dtype=np.float32)
            y[start : start + len(rows)] = rows[:, x != 0].astype(np.float64) @ x[x != 0]
            rows.tofile(file)
    return y, x


def run(path: Path, y: Any, x: Any, options: argparse.Namespace, *, kill: bool) -> dict[str, Any]:
    """One recovery on a new cluster."""
    from distributed import Client, LocalCluster

    limit = int(options.memory * GIGA)
    cluster = LocalCluster(n_workers=options.workers, threads_per_worker=1, memory_limit=limit, dashboard_address=":0")
    with cluster, Client(cluster) as client:
        plan = plan_for((len(y), len(x)), np.float32, client=client, path=path)
        peaks: dict[str, int] = {}
        done, told = threading.Event(), list[str]()
        watch = threading.Thread(target=watch_workers, args=(client, peaks, done))
        watch.start()
        killer = threading.Timer(2.5 * plan.seconds_per_pass, kill_one, args=(cluster,))
        if kill:
            killer.start()
        began = time.perf_counter()
        result = hf.recover(open_matrix(path), y, progress=lambda progress: told.append(progress.message))
        seconds = time.perf_counter() - began
        done.set()
        watch.join()
        killer.cancel()
    return {
        "status": result.status.name,
        "certificate": asdict(result.certificate),
        "relative error": float(np.linalg.norm(result.x - x) / np.linalg.norm(x)),
        "seconds": seconds,
        "processes that wanted a core": load(),
        "passes": result.stats.passes,
        "seconds per pass": seconds / result.stats.passes,
        "seconds per pass, planned": plan.seconds_per_pass,
        "largest memory of a worker": max(peaks.values()),
        "workers seen": len(peaks),
        "largest memory of this process": peak_memory(),
        "memory of this process, planned": plan.here_bytes,
        "memory of a worker, planned": plan.worker_bytes,
        "blocks stay in memory": plan.persisted,
        "looks": told,
        "x": result.x.tobytes().hex(),
    }


def watch_workers(client: Any, peaks: dict[str, int], done: threading.Event) -> None:
    """Ask the workers for their largest resident memory so far, until done."""
    while True:
        last = done.is_set()
        try:
            for worker, peak in client.run(peak_memory, on_error="ignore").items():
                peaks[worker] = max(peak, peaks.get(worker, 0))
        except (OSError, RuntimeError):  # a worker has just gone
            pass
        if last:
            return
        done.wait(2.0)


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes."""
    # Not getrusage: there a process starts with what the one it came from had.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def kill_one(cluster: Any) -> None:
    """Kill the first worker, without a warning; its nanny starts another one."""
    os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
    print("a worker was killed", flush=True)


if __name__ == "__main__":
    main()
