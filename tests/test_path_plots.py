from types import SimpleNamespace

import numpy as np
import pytest
from conftest import problem_of
from hypothesis import given, settings
from hypothesis import strategies as st

import hadaflow as hf
from hadaflow.paths.saddle_path import averages
from hadaflow.plotting import blank_figure, plot_path, plot_window
from hadaflow.plotting.window import _Errors, _in_words

mpl = pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("plt")

EVERYTHING = hf.Recorder(per_decade=100, x=True, average=True)


def of_ones(plot):
    """With a truth that suits any path."""
    return lambda path, **options: plot(path, truth=np.ones(path.problem.shape[1]), **options)


PLOTS = [pytest.param(of_ones(plot), id=plot.__name__) for plot in (plot_path, plot_window)]


@pytest.fixture(scope="module")
def noisy():
    return problem_of([1.0, 2.0, -1.5], m=60, noise=0.1)


@pytest.fixture(scope="module")
def saddle(noisy):
    return hf.saddles(noisy[0])


@pytest.fixture(scope="module")
def flow(noisy):
    return hf.flow(noisy[0], hf.HadamardPower(3), init_scale=1e-2)


@pytest.fixture(scope="module")
def descent(noisy):
    stop = hf.stopping.MaxSteps(2000)
    return hf.descend(noisy[0], hf.HadamardPower(2), init_scale=1e-3, record=EVERYTHING, stop=stop)


@pytest.fixture(params=["saddle", "flow", "descent"])
def path(request):
    return request.getfixturevalue(request.param)


def estimator(path, **told):
    """What a fitted estimator shows of itself."""
    return SimpleNamespace(path_=path, **{"coef_": np.zeros(100), **told})


def drawn(plot, *given, **options):
    ax = plot(*given, ax=blank_figure(1).axes[0], **options)
    ax.figure.canvas.draw()
    return ax


def curves(ax):
    """The lines over time, without those across the whole axes."""
    return [line for line in ax.lines if line.get_transform() == ax.transData]


def keys(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def value_of(path, times, read_out="iterate"):
    """The read-out at some times, one by one, from the path itself."""
    if isinstance(path, hf.Trajectory):
        kept = path.history.x if read_out == "iterate" else path.history.average
        return kept[np.searchsorted(path.history.times, times)]
    return np.array([path(t) if read_out == "iterate" else path.average(t) for t in times])


def others(ax):
    """The grey lines, each with its vertices."""
    return [segment for collection in ax.collections for segment in collection.get_segments()]


def span(ax):
    """Start and end of what is shaded, as far as the axis goes."""
    (shade,) = ax.collections
    return [(box.x0, box.x1) for box in (part.get_extents() for part in shade.get_paths())]


# ---- coefficients over time ------------------------------------------------------------------------------------


@pytest.mark.parametrize("read_out", ["iterate", "average"])
def test_lines_are_those_of_the_path(path, noisy, read_out):
    _, x = noisy
    ax = drawn(plot_path, path, truth=x, read_out=read_out)
    lines = curves(ax)
    support = np.flatnonzero(x)
    assert len(lines) == len(support)
    times = lines[0].get_xdata()
    looked = np.unique([*range(0, len(times), 25), len(times) - 1])
    expected = value_of(path, times[looked], read_out)
    for line, coordinate in zip(lines, support[np.argsort(expected[-1, support])], strict=True):
        np.testing.assert_allclose(line.get_ydata()[looked], expected[:, coordinate], rtol=1e-6, atol=1e-9)


def test_plateaus_are_exact(saddle, noisy):
    line = curves(drawn(plot_path, saddle, truth=noisy[1]))[0]
    assert line.get_drawstyle() == "steps-post"
    np.testing.assert_array_equal(line.get_xdata()[1:-1], saddle.times[1:])
    assert line.get_ydata()[0] == 0
    for k in range(len(saddle.times)):
        assert line.get_ydata()[k] in saddle.x[[k]].toarray()


def test_the_average_is_smooth_and_exact_at_any_time(saddle, noisy):
    line = curves(drawn(plot_path, saddle, truth=noisy[1], read_out="average"))[-1]
    assert line.get_drawstyle() == "default"
    coordinate = np.argmax(saddle.final)
    expected = [saddle.average(t)[coordinate] for t in line.get_xdata()]
    np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-9, atol=1e-12)


def test_the_others_are_grey_and_one_artist(path, noisy):
    _, x = noisy
    ax = drawn(plot_path, path, truth=x)
    (collection,) = ax.collections
    assert collection.get_rasterized()
    colour = mpl.colors.to_rgb(collection.get_colors()[0])
    assert max(colour) - min(colour) < 0.01
    last = value_of(path, [curves(ax)[0].get_xdata()[-1]])[-1]
    rest = np.sort(last[(x == 0) & (last != 0)])
    ends = sorted(segment[-1, 1] for segment in others(ax))
    assert (ends[0], ends[-1]) == pytest.approx((rest[0], rest[-1]))


def test_axes_say_which_clock_and_which_read_out(path):
    ax = drawn(plot_path, path)
    assert ax.get_xscale() == "log"
    assert ax.get_xlabel() == ("rescaled time" if isinstance(path, hf.SaddlePath) else "flow time")
    assert ax.get_ylabel() == "x"
    average = drawn(plot_path, path, read_out="average")
    assert average.get_ylabel() == "running average of x"
    assert average.get_title(loc="left") == ax.get_title(loc="left") + ", running average"


def test_what_is_coloured(saddle, noisy):
    _, x = noisy
    assert keys(drawn(plot_path, saddle, truth=x))[0] == "support (3)"
    assert keys(drawn(plot_path, saddle, truth=x, support=[5, 2, 5]))[0] == "support (2)"
    assert keys(drawn(plot_path, saddle, at=saddle.times[3]))[0] == f"support ({np.count_nonzero(saddle.x[[3]].data)})"
    at_the_end = np.count_nonzero(saddle.final)
    assert keys(drawn(plot_path, saddle))[0] == f"support (largest 12 of {at_the_end})"
    assert keys(drawn(plot_path, saddle, coordinates=0))[0].startswith("others (")


def test_the_largest_of_the_support_are_named(saddle, noisy):
    _, x = noisy
    support = np.flatnonzero(x)
    of_all = [note.get_text() for note in drawn(plot_path, saddle, truth=x).texts]
    assert sorted(of_all) == sorted(f"$x_{{{i}}}$" for i in support)
    (of_one,) = [note.get_text() for note in drawn(plot_path, saddle, truth=x, coordinates=1).texts]
    assert of_one == f"$x_{{{np.argmax(np.abs(saddle.final))}}}$"


def test_a_time_is_marked_and_within_the_picture(path):
    first, last = drawn(plot_path, path).get_xlim()
    for time in (0.1 * first, np.sqrt(first * last), 10 * last):
        ax = drawn(plot_path, path, at=time)
        (mark,) = [line for line in ax.lines if line.get_transform() == ax.get_xaxis_transform()]
        assert list(mark.get_xdata()) == [time, time]
        assert ax.get_xlim()[0] < time < ax.get_xlim()[1]
        assert keys(ax)[-1] == f"stopped at {time:.3g}"


def test_a_saddle_path_stays_until_the_mark(saddle):
    time = 100 * saddle.times[-1]
    assert curves(drawn(plot_path, saddle, at=time))[0].get_xdata()[-1] > time


# ---- fitted estimators -----------------------------------------------------------------------------------------


def test_an_estimator_brings_support_names_and_time(path):
    coef = np.zeros(100)
    coef[[3, 70]] = 1.0
    names = np.array([f"cost in ${i}" for i in range(100)], dtype=object)
    stop = float(path.times[4] if not isinstance(path, hf.Trajectory) else path.history.times[4])
    ax = drawn(plot_path, estimator(path, coef_=coef, stop_time_=stop, feature_names_in_=names))
    assert keys(ax)[0] == "support (2)"
    assert {note.get_text() for note in ax.texts} == {r"cost in \$3", r"cost in \$70"}
    searched = isinstance(path, hf.SaddlePath)  # for these coefficients are not those of the path there
    assert keys(ax)[-1] == f"{'best plateau' if searched else 'stopped'} at {stop:.3g}"
    assert keys(drawn(plot_path, estimator(path, stop_time_=stop), at=2 * stop))[-1] == f"stopped at {2 * stop:.3g}"


def test_what_was_read_off_the_path_is_said_to_stop_there(saddle):
    stop = float(saddle.times[4])
    for coef in (saddle(stop), saddle.average(stop)):
        ax = drawn(plot_path, estimator(saddle, coef_=coef, stop_time_=stop))
        assert keys(ax)[-1] == f"stopped at {stop:.3g}"


@pytest.mark.parametrize("stop", [None, np.inf, np.nan, 0.0])
def test_an_estimator_that_did_not_stop_has_no_mark(saddle, stop):
    assert not any(key.startswith("stopped") for key in keys(drawn(plot_path, estimator(saddle, stop_time_=stop))))


@pytest.mark.parametrize("kind", [list, tuple])
def test_one_of_several_targets(saddle, flow, kind):
    several = estimator(kind([saddle, flow]), coef_=np.eye(2, 100), stop_time_=[0.1, 0.2])
    first, second = drawn(plot_path, several), drawn(plot_path, several, target=1)
    assert (first.get_xlabel(), second.get_xlabel()) == ("rescaled time", "flow time")
    assert (keys(first)[-1], keys(second)[-1]) == ("best plateau at 0.1", "stopped at 0.2")
    assert [note.get_text() for note in second.texts] == ["$x_{1}$"]
    with pytest.raises(ValueError, match="target must lie between 0 and 1, got 2"):
        plot_path(several, target=2)


def test_estimators_without_a_path_say_so(saddle):
    with pytest.raises(TypeError, match=r"path is a SimpleNamespace without path_: fit it, or give the path itself"):
        plot_path(SimpleNamespace(coef_=np.zeros(3)))
    with pytest.raises(TypeError, match=r"path is a SimpleNamespace without coef_: call its fit\(X, y\) first"):
        plot_path(SimpleNamespace(fit=print))
    with pytest.raises(TypeError, match="with such a path_, got ndarray"):
        plot_path(estimator(np.ones(3)))


# ---- when to stop ----------------------------------------------------------------------------------------------


def test_errors_are_those_of_the_path(path, noisy):
    _, x = noisy
    lines = [line for line in curves(drawn(plot_window, path, x)) if len(line.get_xdata()) > 2]
    for line, read_out in zip(lines, ("iterate", "average"), strict=True):
        times = line.get_xdata()[::25]
        expected = np.linalg.norm(value_of(path, times, read_out) - x, axis=1)
        np.testing.assert_allclose(line.get_ydata()[::25], expected, rtol=1e-6)


def test_the_oracle_is_least_squares_on_the_true_support(path, noisy):
    problem, x = noisy
    support = np.flatnonzero(x)
    fit = np.linalg.lstsq(problem.operator.columns(support), problem.y)[0]
    error = np.linalg.norm(fit - x[support])
    ax = drawn(plot_window, path, x)
    (line,) = [line for line in ax.lines if line.get_transform() == ax.get_yaxis_transform()]
    assert line.get_ydata() == pytest.approx([error, error], rel=1e-9)
    assert f"least squares on the support, {error:.3g}" in keys(ax)


def test_the_window_of_a_saddle_path_is_exact(saddle, noisy):
    _, x = noisy
    errors = np.linalg.norm(saddle.x.toarray() - x, axis=1)
    near = np.flatnonzero(errors <= 1.5 * errors.min())
    assert (np.diff(near) == 1).all()  # in one piece, here
    ((start, end),) = span(drawn(plot_window, saddle, x))
    assert (start, end) == pytest.approx((saddle.times[near[0]], saddle.times[near[-1] + 1]))


def test_the_window_of_a_flow(flow, noisy):
    _, x = noisy
    ax = drawn(plot_window, flow, x)
    ((start, end),) = span(ax)
    least = min(curves(ax)[0].get_ydata())

    def near(snapshot):
        return np.linalg.norm(snapshot.x - x) <= 1.5 * least

    found = flow.first(near)
    lost = flow.first(lambda snapshot: not near(snapshot), after=1.01 * found)
    assert (start, end) == pytest.approx((found, lost), rel=0.1)
    assert keys(ax)[-1] == f"within 1.5 × the least, {start:.3g} to {end:.3g}"


def test_a_window_that_stays_open():
    path = hf.saddles(hf.Problem(np.eye(3), np.array([3.0, 2.0, 1.0])))
    ax = drawn(plot_window, path, [3.0, 2.0, 1.0])
    assert keys(ax)[-1] == f"within 1.5 × the least, from {path.times[-1]:.3g} on"


@pytest.mark.parametrize(
    ("stepwise", "expected", "words"),
    [
        (True, [(1.0, 2.0), (3.0, 5.0)], "from 1 on in 2 parts"),
        (False, [(1.0, 1.0), (3.0, 4.0)], "1 to 4 in 2 parts"),
    ],
)
def test_a_window_in_parts(stepwise, expected, words):
    times, values = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([1.4, 2.0, 1.0, 1.5, 3.0])
    parts = _Errors(times, values, stepwise).window(0.0)
    assert parts == expected
    assert _in_words(parts, 5.0) == words


def test_without_an_average_the_iterate_is_drawn(noisy):
    problem, x = noisy
    stop = hf.stopping.MaxSteps(300)
    run = hf.descend(problem, hf.HadamardPower(2), init_scale=1e-3, record=hf.Recorder(x=True), stop=stop)
    assert [key.split(",")[0] for key in keys(drawn(plot_window, run, x))] == [
        "iterate",
        "least squares on the support",
        "within 1.5 × the least",
    ]


def test_another_loss_has_no_least_squares():
    A = np.random.default_rng(0).standard_normal((40, 10))
    problem = hf.Problem(A, np.sign(A[:, 0] + 0.5), loss=hf.losses.Logistic())
    path = hf.flow(problem, hf.HadamardPower(2), init_scale=0.1, t_end=5.0)
    assert not any("least squares" in key for key in keys(drawn(plot_window, path, np.eye(10)[0])))


def test_exact_recovery_draws_no_rounding():
    problem, x = problem_of([1.0, 2.0, -1.5], m=60)
    ax = drawn(plot_window, hf.saddles(problem), x)
    assert "least squares on the support, exact" in keys(ax)
    assert ax.get_ylim()[0] > 1e-12


# ---- any path --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_coordinate(plot, dtype):
    problem = hf.Problem(np.array([[1.0], [2.0]], dtype=dtype), np.array([1.0, 2.5], dtype=dtype))
    model, stop = hf.HadamardPower(2), hf.stopping.MaxSteps(200)
    assert len(curves(drawn(plot, hf.saddles(problem)))) > 0
    assert len(curves(drawn(plot, hf.flow(problem, model, init_scale=0.1)))) > 0
    run = hf.descend(problem, model, init_scale=0.1, stop=stop, record=EVERYTHING)
    assert len(curves(drawn(plot, run))) > 0


@pytest.mark.parametrize("plot", PLOTS)
def test_nothing_moves(plot):
    problem = hf.Problem(np.eye(3), np.zeros(3))
    ax = drawn(plot, hf.saddles(problem))
    assert [text.get_text() for text in ax.texts] == ["nothing has moved"]
    run = hf.descend(problem, hf.HadamardPower(2), init_scale=0.1, stop=hf.stopping.MaxSteps(0), record=EVERYTHING)
    assert [text.get_text() for text in drawn(plot, run).texts] == ["nothing has moved"]
    drawn(plot, hf.flow(problem, hf.HadamardPower(2), init_scale=1e-3))


def test_a_truth_of_zeros(path):
    ax = drawn(plot_window, path, np.zeros(100))
    assert "least squares on the support, exact" in keys(ax)
    assert drawn(plot_path, path, truth=np.zeros(100)).get_legend() is not None


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("plot", PLOTS)
def test_very_short_runs(plot, steps, noisy):
    stop = hf.stopping.MaxSteps(steps)
    run = hf.descend(noisy[0], hf.HadamardPower(2), init_scale=0.1, record=EVERYTHING, stop=stop)
    assert {len(line.get_xdata()) for line in curves(drawn(plot, run))} == {steps}


@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_extreme_units(noisy, scale):
    problem, x = noisy
    path = hf.saddles(hf.Problem(problem.operator, scale * problem.y))
    drawn(plot_path, path, truth=scale * x)
    assert span(drawn(plot_window, path, scale * x))


def test_sizes_far_apart_are_drawn_on_a_logarithmic_axis():
    problem, x = problem_of([1000.0, -30.0, 1.0], m=60)
    assert drawn(plot_path, hf.saddles(problem), truth=x).get_yscale() == "symlog"


def test_what_dies_away_does_not_make_it_logarithmic():
    rng = np.random.default_rng(0)
    A = np.cumsum(rng.standard_normal((40, 30)), axis=1)  # neighbours alike: some stand in for others at first
    saddle = hf.saddles(hf.Problem(A, A[:, [3, 10, 20]] @ [1.0, -1.0, 1.0]))
    once = np.abs(saddle.x).max(axis=0).toarray().ravel()
    left = np.flatnonzero((once > 0.2) & (saddle.final == 0))[:1]
    assert len(left) == 1
    support = [*left, int(np.argmax(saddle.final))]
    ax = drawn(plot_path, saddle, support=support, read_out="average", at=1e5 * saddle.times[-1])
    ends = sorted(line.get_ydata()[-1] for line in curves(ax))
    assert abs(ends[0]) < 1e-4 * ends[1]
    assert ax.get_yscale() == "linear"


def test_many_coordinates_make_a_small_picture(tmp_path):
    rng = np.random.default_rng(0)
    path = hf.saddles(hf.Problem(rng.standard_normal((150, 4000)), rng.standard_normal(150)))
    ax = drawn(plot_path, path, support=np.arange(4000))
    assert keys(ax)[0] == "support (largest 300 of 4000)"
    assert len(ax.lines) <= 310
    assert len(others(ax)) <= 200
    for suffix in ("png", "pdf", "svg"):
        ax.figure.savefig(tmp_path / f"p.{suffix}")
        assert (tmp_path / f"p.{suffix}").stat().st_size < 1_500_000


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), m=st.integers(1, 4), n=st.integers(1, 6))
def test_averages_of_plateaus_between_any_times(seed, m, n):
    rng = np.random.default_rng(seed)
    path = hf.saddles(hf.Problem(rng.standard_normal((m, n)), rng.standard_normal(m)))
    times = np.sort(rng.uniform(0.1, 3.0, 5)) * max(path.times[-1], 1.0)
    expected = [path.average(t) for t in times]
    np.testing.assert_allclose(averages(path.times, path.x, times), expected, rtol=1e-9, atol=1e-12)


# ---- where it draws --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plot", PLOTS)
def test_new_axes_belong_to_pyplot_and_those_of_the_caller_are_used(saddle, plt, plot):
    ax = plot(saddle)
    assert plt.get_fignums() == [ax.figure.number]
    _, (left, right) = plt.subplots(1, 2)
    assert plot(saddle, ax=left) is left
    assert left.has_data()
    assert not right.has_data()


# ---- what it refuses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"truth": np.ones(3)}, ValueError, r"truth must have one entry per entry of x \(100\), got 3"),
        ({"support": [100]}, ValueError, "support must hold coordinates from 0 to 99"),
        ({"at": -1.0}, ValueError, "at must be a finite number > 0"),
        ({"read_out": "dual"}, ValueError, "read_out must be one of 'iterate', 'average', got 'dual'"),
        ({"coordinates": 1.5}, ValueError, "coordinates must be a whole number"),
        ({"ax": []}, TypeError, r"ax must be one matplotlib Axes, got list; make it with plt\.subplots\(\)"),
    ],
)
def test_bad_options(saddle, options, error, message):
    with pytest.raises(error, match=message):
        plot_path(saddle, **options)


@pytest.mark.parametrize(
    ("truth", "error", "message"),
    [
        (np.ones(3), ValueError, r"truth must have one entry per entry of x \(100\), got 3"),
        (None, TypeError, "truth must be a vector of real numbers, got None"),
    ],
)
def test_a_window_needs_a_truth(saddle, truth, error, message):
    with pytest.raises(error, match=message):
        plot_window(saddle, truth)


@pytest.mark.parametrize("plot", PLOTS)
def test_a_descent_needs_its_x(noisy, plot):
    run = hf.descend(noisy[0], hf.HadamardPower(2), init_scale=0.1, stop=hf.stopping.MaxSteps(3))
    with pytest.raises(ValueError, match=r"kept no x: run descend with record=hadaflow\.Recorder\(x=True\)"):
        plot(run)


def test_a_descent_needs_its_average(noisy):
    record = hf.Recorder(x=True)
    run = hf.descend(noisy[0], hf.HadamardPower(2), init_scale=0.1, stop=hf.stopping.MaxSteps(3), record=record)
    with pytest.raises(ValueError, match=r"kept no average: run descend with record=.*average=True"):
        plot_path(run, read_out="average")


@pytest.mark.parametrize("plot", [plot_path, plot_window])
def test_only_paths_are_drawn(plot):
    with pytest.raises(TypeError, match=r"path must be what hadaflow\.saddles\(\), hadaflow\.flow\(\) or"):
        plot(np.ones(3), truth=np.ones(3))
