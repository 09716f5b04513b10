"""The benchmark's problems, judge and report; none of the compared packages is needed."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import ROOT, refuses


def dense(matrix):
    return matrix.toarray() if sp.issparse(matrix) else matrix


CLASS_NAMES = [
    "gaussian", "threshold", "beyond", "range", "cosine", "ar1", "bernoulli", "ties", "sparse5", "sparse1", "positive",
]  # fmt: skip


def test_problems_are_seeded_and_of_the_shape_asked_for(bench):
    problems = bench("problems")
    assert list(problems.CLASSES) == CLASS_NAMES
    size = problems.Size(60, 240, 6)
    for name, problem in problems.CLASSES.items():
        first, again, other = problem.draw(size, 3), problem.draw(size, 3), problem.draw(size, 4)
        assert first.matrix.shape == (60, 240), name
        assert first.y.shape == (60,), name
        assert first.s == problem.sparsity(size), name
        np.testing.assert_array_equal(dense(first.matrix), dense(again.matrix))
        np.testing.assert_array_equal(first.y, again.y)
        assert not np.array_equal(first.y, other.y), name
        np.testing.assert_array_equal(first.matrix @ first.planted, first.y)


def test_classes_are_what_they_say(bench):
    problems = bench("problems")
    size = problems.Size(400, 500, 40)
    drawn = {name: problem.draw(size) for name, problem in problems.CLASSES.items()}
    assert drawn["threshold"].s == 120
    assert drawn["beyond"].s == 160
    assert drawn["positive"].positive
    assert drawn["positive"].planted.min() == 0
    nonzero = np.abs(drawn["range"].planted[drawn["range"].planted != 0])
    assert 1e-4 <= nonzero.min() < 1e-3
    assert 0.1 < nonzero.max() <= 1
    assert set(np.unique(drawn["ties"].matrix)) == {-1, 1}
    assert drawn["sparse5"].matrix.nnz == 0.05 * 400 * 500
    assert drawn["sparse1"].matrix.indices.dtype == np.int32
    places = np.flatnonzero(drawn["cosine"].planted)
    assert np.diff(places).min() >= 10
    neighbours = [np.corrcoef(drawn["ar1"].matrix[:, j], drawn["ar1"].matrix[:, j + 1])[0, 1] for j in range(499)]
    assert np.mean(neighbours) == pytest.approx(0.9, abs=0.01)


def test_only_hard_classes_take_the_hard_sizes(bench):
    problems = bench("problems")
    cases = [(c.name, size) for c, size in problems.cases(["gaussian", "ar1"], problems.FULL_SIZES)]
    assert any(size.hard for name, size in cases if name == "gaussian")
    assert not any(size.hard for name, size in cases if name == "ar1")


def test_sizes_are_read(bench):
    parse = bench("problems").Size.parse
    for text, s in [("500x2000", 50), ("1000x5000", 80), ("30x90", 3), ("250x1000:80", 80)]:
        assert (str(parse(text)), parse(text).s) == (text.partition(":")[0], s)
    for text in ("500", "axb", "10x20:0", "10x20:21", "10x20:x"):
        with pytest.raises(ValueError, match="size"):
            parse(text)


def test_a_hard_size_says_nothing_of_an_easy_larger_one(bench):
    size = bench("problems").Size
    assert size(2000, 10000, 150).at_least_as_hard_as(size(1000, 5000, 80))
    assert not size(500, 2000, 50).at_least_as_hard_as(size(400, 1600, 130))
    assert not size(250, 1000, 80).at_least_as_hard_as(size(400, 1600, 130))


def test_the_judge_bounds_the_l1_norm_by_any_dual(bench):
    problems, judging = bench("problems"), bench("judging")
    size = problems.Size(60, 240, 3)
    for name in ("gaussian", "positive"):
        instance = problems.CLASSES[name].draw(size)
        planted = np.abs(instance.planted).sum()
        support = np.flatnonzero(instance.planted)
        tight = np.linalg.lstsq(instance.matrix[:, support].T, np.sign(instance.planted[support]))[0]
        judged = judging.judge(instance, instance.planted, tight)
        assert judged.l1 == pytest.approx(planted)
        assert judged.feasible
        assert judged.lower_bound <= planted * (1 + 1e-12)
        assert judging.lower_bound(instance, np.random.default_rng(0).standard_normal(60)) < planted
        assert judging.target_met(judged, planted)
        assert not judging.target_met(judging.judge(instance, 1.1 * instance.planted, None), planted)
        assert not judging.judge(instance, np.full(240, np.nan), None).feasible
        flipped = judging.judge(instance, -instance.planted, None)
        assert flipped.negativity == (1 if name == "positive" else 0)


def test_a_missing_package_is_not_a_crash(bench, monkeypatch):
    for package in ("sklearn", "spgl1", "highspy", "cvxpy", "celer"):
        monkeypatch.setitem(sys.modules, package, None)
    entrants = bench("peers").ENTRANTS
    assert next(iter(entrants)) == "hadaflow"
    assert all(not e.installed and e.version is None for e in entrants.values() if e.package != "hadaflow")


def result(entrant, seconds, **changes):
    return {
        "kind": "result",
        "problem": "gaussian",
        "title": "Gaussian",
        "m": 100,
        "n": 400,
        "s": 10,
        "seed": 0,
        "hard": False,
        "entrant": entrant,
        "status": "done",
        "message": "",
        "seconds": seconds,
        "runs": [seconds],
        "warned": [],
        "target_met": True,
        "details": {},
        "claims_optimal": True,
        "excess": 1e-12,
        "feasibility": 1e-14,
        "gap": None,
        "reference_source": "optimum of highs simplex",
        "planted_is_minimal": True,
    } | changes


def test_the_report_shows_who_wins_and_who_misses(bench, tmp_path):
    report = bench("report")
    entrants = ["hadaflow", "winner", "sloppy", "slow"]
    header = {
        "kind": "run",
        "cpu": "some processor",
        "platform": "Linux",
        "python": "3.11",
        "versions": {"numpy": "2.0"},
        "threads": 1,
        "entrants": entrants,
        "settings": dict.fromkeys(entrants, "defaults"),
        "seed": 0,
        "repeats": 3,
        "limit": 30.0,
        "patience": 10.0,
        "excess_target": 1e-6,
        "feasibility_target": 1e-8,
    }
    results = [
        result("hadaflow", 0.02, details={"passes": 12.0}),
        result("winner", 0.01),
        result("sloppy", 0.001, target_met=False, feasibility=1e-4),
        result("slow", None, status="over limit", message="> 30 s", target_met=False),
    ]
    records = tmp_path / "run.jsonl"
    records.write_text("\n".join(json.dumps(r) for r in [header, *results]), encoding="utf-8")
    text = report.report(*report.read(records))
    assert "| Gaussian | 100 × 400 | 10 | 0.020 | **0.010 (0.50)** | 0.0010 (0.05)† | > 30 s |" in text
    assert "| Gaussian | 100 × 400 | 10 | winner | 0.010 | 0.020 | 2.00 |" in text
    assert "| winner | 1 | 1 | 1 | 0.50 | 0.50 | 0.50 |" in text


def test_descent_contestants_take_turns(bench, monkeypatch):
    runs = bench("descent_runs")
    monkeypatch.setattr(runs, "SETTLE", 0.0)
    order = []
    seconds = runs.in_turns({"a": lambda: order.append("a") or 2.0, "b": lambda: order.append("b") or 4.0}, 3)
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert bench("descent_report").ratios(seconds["a"], seconds["b"]) == [0.5, 0.5, 0.5]


def test_descent_report_marks_what_misses_its_target(bench):
    spread = bench("descent_report").spread
    assert spread([1.0, 2.0, 3.0], most=2.5) == "**2.00** (1.50–2.50)"
    assert spread([1.0, 2.0, 3.0], most=1.5) == "2.00 (1.50–2.50)†"
    assert spread([1.0, 2.0, 3.0]) == "2.00 (1.50–2.50)"


def test_benchmark_in_small(bench, monkeypatch, tmp_path):
    descent, runs = bench("descent"), bench("descent_runs")
    monkeypatch.setattr(runs, "SETTLE", 0.0)
    monkeypatch.setitem(runs.COORDINATES, 2, 1200)
    monkeypatch.setitem(sys.modules, "torch", None)
    effort = runs.Effort(sizes=((30, 60),), threads=(1,), repeats=2, block=1e-4, most_steps=1200, most_training=20)
    parts = [
        *runs.steps(effort, depths=(3,)),
        *runs.batch(effort, starts=4),
        *runs.pytorch(effort),
        *runs.flow(effort, depths=(2,)),
        *runs.rules(shape=(60, 100), largest=4, most=2000),
    ]
    assert [part["kind"] for part in parts] == ["step"] * 4 + ["batch"] * 2 + ["pytorch", "flow"] + ["rules"] * 3
    assert all(len(times) == 2 for part in parts[:6] for times in part["seconds"].values())
    flow = parts[7]["windows"]
    assert flow["flow 1e-06"] == pytest.approx(flow["descend"], rel=0.02)
    assert all(part["reached"]["0.001"] for part in parts[-3:])
    records = tmp_path / "run.jsonl"
    lines = [json.dumps(record) for record in [descent.header(effort), *parts]]
    records.write_text("\n".join(lines), encoding="utf-8")
    text = bench("descent_report").write(records).read_text(encoding="utf-8")
    assert text.count("| 30 × 60 |") == 6
    assert "PyTorch is not installed." in text
    assert "| increasing | " in text


def picture_result(entrant, seconds, snr, **changes):
    return {
        "kind": "result",
        "row": "phantom",
        "of": "exact",
        "nonzeros": 20,
        "m": 358,
        "n": 1024,
        "back_projection": 5.0,
        "load": None,
        "entrant": entrant,
        "setting": None,
        "seconds": seconds,
        "runs": [] if seconds is None else [seconds],
        "products": None if seconds is None else 90,
        "end_seconds": 2.0,
        "end_products": 100,
        "snr": snr,
        "residual": 1e-9,
        "l1": 1.0,
        "true_l1": 1.0,
        "found_nonzeros": 20,
        "remarks": {},
        "warned": [],
    } | changes


def test_the_report_on_pictures_shows_who_wins_and_who_misses(bench):
    entrants = ["hadaflow.recover", "SPGL1", "FISTA"]
    header = {
        "cpu": "some processor",
        "platform": "Linux",
        "python": "3.11",
        "versions": {"numpy": "2.0"},
        "threads": 1,
        "entrants": entrants,
        "settings": dict.fromkeys(entrants, "defaults"),
        "size": 32,
        "seed": 0,
        "repeats": 3,
        "patience": 20.0,
        "goal": 80.0,
        "enough": 110.0,
        "near_end": 0.05,
    }
    noisy = {"row": "camera", "of": "photograph"}
    results = [
        picture_result("hadaflow.recover", 0.5, 250.0),
        picture_result("SPGL1", 0.25, 85.0),
        picture_result("FISTA", None, 60.0),
        picture_result("hadaflow.recover", 0.5, 21.0, **noisy),
        picture_result("SPGL1", 0.25, 20.0, **noisy),
        picture_result("FISTA", 0.75, 20.96, **noisy),
        picture_result("hadaflow.recover", 0.5, 15.0, **noisy | {"row": "aero", "back_projection": 16.0}),
    ]
    text, _, _ = bench("imaging_report").report(header, results).partition("## Every result")
    assert "| phantom | 20 | 0.50 s, 90; 250 dB | **0.25 s, 90; 85 dB** | ends at 60 dB, 2.00 s |" in text
    assert "**21.00 dB; 0.50 s, 90** | 20.00 dB; 0.25 s, 90 | **20.96 dB; 0.75 s, 90** |" in text
    assert "| phantom | SPGL1 | 0.25 s, 90; 85 dB | 0.50 s, 90; 250 dB |" in text
    assert "| camera | SPGL1" not in text
    assert "| aero | A^T y | 16.00 dB; 1 | 15.00 dB; 0.50 s, 90 |" in text


@pytest.fixture
def imaging(bench):
    for package in ("pywt", "matplotlib", "spgl1", "pyproximal", "pylops"):
        pytest.importorskip(package, exc_type=ImportError)
    return bench("imaging")


def test_small_pictures_run_through_all_solvers(imaging, tmp_path, capsys):
    records = tmp_path / "small.jsonl"
    words = ["phantom, best terms, db4", "phantom, best terms, 10 %", "camera, db4, 10 %"]
    imaging.main(["--size", "32", "--repeats", "1", "--rows", *words, "--output", str(records)])
    header, results = imaging.report.read(records)
    assert header["size"] == 32
    got = {(r["row"], r["entrant"]): r for r in results}
    assert len(got) == 4 + 5 + 5  # one row without noise for four solvers, two with noise for five
    for (row, entrant), record in got.items():
        assert np.isfinite(record["snr"]), (row, entrant)
        assert record["end_products"] > 0
        if entrant == "hadaflow.recover":  # stops on a plateau, below the noise
            assert record["residual"] <= 1 + 1e-9
        elif record["of"] != "exact":
            assert record["residual"] == pytest.approx(1, abs=0.02), (row, entrant)
    for entrant in ("hadaflow.recover", "SPGL1", "Douglas-Rachford"):
        assert got["phantom, best terms, db4", entrant]["snr"] >= header["goal"]
    text = records.with_suffix(".md").read_text(encoding="utf-8")
    assert "## Photographs, with noise" in text
    assert records.with_suffix(".png").stat().st_size > 10_000


def test_measurements_of_pictures_are_counted_and_orthonormal(imaging):
    import hadaflow as hf

    problems = sys.modules["imaging_problems"]
    instance = problems.ROWS["camera, db4, 10 %"].draw(32, 0)
    measurement = instance.measure()
    A = measurement.operator
    assert A.shape == (358, 1024)
    r = np.random.default_rng(0).standard_normal(358)
    np.testing.assert_allclose(A @ A.rmatvec(r), r, atol=1e-12)
    assert measurement.products == 2
    assert instance.measure().products == 0
    assert hf.dot_test(A).passed
    assert np.linalg.norm(A @ instance.truth - instance.y) == pytest.approx(instance.noise)


def test_bad_options_of_the_imaging_benchmark_are_refused(imaging, capsys):
    assert "no row has a name with nothing" in refuses(imaging.main, capsys, "--rows", "nothing")
    assert "--repeats must be at least 1" in refuses(imaging.main, capsys, "--repeats", "0")


@pytest.mark.parametrize(
    ("design", "near", "far"),
    [("Rademacher", 0, 0), ("AR(1) 0.5", 0.5, 0.25), ("AR(1) 0.9", 0.9, 0.81), ("equicorrelated 0.5", 0.5, 0.5)],
)
def test_designs_of_regression_are_what_they_say(bench, design, near, far):
    cell = bench("regression_problems").Cell(4000, 30, design, 3, 0.5)
    instance, again, other = cell.draw(1), cell.draw(1), cell.draw(2)
    np.testing.assert_array_equal(instance.X, again.X)
    np.testing.assert_array_equal(instance.y, again.y)
    assert not np.array_equal(instance.y, other.y)
    correlations = np.corrcoef(instance.X, rowvar=False)
    assert np.mean(np.diag(correlations, 1)) == pytest.approx(near, abs=0.03)
    assert np.mean(np.diag(correlations, 2)) == pytest.approx(far, abs=0.03)
    np.testing.assert_allclose(instance.X.std(axis=0), 1, atol=0.1)
    assert np.std(instance.y - instance.X @ instance.w) == pytest.approx(0.5, rel=0.1)
    assert sorted(set(instance.w)) in ([-1, 0], [-1, 0, 1], [0, 1])
    assert np.count_nonzero(instance.w) == 3


def test_the_judge_of_regression_knows_the_truth_and_the_oracle(bench):
    problems = bench("regression_problems")
    cell = problems.Cell(60, 90, "AR(1) 0.5", 4, 1.0)
    instance = cell.draw(0)
    exact, oracle = (problems.judge(instance, w, cell.sigma) for w in (instance.w, instance.oracle()))
    assert (exact["ratio"], exact["f1"], exact["prediction"], exact["nonzeros"]) == (0, 1, 0, 4)
    assert (oracle["ratio"], oracle["f1"]) == (1, 1)
    half = np.where(np.cumsum(instance.w != 0) <= 2, instance.w, 0)
    judged = problems.judge(instance, half, 2.0)
    assert judged["error"] == pytest.approx(np.sqrt(2))
    assert judged["f1"] == pytest.approx(2 / 3)
    assert judged["prediction"] == pytest.approx(np.mean((instance.fresh @ (half - instance.w)) ** 2) / 4)


def fake_entrants(module, monkeypatch, **fits):
    """Estimators of no package, in place of all others."""
    entrants = {name: module.Entrant("numpy", "none", fit) for name, fit in fits.items()}
    monkeypatch.setattr(module, "ENTRANTS", entrants)
    monkeypatch.setattr(module, "OURS", ("ours",))


def test_regression_goes_on_where_it_was_broken_off(bench, monkeypatch, tmp_path, capsys):
    calls = []

    def nothing(X, y):
        calls.append(X.shape)
        return np.zeros(X.shape[1])

    def broken(X, y):
        raise ArithmeticError("no answer")

    fake_entrants(bench("regression_entrants"), monkeypatch, ours=nothing, peer=nothing, broken=broken)
    problems, benchmark = bench("regression_problems"), bench("regression")
    cell = problems.Cell(50, 60, "Rademacher", 4, 1.0)
    monkeypatch.setitem(benchmark.GRIDS, "quick", (cell,))
    records = tmp_path / "run.jsonl"
    common = ["--records", str(records), "--seeds", "2"]
    benchmark.main([*common, "--entrants", "ours", "peer"])
    assert calls.count((50, 60)) == 4
    text = records.with_suffix(".md").read_text(encoding="utf-8")
    nothing_found = problems.judge(cell.draw(0), np.zeros(60), 1.0)["ratio"]
    assert f"{nothing_found:.5g}" in records.read_text(encoding="utf-8")
    assert "| Rademacher | 4 | 1 | 2 | **" in text

    lines = records.read_text(encoding="utf-8").splitlines(keepends=True)
    records.write_text("".join(lines[:-1]) + lines[-1][:20], encoding="utf-8")  # ended in the middle of a line
    benchmark.main([*common, "--entrants", "ours", "peer"])
    assert calls.count((50, 60)) == 5
    assert len(benchmark.regression_report.read(records)[1]) == 4

    monkeypatch.setattr(type(benchmark.ENTRANTS["ours"]), "code", "changed")
    benchmark.main([*common, "--entrants", "ours", "peer", "--fresh", "ours"])
    assert calls.count((50, 60)) == 7

    benchmark.main([*common, "--entrants", "broken"])
    text = records.with_suffix(".md").read_text(encoding="utf-8")
    assert "2 failed (first: ArithmeticError: no answer)" in text
    assert "| Rademacher | 4 | 1 | 2 | **" in text  # the others keep their table
    capsys.readouterr()


def regression_result(cell, seed, entrant, ratio, cpu):
    return {
        "kind": "result",
        "cell": cell,
        "seed": seed,
        "entrant": entrant,
        "code": "some 1.0",
        "status": "done",
        "warned": [],
        "oracle": 0.5,
        "ratio": ratio,
        "f1": 1.0,
        "prediction": 0.1,
        "nonzeros": 5,
        "cpu": cpu,
    }


def test_the_report_on_regression_shows_who_wins_and_by_how_much(bench):
    report = bench("regression_report")
    cells = [f"200x600, Rademacher, k = 4, sigma = {sigma}" for sigma in (0.5, 1)]
    ratios = {"hadaflow": (1.0, 2.0), "LassoCV": (2.0, 4.0), "abess": (4.0, 1.0)}
    results = [
        regression_result(cell, seed, name, pair[place] + 0.25 * seed, 0.25 if name == "LassoCV" else 0.5)
        for place, cell in enumerate(cells)
        for name, pair in ratios.items()
        for seed in range(3)
        if (name, place, seed) != ("abess", 0, 2)  # a seed that one of them has not done counts for nobody
    ]
    rows = report.sizes(results)["200x600"]
    assert [row.seeds for row in rows] == [2, 3]
    summary = report.summary_table(rows).splitlines()
    # 1.125 and 2.25 on average, beside 2.125 and 1.25 of the best peers
    assert summary[2] == "| hadaflow | 1.688 | 1.165 | 1.80 | 1 | 1.000 | 0.100 | 5.0 | 0.5 | 2 | 1 |"
    assert summary[4].startswith("| abess | 2.688 | ")
    assert report.losses_table(rows, "hadaflow").splitlines()[2:] == [
        "| Rademacher | 4 | 1 | abess | 1.25 | 2.25 | **+1.000 ± 0.000** |"
    ]
    table = report.error_table(rows).splitlines()
    assert table[2] == "| Rademacher | 4 | 0.5 | 2 | **1.12 ± 0.12** | 2.12 ± 0.12 | 4.12 ± 0.12 | 4.00 |"
    assert "| σ = 1 | 1 | 1.800 | 3.400 | 1.000 |" in report.parts_table(rows)


def test_peers_of_regression_find_a_strong_signal(bench):
    entrants = bench("regression_entrants").ENTRANTS
    runs = bench("regression_runs")
    cell = bench("regression_problems").Cell(60, 90, "Rademacher", 4, 0.1)
    names = tuple(name for name, entrant in entrants.items() if entrant.installed and entrant.distribution != "skglm")
    if not names:
        pytest.skip("none of the compared packages is installed")
    for record in runs.measure(runs.Task(cell, 0, names)):
        assert record["status"] == "done", record
        assert record["error"] < 0.25, record
        assert record["f1"] > 0.2, record


@pytest.mark.slow  # compiles for half a minute
def test_the_mcp_of_regression_finds_a_strong_signal(bench):
    pytest.importorskip("skglm")
    instance = bench("regression_problems").Cell(60, 90, "Rademacher", 4, 0.1).draw(0)
    found = bench("regression_entrants").mcp_cv(instance.X, instance.y)
    assert np.linalg.norm(found - instance.w) < 0.1


def test_bad_options_of_the_regression_benchmark_are_refused(bench, capsys):
    main = bench("regression").main
    assert "must be at least 1" in refuses(main, capsys, "--seeds", "-1")
    assert "must be at least 1" in refuses(main, capsys, "--jobs", "0")


def test_real_tables_are_compared_on_what_no_estimator_has_seen(bench, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    monkeypatch.syspath_prepend(ROOT / "examples")
    monkeypatch.delitem(sys.modules, "regression_comparison", raising=False)
    example = bench("regression_comparison")

    table = example.diabetes()
    assert table.X.shape == (442, 64)  # as in the paper on least-angle regression
    assert np.linalg.matrix_rank(table.X - table.X.mean(axis=0)) == 64
    seen = []

    def first_feature(X, y):
        seen.append(len(y))
        np.testing.assert_allclose(X.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(X.std(axis=0), 1)
        return np.eye(X.shape[1])[0]

    line = np.arange(100.0)
    made = example.Table("made", np.column_stack([line, -line, np.r_[1, np.zeros(99)]]), 3 + line / line.std(), 0.8)
    score = example.score(first_feature, made, split=1)  # whose training part has the one row of the last column
    assert seen == [80]
    assert score.r2 == pytest.approx(1, abs=0.01)
    assert score.features == 1

    monkeypatch.setattr(example, "gene", lambda name: None)
    example.main(["--tables", "diabetes", "NKG7", "--entrants", "LassoCV", "--splits", "2"])
    out = capsys.readouterr().out
    _, r2, _, _, features, *_ = next(text for text in out.splitlines() if text.startswith("LassoCV")).split()
    assert 0.3 < float(r2) < 0.6
    assert 5 < float(features) < 40
    assert "NKG7: left out; get the table with: pip install --no-deps scanpy h5py" in out


def test_problems_in_groups_are_seeded_and_judged(bench):
    problems, report = bench("structure_problems"), bench("structure_report")
    for name, kind in problems.KINDS.items():
        if kind.m > 100 and kind.data != "fourier":
            continue
        one, two = problems.draw(name, 1), problems.draw(name, 1)
        np.testing.assert_array_equal(one.A, two.A)
        np.testing.assert_array_equal(one.y, two.y)
        assert one.A.shape == (kind.m, kind.n)
        assert one.joint == (kind.columns > 0)
        assert one.value(np.ones((kind.n, max(1, kind.columns)))) == pytest.approx(kind.n * max(1, kind.columns) ** 0.5)
    ours = {"seconds": [1.0, 0.5], "gap": 2e-9, "residual": 3e-9, "status": "EXACT"}
    row = {"hadaflow": ours, "peer": {"seconds": [2.0], "value": 1.0, "excess": -1e-6, "residual": 1e-6}}
    assert report.compared([row, row], "peer") == "0.25 (-1e-06, 1e-06)"
    assert report.compared([row | {"peer": {"seconds": [], "error": "no"}}], "peer") == "no"
    assert report.own([row]) == "500 ms, gap 2e-09, residual 3e-09"
