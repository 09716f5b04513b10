"""Phase diagrams of groups, complex data and joint columns."""

import numpy as np
import pytest

from hadaflow.experiments import phase_diagram
from hadaflow.experiments.structures import PLAIN, Structure
from hadaflow.experiments.trials import recovery
from hadaflow.theory import transition_sparsity

pd = pytest.importorskip("pandas")
for module in ("cloudpickle", "filelock", "joblib", "matplotlib", "pyarrow"):
    pytest.importorskip(module)

KINDS = [("real", 3), ("complex", 1), ("complex", 2), ("joint", 4)]


def normal(rng, *shape):
    return rng.standard_normal(shape)


@pytest.mark.parametrize(("kind", "size"), KINDS)
def test_what_is_drawn(kind, size):
    structure, rng = Structure.of(kind, size), np.random.default_rng(0)
    A, x = structure.matrix(rng, normal, 6, 12), structure.vector(rng, normal, 12, 6)
    assert A.shape == (6, 12)
    assert x.shape == ((12, size) if kind == "joint" else (12,))
    assert (x.dtype.kind == "c") == (A.dtype.kind == "c") == (kind == "complex")
    groups = x.reshape(12 // structure.columns, -1) != 0
    assert (groups.all(axis=1) | ~groups.any(axis=1)).all()
    assert groups.any(axis=1).sum() * structure.columns == 6
    assert structure.nonzeros(1) == structure.columns
    assert abs(structure.nonzeros(7) - 7) <= structure.columns / 2


@pytest.mark.parametrize(("kind", "size"), KINDS)
def test_easy_ones_are_recovered_and_hopeless_ones_are_not(kind, size):
    easy = recovery(np.random.default_rng(1), n=36, m=24, s=3, kind=kind, group_size=size)
    assert easy["success"]
    assert easy["converged"]
    assert easy["error"] < 1e-10
    assert (easy["measurements"], easy["nonzeros"]) == (24, Structure.of(kind, size).nonzeros(3))
    hopeless = recovery(np.random.default_rng(1), n=36, m=12, s=12, kind=kind, group_size=size)
    assert not hopeless["success"]
    late = recovery(np.random.default_rng(1), n=36, m=24, s=3, kind=kind, group_size=size, depth=3, product_scale=1e-6)
    assert late["success"]
    assert late["error"] > easy["error"]


def test_single_numbers_are_drawn_as_ever():
    rows = [recovery(np.random.default_rng(5), n=40, m=12, s=6, **more) for more in ({}, {"kind": "real"})]
    assert rows[0] == rows[1]
    old = phase_diagram(n=30, m_over_n=3, s_over_m=3, repeats=2, jobs=1)
    assert "group_size" not in old.records
    assert old.panels[0].structure == PLAIN
    assert old.panels[0].title == "Gaussian matrices\nvanishing start"


def test_a_panel_for_each_size_with_its_own_theory():
    diagram = phase_diagram(n=24, m_over_n=4, s_over_m=4, repeats=2, group_size=[1, 4], depth=[None, 3], jobs=1)
    assert [panel.choice["group_size"] for panel in diagram.panels] == [1, 4, 1, 4]
    assert len(diagram.failures) == 0
    single, groups = (diagram.panel(depth=None, group_size=size) for size in (1, 4))
    assert groups.title == "Gaussian matrices, groups of 4\nvanishing start"
    m = 15
    at = groups.half().set_index("measurements")["transition"]
    assert at[m] == pytest.approx(4 * transition_sparsity(m, 6, group_size=4) / m)
    assert single.half().set_index("measurements")["transition"][m] == pytest.approx(transition_sparsity(m, 24) / m)
    assert (groups.records["nonzeros"] % 4 == 0).all()
    assert groups.transition["s_over_m"].min() * m > 1
    assert diagram.plot().axes


@pytest.mark.parametrize(("kind", "size", "words"), [("complex", 1, "complex"), ("joint", 2, "2 joint columns")])
def test_rows_count_for_all_that_they_measure(kind, size, words):
    diagram = phase_diagram(n=20, m_over_n=[0.4], s_over_m=[0.1, 0.9], repeats=2, kind=kind, group_size=size, jobs=1)
    (panel,) = diagram.panels
    assert words in panel.title
    assert panel.half()["transition"][0] == pytest.approx(transition_sparsity(16, 20, group_size=2) / 8)
    assert panel.success()[0.4].tolist() == [1, 0]


@pytest.mark.parametrize(("kind", "size"), [("real", 4), ("complex", 1)])
def test_measured_transition_is_the_theoretical_one(kind, size):
    diagram = phase_diagram(n=60, m_over_n=[0.5], s_over_m=12, repeats=8, kind=kind, group_size=size, jobs=1)
    assert diagram.deviation().columns == 1
    assert diagram.deviation().largest <= 0.07  # three standard errors


def test_mistakes_are_told_before_any_work():
    for options, message in [
        ({"group_size": 7}, "group_size must divide n = 30, got 7"),
        ({"group_size": [1, 0]}, "group_size must be a finite number >= 1"),
        ({"kind": "joint"}, "kind='joint' needs group_size: the number of columns, at least 2"),
        ({"kind": "imaginary"}, "kind must be one of 'real', 'complex', 'joint'"),
        ({"group_size": 3, "sign": "positive"}, "groups of 3: leave out sign='positive', noise"),
        ({"kind": "complex", "noise": 0.1}, "complex: leave out"),
        ({"kind": "joint", "group_size": 2, "depth": 2, "solver": "descend"}, "2 joint columns: leave out"),
    ]:
        with pytest.raises(ValueError, match=message):
            phase_diagram(n=30, m_over_n=2, s_over_m=2, repeats=1, jobs=1, **options)


def test_the_command(capsys, monkeypatch, tmp_path):
    pytest.importorskip("typer")
    pytest.importorskip("rich")
    from hadaflow import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    sizes = ("--n", "24", "--grid", "3", "--repeats", "1", "--jobs", "1", "-o", "out")
    assert cli.main(["phase-diagram", *sizes, "--kind", "joint", "--group-size", "2", "--group-size", "3"]) == 0
    out = capsys.readouterr().out
    assert "Gaussian matrices, 2 joint columns, vanishing start: distance from the theory" in out
    assert "Gaussian matrices, 3 joint columns, vanishing start: distance from the theory" in out
    assert (tmp_path / "out" / "phase_diagram.png").exists()
    assert cli.main(["phase-diagram", *sizes, "--kind", "joint"]) == 2
    assert "needs group_size" in capsys.readouterr().err
