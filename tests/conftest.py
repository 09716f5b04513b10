"""Small problems that many tests share."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import linprog

import hadaflow as hf

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Instance:
    """Data with the vector that made them."""

    A: np.ndarray
    y: np.ndarray
    x: np.ndarray


def planted(m, n, s, *, seed=0, positive=False):
    """A Gaussian matrix, an s-sparse x and y = A x."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n)) / np.sqrt(m)
    x = np.zeros(n)
    x[rng.choice(n, s, replace=False)] = rng.uniform(0.3, 1, s) if positive else rng.standard_normal(s)
    return Instance(A, A @ x, x)


def problem_of(values, *, m=40, n=100, noise=0.0, seed=0):
    """A Gaussian problem whose x has these values, and x."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n)) / np.sqrt(m)
    x = np.zeros(n)
    x[rng.choice(n, len(values), replace=False)] = values
    return hf.Problem(A, A @ x + noise * rng.standard_normal(m)), x


def basis_pursuit(A, y, *, positive=False, weights=None):
    """Minimiser and optimal value by an independent linear programme."""
    n = A.shape[1]
    w = np.ones(n) if weights is None else weights
    matrix, cost = (A, w) if positive else (np.hstack([A, -A]), np.concatenate([w, w]))
    result = linprog(cost, A_eq=matrix, b_eq=y, method="highs-ds")
    assert result.status == 0
    return result.x if positive else result.x[:n] - result.x[n:], result.fun


def minimal_l1(A, y, **options):
    """The optimal value alone."""
    return basis_pursuit(A, y, **options)[1]


def refuses(main, capsys, *arguments):
    """What a script says as it refuses these arguments."""
    with pytest.raises(SystemExit):
        main([*arguments])
    return capsys.readouterr().err


def code_of(page):
    """The blocks of Python of a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)


def random_sparse(shape, density, rng, format="csr"):
    """:func:`scipy.sparse.random_array`, whose generator is called otherwise before SciPy 1.15."""
    name = "rng" if "rng" in inspect.signature(sp.random_array).parameters else "random_state"
    return sp.random_array(shape, density=density, format=format, **{name: rng})


#: They share the records of the quick experiments: one worker takes them all, so that no experiment runs twice.
REPRODUCTION = {"reproduce", "experiments_a", "experiments_b", "experiments_c", "experiments_scale"}
#: Files that take long, the longest first: begun last, one of them would leave the other workers without work.
LONG = ["reproduction", "classifier", "sweeps", "regressor_cv", "theory_null_space", "theory_approximation_error"]
LONG += ["theory_early_stopping", "regressor", "correctness", "flow", "descent", "sweep", "phase_diagram", "selection"]


def unit_of(file):
    """The name of the tests that one worker takes together."""
    name = Path(file).stem.removeprefix("test_")
    return "reproduction" if name in REPRODUCTION else name


def pytest_collection_modifyitems(items):
    """Slow tests may take an hour; what takes long comes first."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(3600))
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(unit_of(item.path), len(LONG)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """File by file, whether ``--dist loadfile`` is given or nothing is, and in the order of collection."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "reproduction" if unit_of(file) == "reproduction" else file

    config.option.loadscopereorder = False
    return ByFile(config, log) if config.getvalue("dist") in ("load", "loadfile") else None


@pytest.fixture(scope="session")
def reproduction(tmp_path_factory):
    """One folder for the quick experiments, so that none runs twice in a session."""
    return tmp_path_factory.mktemp("reproduction")


@pytest.fixture(scope="session")
def quick_records(reproduction):
    """A function that gives the records of a quick experiment by its name."""
    from hadaflow.experiments import Store, known, reproduce

    def records(name):
        experiment = known()[name].quick()
        assert reproduce([experiment], reproduction) == {}
        return Store(reproduction / "records", experiment).read()

    return records


@pytest.fixture
def easy():
    return planted(40, 120, 5)


@pytest.fixture
def hard():
    """Beyond the recovery threshold: the minimiser is not the planted vector."""
    return planted(40, 120, 25, seed=1)


@pytest.fixture(scope="session")
def documented():
    """What the page on adding a model defines."""
    names = {}
    for block in code_of("docs/adding_a_model.md"):
        exec(block, names)
    return names


@pytest.fixture
def bench(monkeypatch):
    """Gives the modules of the benchmarks, which are no package, by their names; forgotten again afterwards."""
    folder = ROOT / "benchmarks"
    modules = [path.stem for path in folder.glob("*.py")]
    monkeypatch.syspath_prepend(folder)
    for name in modules:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module
    for name in modules:
        sys.modules.pop(name, None)


@pytest.fixture
def terminal(tmp_path, monkeypatch):
    """A working directory of its own, and a wide and colourless terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path


@pytest.fixture
def plt():
    """Pyplot without a display, and without figures left open."""
    pytest.importorskip("matplotlib").use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")
