"""What holds for the package as a whole."""

import re
import subprocess
import sys

import pytest

import hadaflow as hf

PUBLIC = [
    "Certificate", "ConvergenceWarning", "Criterion", "DotTest", "FlowPath", "HadamardPower", "History",
    "LassoCertificate", "Limit", "Model", "Problem", "Progress", "Recorder", "Recovery", "SaddlePath",
    "Selection", "Snapshot", "Stats", "Status", "Trajectory", "certify", "certify_lasso", "criterion_prices", "descend",
    "descend_batch", "dot_test", "flow", "limit", "losses", "recording", "recover", "saddles", "select",
    "start_from_data", "steps", "stopping", "theory",
]  # fmt: skip


def test_public_names_are_frozen():
    assert sorted(hf.__all__) == PUBLIC
    assert all(getattr(hf, name).__doc__ for name in PUBLIC)


@pytest.mark.parametrize("name", ["Costs", "Moment", "Plan", "plan"])
def test_names_of_before_work_and_warn(name):
    from hadaflow import planning

    now = hf.Snapshot if name == "Moment" else getattr(planning, name)
    with pytest.warns(FutureWarning, match=f"hadaflow.{name} is now called hadaflow"):
        assert getattr(hf, name) is now


@pytest.mark.parametrize(
    "heavy", ["matplotlib", "pandas", "sklearn", "typer", "rich", "pyarrow", "dask", "scipy.optimize"]
)
def test_import_is_free_of(heavy):
    code = f"import sys, hadaflow; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_import_costs_little_beside_its_dependencies():
    """Counted in modules, not seconds: it loads next to nothing that its dependencies have not."""
    code = (
        "import sys, numpy, scipy.linalg, scipy.sparse.linalg, array_api_compat.numpy;"
        "before = set(sys.modules); import hadaflow; new = set(sys.modules) - before;"
        "print(len([name for name in new if not name.startswith('hadaflow')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(done.stdout) <= 5


def test_version_agrees_with_the_metadata():
    from importlib.metadata import version

    assert hf.__version__ == version("hadaflow")


@pytest.mark.parametrize("name", hf.theory.__all__)
def test_theory_says_where_it_comes_from(name):
    """Functions name their source and the section of the mathematics; classes describe their attributes."""
    from pathlib import Path

    thing = getattr(hf.theory, name)
    if isinstance(thing, type):
        assert "Attributes\n" in thing.__doc__
        return
    assert "Source:" in thing.__doc__
    assert "docs/mathematics.md" in thing.__doc__
    page = (Path(__file__).parent.parent / "docs" / "mathematics.md").read_text(encoding="utf-8")
    titles = set(re.findall(r"^#+ (?:\d+\. )?(.+)$", page, flags=re.MULTILINE))
    text = " ".join(thing.__doc__.split())
    for title in re.findall(r'docs/mathematics\.md, "([^"]+)"', text):
        assert title in titles, title


def test_no_expected_output_pins_digits_at_the_level_of_rounding():
    """Another processor has others."""
    import doctest
    from pathlib import Path

    root, small = Path(__file__).parent.parent, re.compile(r"\de-1[3-9]\b")
    for page in (root / "src").rglob("*.py"):
        for example in doctest.DocTestParser().get_examples(page.read_text("utf-8")):
            assert not small.search(example.want), f"{page.name}: {example.want}"
    for page in (root / "tests").glob("test_*.py"):
        assert not re.search(r"(gap|residual) \d[\d.]*e-1", page.read_text("utf-8")), page.name


@pytest.mark.parametrize(
    ("missing", "call"),
    [
        ("joblib", "sweep(len, {'a': [1]}, jobs=1)"),
        ("pandas", "sweep(len, {'a': [1]}, jobs=1)"),
        ("filelock", "sweep(len, {'a': [1]}, folder='.', jobs=1)"),
        ("cloudpickle", "sweep(len, {'a': [1, 2]}, jobs=2)"),
        ("joblib", "phase_diagram()"),
        ("pandas", "phase_diagram()"),
        ("pyarrow", "reproduce([], '.')"),
        ("pandas", "run_inline(None)"),
        ("jinja2", "write_report([], '.')"),
    ],
)
def test_what_needs_an_extra_names_it(missing, call, monkeypatch):
    """In the plain words of one line, before anything is done."""
    pytest.importorskip("joblib")
    from hadaflow import experiments

    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=f"need {missing}: pip install 'hadaflow\\[experiments\\]'") as raised:
        eval(call, vars(experiments) | {"len": lambda rng, a: {"x": a}})
    assert not isinstance(raised.value, ModuleNotFoundError)
