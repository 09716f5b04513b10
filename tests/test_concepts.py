"""The concept pages say what their snippets, their figures and the records of the benchmarks say."""

import inspect
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq

import hadaflow as hf
from hadaflow.experiments import base
from hadaflow.theory import predicted_exponent, signal_time, stopping_window

DOCS = Path(__file__).parent.parent / "docs"
RESULTS = DOCS.parent / "benchmarks" / "results"
FIGURES = runpy.run_path(str(DOCS / "concepts" / "figures.py"))
PAGES = sorted(path.stem for path in (DOCS / "concepts").glob("*.md") if path.stem != "index")


def text_of(page):
    return (DOCS / "concepts" / f"{page}.md").read_text(encoding="utf-8")


def code_of(page):
    """The blocks of a page."""
    return re.findall(r"```python\n(.*?)```", text_of(page), flags=re.DOTALL)


def run(page):
    """What the blocks define, run one after the other."""
    names = {}
    for code in code_of(page):
        exec(code, names)
    return names


def says(page, *sentences):
    """The page contains these, wherever its lines are broken."""
    text = " ".join(text_of(page).split())
    for sentence in sentences:
        assert sentence in text, sentence


def off(x, truth):
    return np.linalg.norm(x - truth)


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_short_and_complete(page):
    text, blocks = text_of(page), code_of(page)
    assert 1 <= len(blocks) <= 2
    for code in blocks:
        assert sum(bool(line.strip()) and not line.startswith("#") for line in code.splitlines()) <= 10
    assert text.splitlines()[2].startswith("*")
    assert "?" in text.splitlines()[2]  # begins with a question
    assert len(re.findall(r"!\[.{40,}\]\(\.\./images/concepts/", text)) == 1  # a figure, told in words
    assert "## What this does not say" in text
    assert "](../reference/" in text
    assert page in {draw.__name__ for draw in FIGURES["FIGURES"]}


def test_links_lead_to_headings_that_exist():
    """Those to other files are tested in test_docs.py."""
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#\s]+\.md)#([^)]+)\)", text_of(page)):
            file = DOCS / "concepts" / target
            titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in slugs, (page, target, anchor)


def test_figures_are_drawn(tmp_path, capsys):
    FIGURES["main"](["--output", str(tmp_path)])
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn == {path.name for path in FIGURES["IMAGES"].glob("*.png")}
    assert drawn == {f"{page}.png" for page in PAGES}
    assert len(capsys.readouterr().out.splitlines()) == len(PAGES)


def test_the_figure_of_records_is_left_out_where_there_are_none(tmp_path, capsys, monkeypatch):
    names = FIGURES["main"].__globals__
    monkeypatch.setitem(names, "RESULTS", tmp_path / "none")
    monkeypatch.setitem(names, "FIGURES", (FIGURES["choosing_a_solver"],))
    FIGURES["main"](["--output", str(tmp_path)])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("choosing_a_solver: left out, no basis_pursuit.md and no regression.md in ")
    assert not list(tmp_path.glob("*.png"))


def test_one_state_one_map():
    names = run("one_state_one_map")
    A, y, a = names["A"], names["y"], 0.05
    nu = names["path"].dual(20.0)
    assert nu.shape == (20,)

    def trained(step):
        u = v = np.full(50, a)
        for _ in range(round(20 / step)):
            g = step * A.T @ (y - A @ (u**3 - v**3))
            u, v = u + 3 * g * u**2, v - 3 * g * v**2
        return u**3 - v**3

    x = names["x"]
    says("one_state_one_map", "to 9e-6: steps are", "end within 9e-6 of it, ten times longer ones within 9e-5")
    np.testing.assert_allclose(np.abs(x - (names["u"] ** 3 - names["v"] ** 3)).max(), 9e-6, rtol=0.1)
    np.testing.assert_allclose(np.abs(x - trained(0.01)).max(), 9e-5, rtol=0.1)
    data = FIGURES["training_data"]()
    np.testing.assert_array_equal(data.A, A)
    np.testing.assert_allclose(data.y, y, rtol=1e-12)


def test_depth_and_scale():
    names = run("depth_and_scale")
    errors, waits, rho = names["errors"], names["waits"], names["rho"]
    two, three, four = (f"{error:.1e}" for error in errors)
    says("depth_and_scale", f"# errors {two}, {three}, {four}; waits {waits[0]:.1f}, {waits[1]:.0f}, {waits[2]:.0f}")
    says("depth_and_scale", f"# {rho:.2f}: the slope at depth 2 is {1 - rho:.2f}")
    nearer, longer = errors[0] / errors[1], waits[1] / waits[0]
    says(
        "depth_and_scale",
        f"depth 3 ends {nearer:.0f} times nearer than depth 2 here and takes {longer:.0f} times as long",
    )
    assert 3.5 < waits[2] / waits[1] < 4.5  # "four times as long again"
    assert 1 < errors[1] / errors[2] < 2  # "less than a factor of two"

    curves = names["curves"]
    for depth, curve in curves.items():
        says("depth_and_scale", f"# depth {depth}: {', '.join(f'{error:.1e}' for error in curve)}")
    np.testing.assert_allclose([curves[depth][2] for depth in (2, 3, 4)], errors, rtol=1e-6)  # "the third number"

    data = FIGURES["small_data"]()
    np.testing.assert_array_equal(data.A, names["A"])
    np.testing.assert_array_equal(data.x, names["x"])
    for depth in (2, 3, 4):
        few, fewer = (FIGURES["limit_error"](data.A, data.x, depth=depth, product_scale=w).total for w in (1e-8, 1e-10))
        np.testing.assert_allclose(np.log10(few / fewer) / 2, predicted_exponent(depth, rho), rtol=0.01)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_waiting_times_are_those_of_the_formula(depth):
    w, x = 1e-40, 2.0
    exact = signal_time(depth=depth, init_scale=w ** (1 / depth), signal=x)
    rough = np.log(1 / w) / (4 * x) if depth == 2 else w ** (-(depth - 2) / depth) / (depth * (depth - 2) * x)
    np.testing.assert_allclose(rough, exact, rtol=0.05)


def test_early_stopping():
    page, names = "early_stopping", run("early_stopping")
    A, problem, truth = names["A"], names["problem"], np.repeat([1.0, 0.0], [5, 195])
    end, path, found, chosen = (off(names[name].x, truth) for name in ("end", "path", "found", "chosen"))
    says(page, f"# errors here: {end:.3f}, {path:.3f}, {found:.3f}, {chosen:.3f}")
    says(page, f"here {path:.3f}, against {end:.3f} at the end")
    np.testing.assert_array_equal(problem.y, FIGURES["noisy_data"]().y)
    norm = np.linalg.norm(problem.y - A @ truth)
    oracle = np.linalg.lstsq(A[:, :5], problem.y, rcond=None)[0]
    assert off(oracle, 1.0) == pytest.approx(path, rel=0.01)

    rules = {
        "`Discrepancy(norm)`": hf.stopping.Discrepancy(norm),
        "`Discrepancy(sigma * m**0.5)`": hf.stopping.Discrepancy(5.0),
        "`NullGradient(sigma)`": hf.stopping.NullGradient(0.5),
        "`Plateau()`": hf.stopping.Plateau(),
    }
    flows = {label: hf.flow(problem, stop=rule, **names["run"]) for label, rule in rules.items()}
    refits = {label: off(flow.refit(), truth) for label, flow in flows.items()}
    early, late, still, _ = refits.values()
    assert f"{early:.3f}" == f"{still:.3f}" == "0.138"
    says(page, f"become {early:.3f}", f"0.189 becomes {late:.3f}")
    found = flows["`Discrepancy(sigma * m**0.5)`"].support()
    assert (len(found), sum(found >= 5)) == (10, 5)  # "ten coordinates, five of them false"
    answers = {label: flow.x for label, flow in flows.items()}
    answers["`hf.recover(A, y, noise_level=norm)`"] = hf.recover(A, problem.y, noise_level=norm).x
    answers["`hf.select(problem)`"] = hf.select(problem).x
    rows = [line for line in text_of(page).splitlines() if line.startswith("|")]
    for label, answer in answers.items():
        (row,) = (row for row in rows if label in row)
        assert row.rstrip("| ").endswith(f"{off(answer, truth):.3f}"), (label, off(answer, truth))


def test_the_window_of_early_stopping():
    data = FIGURES["noisy_data"]()
    path = hf.flow(hf.Problem(data.A, data.y), hf.HadamardPower(3), init_scale=0.01, t_end=100.0)
    times = np.geomspace(0.1, 100, 400)
    iterates = np.linalg.norm(path(times) - data.x, axis=1)
    averages = np.linalg.norm(path.average(times) - data.x, axis=1)
    says("early_stopping", f"best later, at {averages.min():.3f}")
    assert times[averages.argmin()] > times[iterates.argmin()]

    def breadth(errors):
        good = times[errors <= 1.5 * errors.min()]
        return good[-1] / good[0]

    assert breadth(averages) > breadth(iterates) > 3  # "over a broader range of times"
    good = times[iterates <= 1.5 * iterates.min()]
    noise = data.A.T @ (data.y - data.A @ data.x) / 100
    signal = np.abs(data.A.T @ data.y)[:5].min() / 100
    guess = stopping_window(depth=3, init_scale=0.01, signal=signal, noise=np.abs(noise[5:]).max(), column_square=100)
    assert good[0] * 0.8 < guess.start < good[0] * 1.25  # the dashed lines stand at the edges of the window
    assert good[-1] * 0.8 < guess.stop < good[-1] * 1.25


def test_limit_and_saddles():
    page, names = "limit_and_saddles", run("limit_and_saddles")
    path, errors, problem = names["path"], names["errors"], names["problem"]
    says(page, "are 0, 0.36, 0.96, 2.12: three jumps")
    np.testing.assert_allclose(path.times, [0, 0.36, 0.96, 2.12], atol=0.006)
    says(page, f"# errors {errors[0]:.1f}, {errors[1]:.3f}, {errors[2]:.1e}")
    assert names["lasso"].gap < 1e-12
    np.testing.assert_allclose(path(1 / 0.2), path.final, atol=1e-12)
    np.testing.assert_allclose(path.final[:3], [3, -2, 1], rtol=1e-12)
    says(page, "the iterate is $(3, -2, 1)$, exactly; the average is $(2.73, -1.59, 0.58)$")
    np.testing.assert_allclose(path.average(1 / 0.2)[:3], [2.73, -1.59, 0.58], atol=0.006)
    np.testing.assert_allclose(FIGURES["three_data"]().y, problem.y, rtol=1e-12)
    # The optimality condition of the page.
    for tau in (0.5, 1.5, 5.0):
        theta = problem.A.T @ path.dual_at(tau)
        assert np.abs(theta).max() <= 1 + 1e-12
        pull = problem.A.T @ (problem.y - problem.A @ path.average(tau))
        np.testing.assert_allclose(pull, theta / tau, atol=1e-12)


def test_certificates():
    page, names = "certificates", run("certificates")
    certificate, truth, weak, r = names["r"].certificate, names["truth"], names["weak"], names["r"]
    assert certificate.gap < 1e-12
    assert certificate.unique
    assert certificate.proves(gap=1e-8, residual=1e-10)
    says(page, f"# norm {truth.l1_norm:.2f}, lower bound {truth.lower_bound:.2f}: gap {truth.gap:.2f}")
    says(page, f"gap {weak.gap:.2f}, no wrong claim", "as many non-zeros as measurements (25)")
    assert weak.lower_bound <= certificate.l1_norm
    assert len(r.support()) == 25
    np.testing.assert_array_equal(FIGURES["signs_data"](25).x, names["x"])
    above = FIGURES["signs_data"](50)
    full = hf.recover(above.A, above.y)
    np.testing.assert_allclose(full.x, above.x, atol=1e-12)  # the upper panel finds the truth
    says(page, f"a small margin ({certificate.margin:.3f}; in the upper panel {full.certificate.margin:.2f})")


def test_certificates_with_a_noise_level():
    page, names = "certificates", run("certificates")
    noisy, c, s, z, left = (names[name] for name in ("noisy", "c", "s", "z", "left"))
    problem, dual = noisy.problem, noisy.dual
    assert noisy.status is hf.Status.NOISE_LEVEL
    assert not c.proves()
    says(page, f"# its error: {off(noisy.x, z):.3f}")
    says(page, f"# gap {c.gap:.3f}, margin {c.margin:.2f}, unique {c.unique}; residual {c.residual:.3f}, that is")
    says(page, f"that is {left:.2f} of the {s:.2f} allowed", f"{left:.2f} against {s:.2f}, and")
    np.testing.assert_allclose(left, off(problem.A @ noisy.x, problem.y), rtol=1e-12)
    bound = (problem.y @ dual - s * np.linalg.norm(dual)) / np.abs(problem.A.T @ dual).max()
    np.testing.assert_allclose(c.lower_bound, bound, rtol=1e-12)
    np.testing.assert_allclose(noisy.x, noisy.refit(), atol=1e-12)  # least squares on its support

    # The minimiser is the running average that just meets the noise level.
    path = hf.saddles(problem)
    tau = brentq(lambda tau: off(problem.A @ path.average(tau), problem.y) - s, path.times[1], 2 * path.times[-1])
    least = path.average(tau)
    proof = hf.certify(problem, least, problem.y - problem.A @ least, noise_level=s)
    assert proof.gap < 1e-12
    assert not proof.unique
    says(page, f"norm {proof.l1_norm:.2f} against {c.l1_norm:.2f}", f"error {off(least, z):.3f} against 0.031")
    assert proof.l1_norm < c.l1_norm < proof.l1_norm / (1 - c.gap)


def test_an_answer_from_elsewhere_is_certified():
    names = run("choosing_a_solver")
    assert max(names["theirs"].gap, names["ours"].gap) < 1e-8
    assert names["theirs"].residual < 1e-8


def numbers(row):
    return [float(cell) if re.fullmatch(r"[-+\d.e]+", cell) else cell for cell in row]


def test_choosing_a_solver_quotes_the_records_without_noise():
    page, table = "choosing_a_solver", FIGURES["table"]
    exact = {row[0]: numbers(row)[1:] for row in table("basis_pursuit.md", "## Summary")}
    fastest = {name: int(row[2]) for name, row in exact.items()}
    tried, met = (int(number) for number in exact["hadaflow"][:2])
    says(page, f"`recover` met it in {met} of {tried} and was fastest in {fastest['hadaflow']}")
    says(page, f"median ratio of {exact['lars_path'][3]:.1f}")
    highs = sum(count for name, count in fastest.items() if name.startswith("highs"))
    says(page, f"fastest in {fastest['lars_path']}, {fastest['celer + refit']} and {highs} of {tried} problems")
    others = {name: row for name, row in exact.items() if name != "hadaflow"}
    assert all(row[3] > 1 for row in others.values())  # "the median is above one for each"
    assert sum(row[4] < 1 for row in others.values()) == 8  # "the range reaches below for eight"
    assert len(others) == 9
    lost = [
        row for row in table("basis_pursuit.md", "## Rows that hadaflow does not win") if row[3].startswith("highs")
    ]
    worst = max(lost, key=lambda row: float(row[-1]))
    says(page, f"by up to {float(worst[-1]):.0f} times (1 % of entries, {worst[1]})")
    assert worst[0] == "sparse, 1 %"


def test_choosing_a_solver_quotes_the_records_with_noise():
    page, table = "choosing_a_solver", FIGURES["table"]
    photographs = (RESULTS / "imaging.md").read_text(encoding="utf-8").split("## Photographs, with noise", 1)[1]
    rows = [line.strip("| ").split(" | ") for line in photographs.splitlines()]
    seconds, gain = ({row[0]: row[k] for row in rows if len(row) == 7 and row[1] == "18"} for k in (2, 4))
    says(page, f"{gain['hadaflow.recover'][1:-3]} dB ahead of it", f"`flow` is {gain['hadaflow.flow'][1:-3]} dB ahead")
    assert 3.5 < float(seconds["hadaflow.flow"]) / float(seconds["SPGL1 bpdn"]) < 4.5
    assert 0.8 < float(seconds["hadaflow.recover"]) / float(seconds["SPGL1 bpdn"]) < 1.25

    cells = table("regression.md", "## 200 × 600: error over the oracle's")
    named = ["hadaflow", "hadaflow CV", "LassoCV", "OMP CV", "relaxed", "adaptive", "MCP CV", "abess"]
    errors = [
        (design, int(k), float(sigma), dict(zip(named, (float(e.strip("*").split()[0]) for e in rest), strict=False)))
        for design, k, sigma, _, *rest in cells
    ]
    noisiest = [error["hadaflow"] / error["LassoCV"] for _, _, sigma, error in errors if sigma == 4]
    says(page, f"by {100 * (np.mean(noisiest) - 1):.0f} % on average, by {100 * (max(noisiest) - 1):.0f} % at most")
    easy = [error for design, k, sigma, error in errors if design != "AR(1) 0.9" and k <= 10 and sigma <= 1]
    assert len(easy) == 12
    assert all(error["abess"] <= error["hadaflow"] for error in easy)
    averages = {row[0]: row for row in table("regression.md", "## 200 × 600: averages over 48 cells")}
    assert len(averages) == 10  # "ten estimators"
    assert 2.5 < float(averages["hadaflow"][-1]) < 3.5  # "three times as fast"


def test_pages_on_adding_show_the_classes_as_they_are():
    """What Sphinx is told to include exists, and is the class that users subclass."""
    shown = {}
    for page in ("model", "loss", "rule", "an_experiment"):
        name = page if page.startswith("an_") else f"a_{page}"
        text = (DOCS / f"adding_{name}.md").read_text(encoding="utf-8")
        for file, options in re.findall(r"```\{literalinclude\} (\S+)\n(.*?)```", text, flags=re.DOTALL):
            source = (DOCS / file).read_text(encoding="utf-8")
            kind = re.search(r":pyobject: (\w+)", options).group(1)
            assert f"]({file})" in text  # on a forge, the link stands for it
            for edge in re.findall(r":(?:start-at|end-at|end-before): (.+)", options):
                assert source.count(edge) == 1, (page, edge)
            shown[kind] = source
    for kind in (hf.Model, hf.losses.Loss, hf.stopping.Rule, hf.stopping.Verdict, hf.steps.StepRule, base.Experiment):
        assert inspect.getsource(kind) in shown[kind.__name__]
