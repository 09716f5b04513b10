"""The documentation is complete, its snippets run, and its docstrings say what numpydoc wants to know."""

import inspect
import re
import runpy
from collections import Counter
from enum import Enum
from importlib import import_module

import numpy as np
import pytest
from conftest import ROOT, code_of

MODULES = [
    "hadaflow",
    *(
        f"hadaflow.{name}"
        for name in (
            "blocks", "clusters", "estimators", "experiments", "files", "gauges", "groups", "layouts", "losses",
            "models", "operators", "planning", "plotting", "recording", "steps", "stopping", "theory",
        )
    ),
]  # fmt: skip

#: What numpydoc checks, by the meaning of its codes.
CHECKS = {
    "GL02", "GL03", "GL05", "GL06", "GL07", "GL08", "GL09", "GL10",  # a docstring, its sections known and in order
    "SS01", "SS03", "SS04", "SS06",  # a summary of one line that ends like a sentence
    "PR01", "PR02", "PR03", "PR04", "PR05", "PR06", "PR07", "PR09", "PR10",  # parameters: all, in order, with a type
    "RT01", "RT02", "RT04", "RT05", "YD01",  # what comes back
    "SA02", "SA04",  # see also: with a description
    "EX01",  # an example
}  # fmt: skip
#: What the package itself calls, public for those who write tools on it; and one number, which the summary is about.
A_SENTENCE = {
    "hadaflow.blocks.goes_by_blocks",
    *(f"hadaflow.files.{name}" for name in ("atomic_writer", "check_output", "write_arrays", "write_text")),
    "hadaflow.experiments.known",
    "hadaflow.recording.RecordBuffer",
    "hadaflow.recording.as_recorder",
    "hadaflow.steps.as_rule",
    "hadaflow.steps.as_stepper",
    "hadaflow.stopping.BestWatch",
    *(f"hadaflow.stopping.{name}" for name in ("MaxSeconds", "MaxSteps", "MaxTime")),
}
#: Shown at work on a page that the tests run (files, experiments), or not without a cluster.
EXAMPLE_ELSEWHERE = {
    *(f"hadaflow.files.{name}" for name in ("read_matrix", "read_vector", "write_vector")),
    *(f"hadaflow.experiments.{name}" for name in ("find", "known", "reproduce", "run_inline", "write_report")),
    "hadaflow.clusters.connected",
}
#: For methods, whose docstring may be a sentence, without what asks for sections.
SECTIONS = {"PR01", "RT01", "YD01", "EX01"}


def public_names(module):
    """Of a module without __all__: what it defines and does not hide."""
    members = import_module(module)
    defined = [n for n, v in vars(members).items() if n[0] != "_" and getattr(v, "__module__", None) == module]
    return getattr(members, "__all__", defined)


def public_objects():
    """Each once, by the first name it goes by."""
    found = {}
    for module in MODULES:
        for name in public_names(module):
            thing = getattr(import_module(module), name)
            if not inspect.ismodule(thing) and id(thing) not in {id(known) for known in found.values()}:
                found[f"{module}.{name}"] = thing
    return found


OBJECTS = public_objects()


def documented():
    """Names that the pages of the reference give an entry."""
    found = []
    for page in sorted((ROOT / "docs" / "reference").glob("*.rst")):
        module = "hadaflow"
        for directive, argument in re.findall(r"^\.\. (\w+):: *([\w.]+)$", page.read_text("utf-8"), flags=re.MULTILINE):
            if directive == "currentmodule":
                module = argument
            elif directive == "automodule":
                found.append(argument)
            elif directive.startswith("auto") and directive != "autosummary":
                found.append(f"{module}.{argument}")
    return found


def test_the_reference_has_every_public_name_once():
    entries = Counter(documented())
    modules = {f"hadaflow.{name}" for name in import_module("hadaflow").__all__} & set(MODULES)
    missing = (set(OBJECTS) | modules) - set(entries)
    assert not missing, f"missing in docs/reference: {sorted(missing)}"
    assert not [name for name, count in entries.items() if count > 1]
    assert {name for name in entries if name not in OBJECTS} <= set(MODULES)


def test_each_table_of_the_reference_lists_the_entries_below_it():
    for page in sorted((ROOT / "docs" / "reference").glob("*.rst")):
        text = page.read_text("utf-8")
        listed = [name for table in re.findall(r":nosignatures:\n\n((?:   \w+\n)+)", text) for name in table.split()]
        assert listed == re.findall(r"^\.\. auto(?:class|function|data):: (\w+)", text, flags=re.MULTILINE), page.name


def test_every_page_of_the_reference_is_in_its_contents():
    folder = ROOT / "docs" / "reference"
    contents = re.findall(r"^   (\w+)$", (folder / "index.rst").read_text("utf-8"), flags=re.MULTILINE)
    assert sorted(contents) == sorted(page.stem for page in folder.glob("*.rst") if page.stem != "index")


def with_methods(name, thing):
    """The object, and what it defines itself with a docstring of its own; overrides inherit theirs."""
    yield name, CHECKS - (SECTIONS if name in A_SENTENCE else {"EX01"} if name in EXAMPLE_ELSEWHERE else set())
    if inspect.isclass(thing):
        for key, value in vars(thing).items():
            plain = getattr(value, "__func__", value)
            if key[0] != "_" and inspect.isfunction(plain) and plain.__doc__:
                yield f"{name}.{key}", CHECKS - SECTIONS


def excused(code, message, thing, doc):
    """Where numpydoc asks for what is there in another form."""
    if code == "PR01" and inspect.isclass(thing):
        named = set(re.findall(r"'(\*{0,2}\w+)'", message))
        told = {name.strip() for line in (p[0] for p in doc["Attributes"]) for name in line.split(",")}
        # Fields of a record are its attributes; enumerations and protocols are not made by calling them.
        return issubclass(thing, Enum) or named <= told or "*args" in named
    if code == "PR04":  # "n, sign / As in measurements_needed": their types stand there
        told = {name: text for names, _, text in doc["Parameters"] for name in names.replace(",", " ").split()}
        return "".join(told[re.search(r'"(\w+)"', message)[1]]).startswith("As in ")
    if code == "EX01":  # records, and what is subclassed rather than called
        return inspect.isclass(thing)
    return False


@pytest.mark.parametrize("module", MODULES)
def test_docstrings_are_numpydoc(module):
    validate = pytest.importorskip("numpydoc.validate", reason="the group docs is not installed")
    things = {name: thing for name, thing in OBJECTS.items() if name.rpartition(".")[0] == module}
    members = [
        member
        for name, thing in things.items()
        if inspect.isclass(thing) or inspect.isfunction(thing)
        for member in with_methods(name, thing)
    ]
    assert members
    faults = []
    for member, checks in members:
        report = validate.Validator(validate.get_doc_object(validate.Validator._load_obj(member)))
        for code, message in validate.validate(member)["errors"]:
            if code in checks and not excused(code, message, report.obj, report.doc):
                faults.append(f"{member}: {code} {message}")
    assert not faults, "\n".join(faults)


def test_install_ends_with_a_certified_recovery_of_ones_own_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in code_of("docs/install.md"):
        exec(code, names)
    told = re.search(
        r"Recovery\(50 x 200, EXACT, 3 non-zeros, gap (\S+), residual (\S+), unique\)", capsys.readouterr().out
    )
    assert all(float(number) < 1e-12 for number in told.groups())
    assert names["r"].certificate.proves()
    written = np.loadtxt("x.csv", skiprows=1)
    np.testing.assert_allclose(written, names["x"], atol=1e-12)


def test_links_into_the_reference_name_what_is_there():
    for page in (ROOT / "docs").glob("*.md"):
        for name in re.findall(r"\{(?:func|class|mod)\}`([\w.]+)`", page.read_text("utf-8")):
            assert name in documented(), f"{page.name}: {name}"


def test_broken_links_are_found(tmp_path):
    broken_links = runpy.run_path(str(ROOT / "docs" / "check_links.py"))["broken_links"]
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text(
        '<h1 id="top"></h1><a href="#top"></a><a href="sub/page.html#there"></a><a href="https://example.org"></a>'
        '<img src="data:image/png;base64,"><a href="sub"></a><img src="a%20b.png">'
    )
    (tmp_path / "sub" / "page.html").write_text('<p id="there"></p><a href="../index.html#gone"></a><a href="no.html">')
    (tmp_path / "sub" / "index.html").write_text('<script src="https://example.org/x.js"></script>')
    assert broken_links(tmp_path) == [
        "index.html: a%20b.png does not exist",
        "sub/index.html: https://example.org/x.js is loaded from a network",
        "sub/page.html: ../index.html#gone has no such anchor",
        "sub/page.html: no.html does not exist",
    ]


@pytest.fixture(scope="module")
def to_mathml():
    pytest.importorskip("latex2mathml", reason="the group docs is not installed")
    return runpy.run_path(str(ROOT / "docs" / "_ext" / "mathml.py"))["to_mathml"]


def test_formulas_become_what_browsers_draw(to_mathml):
    for tex, part in [
        (r"\mathsf T", "<mi>𝖳</mi>"),
        (r"\mathbb R", "<mi>ℝ</mi>"),
        (r"\mathcal N", "<mi>𝒩</mi>"),
        (r"\mathbf 1", "<mn>𝟏</mn>"),
        (r"\lVert x\rVert", '<mo stretchy="false" lspace="0" rspace="0">‖</mo><mi>x</mi>'),
        (r"\Bigl\lbrace x\Bigr\rbrace", ">{</mo><mi>x</mi>"),
        (r"\bigl\langle x\bigr\rangle", ">⟨</mo><mi>x</mi>"),
        (r"\arg\min_x", "<mo>arg</mo><munder><mo>min</mo>"),
        (r"\boxed{x}", '<mrow class="boxed">'),
        (r"a < b", "<mo>&lt;</mo>"),
    ]:
        assert part in to_mathml(tex, "block")
    with pytest.raises(ValueError, match=r"\\nonsense cannot be converted"):
        to_mathml(r"\nonsense x")


def test_every_formula_of_the_pages_is_understood(to_mathml):
    for page in (ROOT / "docs").rglob("*.md"):
        text = page.read_text("utf-8")
        blocks = re.findall(r"```math\n(.*?)```", text, flags=re.DOTALL)
        prose = re.sub(r"`[^`\n]+`", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        for tex in [*blocks, *re.findall(r"(?<!\$)\$([^$]+)\$(?!\$)", prose)]:
            assert "<math" in to_mathml(tex), page.name
