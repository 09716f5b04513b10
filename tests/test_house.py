"""What holds for the package as a whole: what it exports and loads, and the rules of the house."""

import ast
import doctest
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import house_rules
import pytest

import hadaflow as hf

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src" / "hadaflow"

PUBLIC = [
    "Certificate", "Certificates", "ConvergenceWarning", "Criterion", "DotTest", "FlowPath", "HadamardPower", "History",
    "LassoCertificate", "Limit", "Model", "Problem", "Progress", "Recorder", "Recoveries", "Recovery", "SaddlePath",
    "Selection", "Snapshot", "Stats", "Status", "Trajectory", "certify", "certify_lasso", "criterion_prices", "descend",
    "descend_batch", "dot_test", "flow", "gauges", "limit", "losses", "recording", "recover", "recover_each", "saddles",
    "select", "start_from_data", "steps", "stopping", "theory",
]  # fmt: skip


def test_public_names_are_frozen():
    assert sorted(hf.__all__) == PUBLIC
    assert all(getattr(hf, name).__doc__ for name in PUBLIC)


def test_names_of_before_work_and_warn():
    from hadaflow import planning

    for name in ("Costs", "Moment", "Plan", "plan"):
        now = hf.Snapshot if name == "Moment" else getattr(planning, name)
        with pytest.warns(FutureWarning, match=f"hadaflow.{name} is now called hadaflow"):
            assert getattr(hf, name) is now


@pytest.mark.parametrize(
    ("function", "old", "new", "options"),
    [
        (hf.theory.safe_step, "pull", "gradient", {"depth": 3, "init_scale": 0.1, "largest": 1.0, "norm": 1.0}),
        (
            hf.start_from_data,
            "share",
            "fraction",
            {"problem": hf.Problem([[1]], [1]), "model": hf.HadamardPower(2)},
        ),
    ],
)
def test_arguments_of_before_work_and_warn(function, old, new, options):
    name = function.__name__
    with pytest.warns(FutureWarning, match=f"the argument {old} of {name} is now called {new}") as caught:
        assert function(**options, **{old: 0.7}) == function(**options, **{new: 0.7})
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.raises(TypeError, match=f"{old} is now called {new}: give only {new} to {name}"):
        function(**options, **{old: 0.7, new: 0.7})


def test_import_loads_no_extra_and_little_beside_its_dependencies():
    """Counted in modules, not seconds: it loads next to nothing that its dependencies have not."""
    code = (
        "import sys, numpy, scipy.linalg, scipy.sparse.linalg, array_api_compat.numpy;"
        "before = set(sys.modules); import hadaflow; new = set(sys.modules) - before;"
        "print(*[name for name in new if not name.startswith('hadaflow')])"
    )
    new = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    heavy = {"matplotlib", "pandas", "sklearn", "typer", "rich", "pyarrow", "dask", "scipy.optimize"}
    assert not heavy & set(new)
    assert len(new) <= 5, new


def test_version_agrees_with_the_metadata():
    assert hf.__version__ == version("hadaflow")


def test_the_table_of_rooms_is_that_of_the_package():
    lines = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("| module |")[2].partition("\n\n")[0].splitlines()
    rooms = [line for line in lines[2:] if not line.endswith("| to come |")]
    listed = re.findall(r"`(\w+)`", " ".join(line.split("|")[1] for line in rooms))
    named = set(re.findall(r"`(\w+)`", " ".join(rooms)))
    there = {path.stem for path in SOURCES.glob("[!_]*") if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert sorted(name for name in listed if name[0] != "_") == sorted(there)
    assert {path.stem for path in SOURCES.glob("_[!_]*.py")} <= named
    assert {path.stem for path in (SOURCES / "solvers").glob("[!_]*")} <= named


def test_theory_says_where_it_comes_from():
    """Functions name their source and the section of the mathematics; classes describe their attributes."""
    page = (ROOT / "docs" / "mathematics.md").read_text(encoding="utf-8")
    titles = set(re.findall(r"^#+ (?:\d+\. )?(.+)$", page, flags=re.MULTILINE))
    for name in hf.theory.__all__:
        thing = getattr(hf.theory, name)
        if isinstance(thing, type):
            assert "Attributes\n" in thing.__doc__, name
            continue
        assert "Source:" in thing.__doc__, name
        assert "docs/mathematics.md" in thing.__doc__, name
        sections = re.findall(r'docs/mathematics\.md, "([^"]+)"', " ".join(thing.__doc__.split()))
        assert set(sections) <= titles, name


def test_no_expected_output_pins_digits_at_the_level_of_rounding():
    """Another processor has others."""
    small = re.compile(r"\de-1[3-9]\b")
    for page in SOURCES.rglob("*.py"):
        for example in doctest.DocTestParser().get_examples(page.read_text("utf-8")):
            assert not small.search(example.want), f"{page.name}: {example.want}"
    for page in (ROOT / "tests").glob("test_*.py"):
        assert not re.search(r"(gap|residual) \d[\d.]*e-1", page.read_text("utf-8")), page.name


def test_what_needs_an_extra_names_it(monkeypatch):
    """In the plain words of one line, before anything is done."""
    pytest.importorskip("joblib")
    from hadaflow import experiments

    for missing, call in [
        ("joblib", "sweep(len, {'a': [1]}, jobs=1)"),
        ("pandas", "sweep(len, {'a': [1]}, jobs=1)"),
        ("filelock", "sweep(len, {'a': [1]}, folder='.', jobs=1)"),
        ("cloudpickle", "sweep(len, {'a': [1, 2]}, jobs=2)"),
        ("joblib", "phase_diagram()"),
        ("pandas", "phase_diagram()"),
        ("pyarrow", "reproduce([], '.')"),
        ("pandas", "run_inline(None)"),
        ("jinja2", "write_report([], '.')"),
    ]:
        with monkeypatch.context() as without:
            without.setitem(sys.modules, missing, None)
            with pytest.raises(ImportError, match=f"need {missing}: pip install 'hadaflow\\[experiments\\]'") as raised:
                eval(call, vars(experiments) | {"len": lambda rng, a: {"x": a}})
        assert not isinstance(raised.value, ModuleNotFoundError), call


# ---- rules of the house ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", house_rules.EXCEPTIONS, ids=lambda rule: rule.__name__)
def test_rules_of_the_house(rule):
    new, gone = house_rules.differences(rule)
    assert not new, "\n".join([f"{rule.__doc__} Not so:", *new])
    assert not gone, "\n".join([f"These keep {rule.__name__} now: take them out of tests/house_rules.py", *gone])


def test_what_the_rules_allow_is_there():
    assert house_rules.asked_with_default() >= house_rules.FOREIGN
    assert house_rules.asked_for_sparsity() >= house_rules.READS_INPUT


def test_each_rule_sees_what_breaks_it(monkeypatch):
    before = {rule: rule() for rule in house_rules.EXCEPTIONS}
    monkeypatch.setattr(house_rules, "LONGEST_MODULE", 0)
    bad = ast.parse("""
from hadaflow.plotting._drawing import BLUE
class Twin: ...
class Twin: ...
def many(a, b, c, d, e, f, g, *, h, i): ...
getattr(many, "member", None)
Matrix = NDArray[np.float64]
issparse(many)
known_by = 1
""")
    monkeypatch.setitem(house_rules.SYNTAX, "theory/bad.py", list(ast.walk(bad)))
    assert {rule.__name__: sorted(rule() - before[rule])[:1] for rule in house_rules.EXCEPTIONS} == {
        "long_modules": ["__init__.py"],
        "private_imports": ["theory/bad.py: hadaflow.plotting._drawing"],
        "classes_of_one_name": ["theory: Twin"],
        "long_signatures": ["theory/bad.py: many"],
        "getattr_with_default": ["theory/bad.py: 'member'"],
        "array_types": ["theory/bad.py: Matrix"],
        "sparse_or_not": ["theory/bad.py"],
        "homely_words": ["known_by: theory"],
    }
