import importlib
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import problem_of

import hadaflow as hf
from hadaflow.plotting import blank_figure, plot_training

mpl = pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("plt")

EVERYTHING = hf.Recorder(per_decade=200, x=True)


@pytest.fixture(scope="module")
def noisy():
    """A flow with a window: three coordinates arrive long before the noise is fitted."""
    problem, x = problem_of([1.0, 2.0, -1.5], noise=0.1, m=60)
    return hf.flow(problem, hf.HadamardPower(3), init_scale=1e-2), x


@pytest.fixture(scope="module")
def descent():
    problem, x = problem_of([1.0, 2.0, -1.5], noise=0.1)
    stop = hf.stopping.MaxSteps(500)
    return hf.descend(problem, hf.HadamardPower(2), init_scale=1e-3, record=EVERYTHING, stop=stop), x


def draw(path, **options):
    figure = plot_training(path, axes=blank_figure(2).axes, **options)
    figure.canvas.draw()
    return figure


def curves(axes):
    """The lines that are drawn over time, without those across the whole axes."""
    return [line for line in axes.lines if len(line.get_xdata()) > 2 or line.get_transform() == axes.transData]


def keys(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def shaded(axes):
    """First and last time of the window."""
    (window,) = axes.patches
    return window.get_x(), window.get_x() + window.get_width()


def names(axes):
    """The labels at the ends of the lines, with their heights, from the bottom up."""
    return sorted((note.xyann[1], note.get_text()) for note in axes.texts)


# ---- what it shows ---------------------------------------------------------------------------------------------


def test_two_panels_on_one_axis_of_time(noisy):
    path, x = noisy
    figure = draw(path, truth=x)
    top, bottom, right = figure.axes
    title = top.get_title(loc="left")
    assert title.startswith("gradient flow, depth 3, product scale 1e-06\n")
    assert path.reason in title
    assert (bottom.get_xlabel(), bottom.get_xscale(), bottom.get_yscale()) == ("flow time", "log", "log")
    assert right.get_ylabel() == r"$\|x\|_1$"
    assert top.get_xlim() == bottom.get_xlim() == right.get_xlim()
    assert keys(figure)[:3] == ["support (3)", "largest of the others", "truth"]
    assert keys(figure)[3].startswith("window, ")


def test_the_picture_of_a_flow_is_true_to_the_path(noisy):
    path, x = noisy
    top, bottom, right = draw(path, truth=x).axes
    support = np.flatnonzero(x)
    *on, off = curves(top)
    on.sort(key=lambda line: line.get_ydata()[-1])
    for line, coordinate in zip(on, support[np.argsort(path.x[support])], strict=True):
        times, values = line.get_data()
        np.testing.assert_allclose(values, path(times)[:, coordinate], rtol=1e-12)
    times, sizes = off.get_data()
    np.testing.assert_allclose(sizes, np.abs(np.delete(path(times), support, axis=1)).max(axis=1), rtol=1e-12)
    times, norms = right.lines[0].get_data()
    np.testing.assert_allclose(norms, np.abs(path(times)).sum(axis=1), rtol=1e-12)
    times, residuals = bottom.lines[0].get_data()
    expected = [path.snapshot(t).relative_residual for t in times]
    np.testing.assert_allclose(residuals, expected, rtol=1e-6, atol=1e-12)


def test_the_picture_of_a_descent_shows_what_was_recorded(descent):
    run, x = descent
    figure = draw(run, truth=x)
    assert figure.axes[0].get_title(loc="left").startswith("gradient descent, 500 steps, depth 2")
    *_, off = curves(figure.axes[0])
    times, sizes = off.get_data()
    rows = run.history.x[np.isin(run.history.times, times)]
    assert len(rows) == len(times) > 50
    np.testing.assert_array_equal(sizes, np.abs(rows[:, x == 0]).max(axis=1))
    times, residuals = figure.axes[1].lines[0].get_data()
    recorded = run.history["residual"][np.isin(run.history.times, times)]
    np.testing.assert_allclose(residuals, recorded, rtol=1e-9)


def test_another_loss_has_the_size_of_its_gradient_in_place_of_the_residual():
    A = np.random.default_rng(0).standard_normal((40, 10))
    problem = hf.Problem(A, np.where(A[:, 0] > -0.5, 1.0, -1.0), loss=hf.losses.Logistic())
    path = hf.flow(problem, hf.HadamardPower(2), init_scale=0.1, t_end=5.0)
    bottom = draw(path).axes[1]
    assert bottom.get_ylabel() == "gradient in $Ax$, relative"
    times, sizes = bottom.lines[0].get_data()
    np.testing.assert_allclose(sizes, [path.snapshot(t).relative_residual for t in times], rtol=1e-6)


def test_it_begins_where_something_is_seen(noisy):
    path, x = noisy
    top = draw(path, truth=x).axes[0]
    first, last = top.get_xlim()
    size = np.abs(path.x).max()
    assert np.abs(path(first)).max() < 0.01 * size
    assert np.abs(path(first * (last / first) ** 0.06)).max() > 0.01 * size
    assert last == pytest.approx(path.times[-1])


def test_the_window_opens_when_all_are_near_and_closes_when_another_is_large(noisy):
    path, x = noisy
    support = np.flatnonzero(x)
    start, end = shaded(draw(path, truth=x).axes[0])
    near = path.first(lambda snapshot: (np.abs(snapshot.x - x)[support] <= 0.1 * np.abs(x[support])).all())
    large = path.first(lambda snapshot: np.abs(np.delete(snapshot.x, support)).max() > 0.1, after=near)
    assert near <= start <= 1.05 * near
    assert large <= end <= 1.05 * large
    assert shaded(draw(path, truth=x, level=0.05).axes[1])[1] < end
    assert shaded(draw(path, truth=x, level=1e3).axes[1])[1] == pytest.approx(path.times[-1])


def test_without_truth_the_last_values_count(noisy):
    path, x = noisy
    support = np.flatnonzero(x)
    start, _ = shaded(draw(path, support=support, level=10.0).axes[0])
    end = path.x[support]
    near = path.first(lambda snapshot: (np.abs(snapshot.x[support] - end) <= 0.1 * np.abs(end)).all())
    assert near <= start <= 1.05 * near


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"window": None}, 0), ({"level": 1e-9}, 0), ({"window": (1.0, 3.0)}, 1)],
    ids=["none wanted", "none found", "given"],
)
def test_other_windows(noisy, options, expected):
    path, x = noisy
    axes = draw(path, truth=x, **options).axes[0]
    assert len(axes.patches) == expected
    if expected:
        assert shaded(axes) == pytest.approx((1.0, 3.0))


def test_the_support_is_that_of_the_truth_of_the_caller_or_of_the_path(noisy):
    path, x = noisy
    assert keys(draw(path, truth=x))[0] == "support (3)"
    assert keys(draw(path, truth=x, support=[5, 2, 5]))[0] == "support (2)"
    assert keys(draw(path))[0] == f"support ({len(path.support())})"
    assert keys(draw(path, support=np.arange(100), window=None)) == ["support (100)"]


# ---- names at the ends of the lines ----------------------------------------------------------------------------


def test_names_stand_apart_in_the_order_of_the_values():
    problem, x = problem_of([1.0] * 6 + [-1.0] * 3, m=60)
    path = hf.flow(problem, hf.HadamardPower(2), init_scale=1e-3)
    top = draw(path, truth=x).axes[0]
    heights, texts = zip(*names(top), strict=True)
    support = np.flatnonzero(x)
    assert list(texts) == [f"$x_{{{i}}}$" for i in support[np.argsort(path.x[support])]]
    assert 0 <= min(heights) <= max(heights) <= 1
    print_height = top.texts[0].get_fontsize() / 72 * top.figure.dpi / top.get_window_extent().height
    assert np.diff(heights).min() >= print_height
    whole = top.figure.bbox
    assert all(mpl.text.Text.get_window_extent(note).x1 <= whole.x1 for note in top.texts)


@pytest.mark.parametrize(("coordinates", "named"), [(12, 3), (3, 3), (2, 0), (0, 0)])
def test_more_lines_than_coordinates_go_without_names(noisy, coordinates, named):
    path, x = noisy
    assert len(names(draw(path, truth=x, coordinates=coordinates).axes[0])) == named


def test_very_many_lines_are_cut_to_the_largest():
    problem, _ = problem_of([1.0] * 300, m=300, n=400)
    path = hf.flow(problem, hf.HadamardPower(2), init_scale=1e-2, t_end=10.0)
    figure = draw(path, support=np.arange(400))
    assert keys(figure) == ["support (largest 300 of 400)"]
    ends = [abs(line.get_ydata()[-1]) for line in curves(figure.axes[0])]
    assert min(ends) == pytest.approx(np.sort(np.abs(path.x))[100])


# ---- any path --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_very_short_runs(steps):
    problem, x = problem_of([1.0, -1.0])
    stop = hf.stopping.MaxSteps(steps)
    run = hf.descend(problem, hf.HadamardPower(2), init_scale=0.1, record=EVERYTHING, stop=stop)
    top = draw(run, truth=x).axes[0]
    plural = "" if steps == 1 else "s"
    assert top.get_title(loc="left").startswith(f"gradient descent, {steps} step{plural}, ")
    assert [text.get_text() for text in top.texts if text.get_text() == "nothing has moved"] == ["nothing has moved"][
        : steps == 0
    ]


@pytest.mark.parametrize("t_end", [5.0, np.inf])
def test_x_stays_zero(t_end):
    path = hf.flow(hf.Problem(np.eye(3), np.zeros(3)), hf.HadamardPower(2), init_scale=1e-3, t_end=t_end)
    draw(path)
    draw(path, truth=np.array([0.0, 1.0, 0.0]))


@pytest.mark.parametrize("stop", [hf.stopping.Residual(0.5), hf.stopping.MaxTime(1e-9)], ids=["between steps", "early"])
def test_flows_that_stop(stop):
    problem, x = problem_of([1.0, -1.0])
    path = hf.flow(problem, hf.HadamardPower(3), init_scale=1e-2, stop=stop)
    assert draw(path, truth=x).axes[0].get_xlim()[1] == pytest.approx(path.t_end)


def test_a_saddle_path_keeps_its_jumps():
    problem, x = problem_of([1.0, 2.0, -1.5], m=60)
    path = hf.flow(problem, hf.HadamardPower(4), init_scale=1e-8)
    line = curves(draw(path, truth=x).axes[0])[0]
    times, values = line.get_data()
    steep = np.flatnonzero(np.abs(np.diff(values)) > 0.1)
    assert len(steep) > 0
    assert (np.diff(times)[steep] <= 1e-12 * times[steep]).all()
    assert times[-1] > path.times[-1]


@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_extreme_units(scale):
    problem, x = problem_of([1.0, -1.0])
    scaled = hf.Problem(problem.operator, scale * problem.y)
    path = hf.flow(scaled, hf.HadamardPower(2), init_scale=1e-3 * scale**0.5, t_end=20.0 / scale)
    draw(path, truth=scale * x)


def test_sizes_far_apart_are_drawn_on_a_logarithmic_axis():
    problem, x = problem_of([1000.0, -30.0, 1.0])
    path = hf.flow(problem, hf.HadamardPower(2), init_scale=1e-2)
    assert draw(path, truth=x).axes[0].get_yscale() == "symlog"
    assert draw(path, truth=x, coordinates=2).axes[0].get_yscale() == "linear"


@pytest.mark.parametrize("t_end", [2.0, 5.0, 20.0])
def test_few_times_are_labelled_in_plain_numbers(t_end):
    problem, _ = problem_of([1.0])
    path = hf.flow(problem, hf.HadamardPower(2), init_scale=1e-2, t_end=t_end)
    axes = draw(path).axes[1]
    first, last = axes.get_xlim()
    labels = [float(label.get_text()) for label in axes.get_xticklabels() if label.get_text()]
    assert last < 30 * first
    assert len([label for label in labels if first <= label <= last]) >= 2


def test_float32_and_another_model():
    problem, x = problem_of([1.0, 2.0])
    single = hf.Problem(problem.operator.columns(np.arange(100)).astype(np.float32), problem.y.astype(np.float32))
    model = hf.HadamardPower(2, sign="positive")
    stop = hf.stopping.MaxSteps(100)
    draw(hf.descend(single, model, init_scale=0.01, record=EVERYTHING, stop=stop), truth=x)


def test_pictures_are_small(noisy, tmp_path):
    figure = draw(noisy[0], support=np.arange(100))
    for suffix in ("png", "pdf", "svg"):
        figure.savefig(tmp_path / f"p.{suffix}")
        assert (tmp_path / f"p.{suffix}").stat().st_size < 1_000_000


# ---- where it draws --------------------------------------------------------------------------------------------


def test_a_new_figure_belongs_to_pyplot(noisy, plt):
    figure = plot_training(noisy[0])
    assert plt.get_fignums() == [figure.number]


def test_axes_of_the_caller(noisy, plt):
    figure, axes = plt.subplots(1, 3)
    assert plot_training(noisy[0], axes=axes[:2]) is figure
    assert not axes[2].has_data()


def test_the_example_draws_its_window(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "examples")
    example = importlib.import_module("training_path")
    example.main(["--measurements", "150", "--coordinates", "400", "--output", str(tmp_path / "new")])
    found, limit = re.findall(r"error (\S+)", capsys.readouterr().out)
    assert float(found) < 0.5 * float(limit)
    assert (tmp_path / "new" / "training_path.png").stat().st_size > 10_000


# ---- what it refuses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"truth": np.ones(3)}, ValueError, r"truth must have one entry per entry of x \(100\), got 3"),
        ({"support": [100]}, ValueError, "support must hold coordinates from 0 to 99"),
        ({"support": [0.5]}, TypeError, "support must be a vector of whole numbers"),
        ({"window": (3.0, 1.0)}, ValueError, "window must start before it ends"),
        ({"window": 3.0}, ValueError, "window must be .*two flow times"),
        ({"window": "wide"}, ValueError, "window must be .*two flow times"),
        ({"level": -1.0}, ValueError, "level must be a finite number > 0"),
        ({"coordinates": 1.5}, ValueError, "coordinates must be a whole number"),
        ({"axes": []}, ValueError, r"axes must be two matplotlib Axes, got 0; make them with plt\.subplots\(2\)"),
    ],
)
def test_bad_options(noisy, options, error, message):
    with pytest.raises(error, match=message):
        plot_training(noisy[0], **options)


def test_a_descent_needs_its_x():
    problem, _ = problem_of([1.0])
    run = hf.descend(problem, hf.HadamardPower(2), init_scale=0.1, stop=hf.stopping.MaxSteps(3))
    with pytest.raises(ValueError, match=r"kept no x: run descend with record=hadaflow\.Recorder\(x=True\)"):
        plot_training(run)


def test_only_paths_are_drawn():
    with pytest.raises(TypeError, match=r"path must be what hadaflow\.flow\(\) or hadaflow\.descend\(\) returned, got"):
        plot_training(np.ones(3))
