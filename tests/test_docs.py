"""The pages of the documentation keep their promises."""

import re
import runpy
from contextlib import chdir
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, code_of
from scipy.integrate import solve_ivp

import hadaflow as hf


def test_the_model_of_the_page_works():
    names = {}
    exec(code_of("docs/adding_a_model.md")[0], names)
    model, end = names["HadamardProduct"](), names["end"]
    a, x = 0.1, np.array([-2.0, 0.003, 1.0])
    np.testing.assert_allclose(model.mirror_map(model.inverse(x, a), a), x, rtol=1e-12)
    h = 1e-6
    theta = model.inverse(x, a)
    difference = (model.mirror_map(theta + h, a) - model.mirror_map(theta - h, a)) / (2 * h)
    np.testing.assert_allclose(difference, model.slope(theta, a), rtol=1e-8)
    np.testing.assert_allclose((model.potential(x + h, a) - model.potential(x - h, a)) / (2 * h), theta, rtol=1e-6)

    A, y = np.array([[1.0, 0.5]]), np.array([1.0])
    start = model.start(a, np.zeros(2))

    def velocity(_, w):
        factors = type(start)(w[:2], w[2:])
        pulled = model.pull_back(factors, A.T @ (A @ model.forward(factors) - y))
        return -np.concatenate([pulled.u, pulled.v])

    w = solve_ivp(velocity, (0, 300), np.concatenate([start.u, start.v]), rtol=1e-11, atol=1e-13).y[:, -1]
    np.testing.assert_allclose(end.x, w[:2] * w[2:], atol=1e-9)
    twin = hf.limit(hf.Problem(A, y), hf.HadamardPower(2), init_scale=a / np.sqrt(2))
    np.testing.assert_allclose(end.x, twin.x, rtol=1e-10)

    # Training follows it like any other.
    run = hf.descend(hf.Problem(A, y), model, init_scale=a, stop=hf.stopping.Residual(1e-10))
    path = hf.flow(hf.Problem(A, y), model, init_scale=a, tolerance=1e-9)
    np.testing.assert_allclose(run.x, end.x, atol=2e-2)  # finite steps
    np.testing.assert_allclose(path(path.times[-1]), end.x, atol=1e-8)


def test_the_model_with_a_barrier_of_the_page_works(documented):
    names = documented
    np.testing.assert_allclose(names["scaled"].x, names["same"], rtol=1e-12)
    model, a = names["ScaledCube"](0.7), 0.1
    x = np.array([-2.0, 1e-9, 1.0])
    theta = model.inverse(x, a)
    np.testing.assert_allclose(model.mirror_map(theta, a), x, rtol=1e-11)
    h = 1e-6 * theta
    difference = (model.mirror_map(theta + h, a) - model.mirror_map(theta - h, a)) / (2 * h)
    np.testing.assert_allclose(difference, model.slope(theta, a), rtol=1e-6)
    h = 1e-4 * x
    np.testing.assert_allclose((model.potential(x + h, a) - model.potential(x - h, a)) / (2 * h), theta, rtol=1e-5)
    product = theta * x - model.conjugate(theta, a)
    np.testing.assert_allclose(model.potential(x, a), product, rtol=1e-9)
    barrier = 1 / (3 * 0.7 * a)
    beyond = np.array([-2, -1, 1, 2]) * barrier
    np.testing.assert_array_equal(model.mirror_map(beyond, a), np.copysign(np.inf, beyond))
    assert np.isposinf(model.slope(beyond, a)).all()
    assert np.isposinf(model.conjugate(beyond, a)).all()
    rng = np.random.default_rng(1)
    problem = hf.Problem(rng.standard_normal((5, 12)), rng.standard_normal(5))
    for scale in (1e-2, 1e-17):  # at the second one theta rounds to the barrier
        path = hf.flow(problem, model, init_scale=scale)
        np.testing.assert_allclose(path.x, hf.limit(problem, model, init_scale=scale).x, atol=1e-5)
    assert "saddle path" in path.reason


@pytest.fixture(scope="module")
def defined(tmp_path_factory):
    """A function that gives what the code of a page defines; its comments say what comes out."""
    run = runpy.run_path(str(ROOT / "docs" / "page_numbers.py"))["run"]

    @cache
    def names_of(page):
        with chdir(tmp_path_factory.mktemp("page")):
            names, lines = run(page)
            names["folder"] = Path.cwd()
        stale = {line: wanted for line, wanted in lines.items() if line != wanted}
        assert not stale, f"{page}: `python docs/page_numbers.py` writes the comments again"
        return names

    return names_of


def test_the_start_page_works(defined):
    pytest.importorskip("pywt")
    certificate = defined("index.md")["r"].certificate
    assert certificate.proves()
    assert certificate.unique


def test_each_call_of_the_page_does_what_it_says(defined, capsys):
    names = defined("which_call.md")
    assert "excess of the" in capsys.readouterr().out
    np.testing.assert_array_equal(np.loadtxt(names["folder"] / "x.csv", skiprows=1), names["chosen"].x)
    np.testing.assert_allclose(names["path"](names["path"].t_end), names["end"].x, atol=1e-5)
    assert names["result"].records.groupby("m")["error"].median()[15] < 1e-9
    assert names["certificate"].gap < 1e-9
    relative = names["level"] / np.linalg.norm(names["operator"] @ names["compressible"])
    assert f"the noise is {100 * relative:.0f} % of the samples" in (ROOT / "docs/which_call.md").read_text("utf-8")

    # "on sparse x its error is larger"
    operator, spikes, level = names["operator"], names["spikes"], 0.01 * 120**0.5
    problem = hf.Problem(operator, operator @ spikes + 0.01 * np.random.default_rng(1).standard_normal(120))
    start = hf.start_from_data(problem, names["deep"], noise_level=level)
    stop = hf.stopping.Discrepancy(level)
    path = hf.flow(problem, names["deep"], init_scale=start, method="proximal", stop=stop)
    best = hf.recover(operator, problem.y, noise_level=level)
    assert np.linalg.norm(path.x - spikes) > 1.5 * np.linalg.norm(best.x - spikes)


def test_the_answers_to_questions_are_right(defined):
    names = defined("faq.md")
    assert names["single"].status is hf.Status.EXACT
    assert names["r"].support().tolist() == names["chosen"].support().tolist() == [3, 77, 120]


def test_the_rules_of_the_page_work():
    names = {}
    exec(code_of("docs/adding_a_rule.md")[0], names)
    run = names["run"]
    assert run.status is hf.Status.STOPPED
    assert run.x[0] > 0.9
    assert "condition" in run.reason
    np.testing.assert_allclose(run.history["ratio"][-1], run.x[1] / run.x[0])
    wild = hf.descend(
        names["problem"],
        hf.HadamardPower(1),
        init_scale=0.1,
        step=2.0,
        stop=names["LossRises"]() | hf.stopping.MaxSteps(50),
    )
    assert "grew 3 times" in wild.reason


def test_the_page_of_the_estimators_works(defined):
    names = defined("estimators.md")
    assert names["model"].coef_.shape == (600,)
    assert names["classifier"].classes_.tolist() == ["no", "yes"]
    assert np.flatnonzero(names["classifier"].support_).tolist()[:1] == [3]


def test_the_page_of_paper_b_works(defined):
    names = defined("paper_b.md")
    assert len(names["seen"].support) == 5
    assert names["window"].start < names["middle"] < names["window"].stop


def test_every_page_with_code_is_run_somewhere():
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    tests = tests.replace('" / "', "/")
    for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        if "```python" in path.read_text(encoding="utf-8") and "auto_gallery" not in path.parts:
            page = str(path.relative_to(ROOT / "docs")) if path.name != "README.md" else path.name
            wanted = (f"docs/{page}", f'"{page}"', f'"{page.removesuffix(".md")}"', f'"{path.stem}"')
            assert any(name in tests for name in wanted), page


def test_the_gauge_of_the_page_works(defined):
    names = defined("adding_a_gauge.md")
    assert names["r"].status is hf.Status.EXACT
    assert names["r"].certificate.unique
    assert names["largest_error"] < 1e-12


def test_the_page_of_groups_works(defined):
    names = defined("groups.md")
    np.testing.assert_allclose(names["spectrum"].x, np.abs(names["x"]), atol=1e-12)
    np.testing.assert_array_equal(names["same"].active_groups(), [10, 25])
    assert names["same"].support().tolist() == [40, 41, 42, 43, 100, 101, 102, 103]
    assert 0 < np.abs(names["end"].x - names["z"]).max() < 1e-4
    assert names["r"].certificate.unique
    assert np.count_nonzero(names["r"].x) > 60
    joint = hf.recover(names["A"][:20], names["A"][:20] @ names["X"], joint=True)
    np.testing.assert_allclose(joint.x, names["X"], atol=1e-12)


def test_the_loss_of_the_page_works(defined):
    names = defined("adding_a_loss.md")
    loss, h = names["Huber"](0.3), 1e-6
    p, y = np.linspace(-2, 2, 41) + 0.013, np.full(41, 0.2)  # on no kink
    np.testing.assert_allclose(loss.gradient(p, y), (loss.terms(p + h, y) - loss.terms(p - h, y)) / (2 * h), atol=1e-9)
    curvature = (loss.gradient(p + h, y) - loss.gradient(p - h, y)) / (2 * h)
    np.testing.assert_allclose(loss.curvature(p, y), curvature, atol=1e-9)
    assert curvature.max() <= loss.curvature_bound * (1 + 1e-9)
    assert loss.name == "huber"

    run, path = names["run"], names["path"]
    np.testing.assert_allclose(run.x, path.x, atol=1e-3)
    n = names["problem"].shape[1]

    def velocity(_, w):
        pulled = 2 * names["A"].T @ loss.gradient(names["A"] @ (w[:n] ** 2 - w[n:] ** 2), names["y"])
        return np.concatenate([-pulled * w[:n], pulled * w[n:]])

    w = solve_ivp(velocity, (0, 0.5), np.full(2 * n, 1e-3), rtol=1e-8, atol=1e-10).y[:, -1]
    np.testing.assert_allclose(path(0.5), w[:n] ** 2 - w[n:] ** 2, atol=1e-4)
    long = hf.flow(names["problem"], names["model"], init_scale=1e-3, t_end=0.02, method="proximal")
    np.testing.assert_allclose(long.dual(0.01), path.dual(0.01), rtol=0.05, atol=1e-3)
    batch = hf.descend_batch(
        names["problem"], names["model"], init_scale=[1e-3, 1e-2], step=hf.steps.Auto(0.01), stop=names["stop"]
    )
    np.testing.assert_allclose(batch[0].x, run.x, atol=1e-9)


def test_readme_snippets_run(capsys):
    first, calls, regression, theory, many = code_of("README.md")
    names = {}
    exec(first, names)
    assert names["r"].certificate.unique
    names["y"] = names["A"] @ names["x"]
    exec(theory, names)
    assert "excess of the" in capsys.readouterr().out
    names |= {"A": names["A"], "y": names["A"] @ np.abs(names["x"]), "w": np.linspace(1, 2, 200)}
    names["Y"] = np.column_stack([names["y"], 2 * names["y"]])
    exec(calls, names)
    table = {"X": names["A"], "y": names["A"] @ names["x"] + 0.1 * np.random.default_rng(1).standard_normal(50)}
    exec(regression, table)
    assert np.flatnonzero(table["model"].support_).tolist() == [3, 77, 120]
    shown = {}
    exec(many.replace("repeats=5)", "repeats=2, jobs=1)"), shown)
    assert len(shown["diagram"].records) == 8 * 8 * 2


def test_the_page_of_clusters_works(tmp_path, monkeypatch, capsys):
    far, planned, big, many = code_of("docs/cluster.md")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    A = rng.standard_normal((50, 200))
    np.save("A.npy", A)
    np.save("y.npy", A[:, 3] - A[:, 77])
    names = {}
    exec(far, names)
    assert names["r"].certificate.unique
    exec(planned, names)
    exec(big, names)
    told = capsys.readouterr().out
    page = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    for block in re.findall(r"```\n(A  .*?)```", page, flags=re.DOTALL):  # as the page says
        assert block in told
    exec(many.replace("seed=0)", "seed=0, jobs=1)"), names)
    medians = names["result"].records.groupby(["m", "depth"])["error"].median()
    assert medians[30, 3.0] < 1e-3 < medians[15, 2.0]


def test_links_within_the_project_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]:
        targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
        lost = [target for target in targets if not (page.parent / target).exists()]
        assert not lost, page
