"""What the library promises of its extras, tried where some are installed: ``python promises.py plot cli ...``.

Each promise belongs to one extra. Where that is installed it has to be kept; where it is not, either nothing is
missing, or the error names the extra.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.sparse.linalg import aslinearoperator

import hadaflow as hf
import hadaflow.files

rng = np.random.default_rng(0)
A = rng.standard_normal((30, 90))
x = np.zeros(90)
x[[3, 50]] = [1.0, -2.0]
FOLDER = Path(tempfile.mkdtemp())


def core():
    r = hf.recover(A, A @ x)
    assert r.status.ok
    assert r.support().tolist() == [3, 50]
    assert hf.recover(aslinearoperator(A), A @ x).support().tolist() == [3, 50]
    problem, model = hf.Problem(A, A @ x), hf.HadamardPower(2)
    hf.descend(problem, model, init_scale=1e-2, stop=hf.stopping.MaxSteps(50))
    hf.flow(problem, model, init_scale=1e-2, t_end=5.0)
    hf.select(hf.Problem(A, A @ x + 0.1 * rng.standard_normal(30)))
    assert hf.theory.explain(r).holds


def picture():
    from hadaflow.plotting import plot_recovery

    plot_recovery(hf.recover(A, A @ x)).savefig(FOLDER / "recovery.png")


def pictures_of_paths():
    from hadaflow.plotting import plot_path, plot_training

    plot_path(hf.saddles(hf.Problem(A, A @ x)))
    plot_training(hf.flow(hf.Problem(A, A @ x), hf.HadamardPower(2), init_scale=1e-2))


def command(*words):
    done = subprocess.run(
        [sys.executable, "-m", "hadaflow", *words], capture_output=True, text=True, cwd=FOLDER, check=False
    )
    if done.returncode:
        raise ImportError(done.stderr)


def command_line():
    np.save(FOLDER / "A.npy", A)
    np.save(FOLDER / "y.npy", A @ x)
    command("recover", "A.npy", "y.npy", "--output", "x.npz", "--plot", "of_command.png")


def parquet():
    from hadaflow.files import read_vector

    file = FOLDER / "y.parquet"
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"y": [1.0, 2.0]}), file)
    except ImportError:
        file.write_bytes(b"PAR1")
    assert read_vector(file).tolist() == [1.0, 2.0]


def blocks():
    from hadaflow.blocks import open_matrix

    np.save(FOLDER / "B.npy", A)
    assert hf.recover(open_matrix(FOLDER / "B.npy"), A @ x).support().tolist() == [3, 50]


def zarr_blocks():
    from hadaflow.blocks import open_matrix

    folder = FOLDER / "A.zarr"
    try:
        import zarr

        zarr.save(str(folder), A)
    except ImportError:
        folder.mkdir(exist_ok=True)
    assert hf.recover(open_matrix(folder), A @ x).support().tolist() == [3, 50]


def cluster():
    from hadaflow.clusters import connected

    with connected("local"):
        pass


def estimators():
    from hadaflow.estimators import SparseFlowClassifier, SparseFlowRegressor, SparseFlowRegressorCV

    X = rng.standard_normal((60, 8))
    y = X[:, 2] + 0.1 * rng.standard_normal(60)
    assert SparseFlowRegressor().fit(X, y).support_[2]
    SparseFlowRegressorCV().fit(X, y)
    SparseFlowClassifier().fit(X, y > 0)


def measure(rng, *, m):
    return {"mean": float(rng.standard_normal(m).mean())}


def sweep():
    from hadaflow.experiments import sweep

    assert len(sweep(measure, {"m": [1, 2]}, jobs=1).records) == 2
    assert len(sweep(measure, {"m": [1, 2]}, jobs=2, folder=FOLDER / "sweep").records) == 2


def phase_diagram():
    from hadaflow.experiments import phase_diagram

    phase_diagram(n=20, m_over_n=[0.5], s_over_m=[0.1, 0.9], repeats=1, jobs=1).plot()


def experiments():
    from hadaflow.experiments import known, reproduce, run_inline, write_report

    experiment = next(iter(known().values())).quick()
    assert experiment.name
    run_inline(min((kind.quick() for kind in known().values()), key=lambda e: len(list(e.tasks()))))
    reproduce([], FOLDER / "none")
    write_report([], FOLDER / "none")


def records():
    from hadaflow.experiments import Store, known

    Store(FOLDER, next(iter(known().values())).quick()).finished()


def sweeping_command():
    (FOLDER / "config.toml").write_text(
        'experiment = "recovery"\n[grid]\nn = [20]\nm_over_n = [0.5]\ns_over_m = [0.1]\n'
    )
    command("sweep", "config.toml", "--output", "of_command")


PROMISES = {
    None: [core],
    "plot": [picture, pictures_of_paths],
    "cli": [command_line, parquet],
    "dask": [blocks, zarr_blocks, cluster],
    "estimators": [estimators],
    "experiments": [sweep, phase_diagram, experiments, records, sweeping_command],
}


def main(installed: set[str]) -> int:
    faults = 0
    for extra, promises in PROMISES.items():
        for promise in promises:
            there = extra is None or extra in installed
            try:
                promise()
                told = "kept"
            except (ImportError, hf.files.FileFormatError) as error:
                named = [name for name in PROMISES if name and f"pip install 'hadaflow[{name}]'" in str(error)]
                raw = isinstance(error, ModuleNotFoundError) or set(named) & installed
                right = named and not there and not raw
                told = f"names {named[0]}" if right else f"FAULT: {type(error).__name__}: {error}"
            except Exception as error:
                told = f"FAULT: {type(error).__name__}: {error}"
            faults += told.startswith("FAULT")
            print(f"  {promise.__name__}: {told}", file=sys.stderr)
    return int(faults > 0)


if __name__ == "__main__":
    raise SystemExit(main(set(sys.argv[1:])))
