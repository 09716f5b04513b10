"""The pages of the documentation keep their promises."""

import re
from pathlib import Path

import numpy as np
from scipy.integrate import solve_ivp

import hadaflow as hf

ROOT = Path(__file__).parent.parent


def code_of(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)


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


def test_the_model_with_a_barrier_of_the_page_works():
    names = {}
    for block in code_of("docs/adding_a_model.md"):
        exec(block, names)
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


def test_the_page_of_calls_says_what_comes_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, told = {}, {}
    for block in code_of("docs/which_call.md"):
        exec(block, names)
        for name in ("write_vector", "compressible"):
            if name in block:
                told[name] = [float(number) for number in re.findall(r"0\.\d+", block.rpartition("#")[2])]
        if "compressible" in block:
            break
    sigma, x, answers = names["chosen"].sigma, names["compressible"], names["answers"]
    assert told["write_vector"] == [round(sigma * 50**0.5, 2)]
    np.testing.assert_array_equal(np.loadtxt("x.csv", skiprows=1), names["chosen"].x)
    size = np.linalg.norm(x)
    np.testing.assert_allclose(told["compressible"], [np.linalg.norm(z - x) / size for z in answers], atol=0.006)
    share = names["level"] / np.linalg.norm(names["operator"] @ x)
    assert f"the noise is {100 * share:.0f} % of the samples" in (ROOT / "docs/which_call.md").read_text("utf-8")

    # "on sparse x its error is larger"
    operator, spikes, level = names["operator"], names["spikes"], 0.01 * 120**0.5
    problem = hf.Problem(operator, operator @ spikes + 0.01 * np.random.default_rng(1).standard_normal(120))
    start = hf.start_from_data(problem, names["deep"], noise_level=level)
    stop = hf.stopping.Discrepancy(level)
    path = hf.flow(problem, names["deep"], init_scale=start, method="proximal", stop=stop)
    best = hf.recover(operator, problem.y, noise_level=level)
    assert np.linalg.norm(path.x - spikes) > 1.5 * np.linalg.norm(best.x - spikes)


def test_the_answers_to_questions_are_right():
    names = {}
    for block in code_of("docs/faq.md"):
        exec(block, names)
        if "single" in block:
            certificate = names["single"].certificate
            assert f"{certificate.residual:.0e}".replace("e-0", "e-") in block
            assert (certificate.proves(), certificate.proves(gap=1e-6, residual=1e-6)) == (False, True)
            assert names["single"].status is hf.Status.EXACT
            assert hf.recover(names["A"], names["y"]).certificate.proves(gap=1e-8, residual=1e-10)
        if "sigma * 50" in block:
            assert f"# {names['chosen'].sigma * 50**0.5:.2f}: an estimate" in block


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


def test_the_page_of_the_estimators_works():
    names = {}
    blocks = code_of("docs/estimators.md")
    exec(blocks[0], names)
    assert set(np.flatnonzero(names["model"].support_)) == {3, 77, 120}
    for block in blocks[1:]:
        exec(block, names)
        if "get_feature_names_out" in block:
            chosen = names["pipe"][:-1].get_feature_names_out()[names["model"].support_]
            assert chosen.tolist() == ["x3"]  # as the page says
    assert names["model"].coef_.shape == (600,)
    assert names["classifier"].classes_.tolist() == ["no", "yes"]
    assert np.flatnonzero(names["classifier"].support_).tolist()[:1] == [3]


def test_the_page_of_paper_b_works():
    names = {}
    (window,) = code_of("docs/paper_b.md")
    exec(window, names)
    seen, window = names["seen"], names["window"]
    assert (len(seen.support), round(seen.sigma, 2)) == (5, 0.54)
    assert [round(seen.signal, 2), round(seen.noise, 2)] == [0.92, 0.13]  # as the page says
    assert [round(window.start, 3), round(window.stop, 3)] == [0.134, 0.869]
    assert round(float(np.linalg.norm(names["path"].x - names["x"])), 3) == 0.138


def test_every_page_with_code_is_run_somewhere():
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    tests = tests.replace('" / "', "/")
    for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        if "```python" in path.read_text(encoding="utf-8") and "auto_gallery" not in path.parts:
            page = str(path.relative_to(ROOT / "docs")) if path.name != "README.md" else path.name
            wanted = (f"docs/{page}", f'"{page}"', f'"{page.removesuffix(".md")}"', f'"{path.stem}"')
            assert any(name in tests for name in wanted), page


def test_the_loss_of_the_page_works():
    names = {}
    exec(code_of("docs/adding_a_loss.md")[0], names)
    loss, h = names["Huber"](0.3), 1e-6
    p, y = np.linspace(-2, 2, 41) + 0.013, np.full(41, 0.2)  # on no kink
    np.testing.assert_allclose(loss.gradient(p, y), (loss.terms(p + h, y) - loss.terms(p - h, y)) / (2 * h), atol=1e-9)
    bend = (loss.gradient(p + h, y) - loss.gradient(p - h, y)) / (2 * h)
    np.testing.assert_allclose(loss.curvature(p, y), bend, atol=1e-9)
    assert bend.max() <= loss.curvature_bound * (1 + 1e-9)
    assert loss.name == "huber"

    run, path, errors = names["run"], names["path"], names["errors"]
    np.testing.assert_allclose(run.x, path.x, atol=1e-3)
    np.testing.assert_allclose(errors, [0.1, 0.1, 12], rtol=0.05)  # as the page says
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
