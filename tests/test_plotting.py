import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp

import hadaflow as hf
from hadaflow.plotting import blank_figure, plot_path, plot_recovery, plot_support, plot_training, plot_window

mpl = pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("plt")


def instance(m, n, sparsity, *, seed=0, positive=False):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n))
    x = np.zeros(n)
    values = rng.standard_normal(sparsity)
    x[rng.choice(n, sparsity, replace=False)] = np.abs(values) if positive else values
    return A, x


@pytest.fixture(scope="module")
def easy():
    A, x = instance(30, 80, 4)
    return hf.recover(A, A @ x), x


def huge(x, *, product_scale=0.0):
    """A result of any size without a solver."""
    A = sp.csc_array(np.ones((2, len(x))))
    problem = hf.Problem(A, A @ x)
    dual = np.array([1.0, 0.5])
    status = hf.Status.LIMIT if product_scale else hf.Status.EXACT
    certificate = hf.certify(problem, x, dual)
    return hf.Recovery(x, dual, certificate, status, hf.Stats(), problem, product_scale=product_scale)


def draw(recovery, **options):
    figure = plot_recovery(recovery, axes=blank_figure().axes, **options)
    figure.canvas.draw()
    return figure


def drawn(axes, label):
    """The points behind a label of the legend."""
    handles = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    return np.column_stack(handles[label].get_data())


def segments(axes):
    return sum(len(collection.get_segments()) for collection in axes.collections if hasattr(collection, "get_segments"))


# ---- what it shows -----------------------------------------------------------------------------------------


def test_three_panels_and_a_title(easy):
    recovery, x = easy
    figure = draw(recovery, truth=x)
    assert len(figure.axes) == 3
    title = figure.axes[0].get_title(loc="left")
    assert str(recovery.status) in title
    assert f"\nl1 norm {recovery.certificate.l1_norm:.6g}, relative gap" in title
    assert "relative error" in title
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "coordinate (n = 80)",
        "measurement (m = 30)",
        "coordinate (n = 80)",
    ]


def test_the_picture_is_true_to_the_numbers(easy):
    recovery, x = easy
    top, _, bottom = draw(recovery, truth=x).axes
    support = recovery.support()
    np.testing.assert_array_equal(drawn(top, "recovered"), np.column_stack([support, recovery.x[support]]))
    np.testing.assert_array_equal(drawn(top, "truth"), np.column_stack([support, x[support]]))
    touching = drawn(bottom, "support")
    np.testing.assert_array_equal(touching[:, 0], support)
    np.testing.assert_allclose(touching[:, 1], np.sign(recovery.x[support]), atol=1e-9)


def test_weights_bring_the_certificate_to_its_bounds():
    A, x = instance(30, 80, 4)
    weights = np.linspace(0.5, 3, 80)
    recovery = hf.recover(A, A @ x, weights=weights)
    figure = draw(recovery)
    assert "weighted l1 norm" in figure.axes[0].get_title(loc="left")
    np.testing.assert_allclose(np.abs(drawn(figure.axes[2], "support")[:, 1]), 1, atol=1e-9)


def test_positive_has_one_bound_and_hides_nothing_below_it():
    A, x = instance(30, 80, 4, positive=True)
    recovery = hf.recover(A, A @ x, positive=True)
    bottom = draw(recovery).axes[2]
    np.testing.assert_allclose(drawn(bottom, "support")[:, 1], 1, atol=1e-9)
    slopes = A.T @ recovery.dual
    assert bottom.get_ylim()[0] < slopes.min() / slopes.max()


def test_rounding_is_drawn_on_the_scale_of_y():
    A, x = instance(30, 80, 12)
    recovery = hf.recover(A, A @ x)
    assert 0 < recovery.certificate.residual < 1e-12
    middle = draw(recovery).axes[1]
    assert middle.get_ylim()[1] == np.abs(recovery.problem.y).max()
    assert "rounding, on the scale of y" in middle.get_title(loc="left")
    assert segments(middle) > 0


def test_a_true_residual_is_drawn_on_its_own_scale():
    A, x = instance(30, 80, 12)
    y = A @ x
    middle = draw(hf.recover(A, y, noise_level=0.1 * np.linalg.norm(y))).axes[1]
    assert middle.get_ylim()[1] < 0.5 * np.abs(y).max()
    assert "rounding" not in middle.get_title(loc="left")


@pytest.mark.parametrize("scale", [1e-150, 1e-5, 1.0, 1e9])
def test_no_power_of_ten_stands_where_the_title_is(scale):
    A, x = instance(30, 80, 12)
    for axes in draw(hf.recover(A, scale * (A @ x), noise_level=scale)).axes:
        assert axes.yaxis.get_offset_text().get_text() == ""
        labels = [label.get_text() for label in axes.get_yticklabels()]
        assert "0" in labels
        assert len(set(labels)) == len(labels)


def test_colours_differ_in_grey():
    from hadaflow.plotting import palette

    weights = [0.299, 0.587, 0.114]
    blue, orange, grey = (np.dot(weights, mpl.colors.to_rgb(c)) for c in (palette.BLUE, palette.ORANGE, palette.GREY))
    assert orange - blue > 0.25
    assert grey - blue > 0.2


# ---- any size ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("A", "y"), [([[2.0]], [4.0]), ([[2.0]], [0.0]), ([[0.0, 0.0]], [0.0]), ([[1, 2], [3, 4]], [1, 2])]
)
def test_the_smallest_problems(A, y):
    recovery = hf.recover(np.array(A, dtype=float), np.array(y, dtype=float))
    figure = draw(recovery, truth=recovery.x)
    ticks = figure.axes[0].get_xticks()
    np.testing.assert_array_equal(ticks, np.arange(len(recovery.x)))


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_extreme_units(scale):
    A, x = instance(20, 40, 3)
    draw(hf.recover(A, scale * (A @ x)), truth=scale * x)


def test_float32():
    A, x = instance(20, 40, 3)
    A = A.astype(np.float32)
    draw(hf.recover(A, A @ x.astype(np.float32)), truth=x)


@pytest.mark.parametrize("nonzeros", [1, 1000, 1_000_000])
def test_a_million_entries_make_a_small_picture(tmp_path, nonzeros):
    rng = np.random.default_rng(0)
    x = np.zeros(1_000_000)
    x[rng.choice(len(x), nonzeros, replace=False)] = rng.standard_normal(nonzeros)
    figure = draw(huge(x, product_scale=1e-6), truth=x + 0.1)
    assert all(segments(axes) <= 13_000 for axes in figure.axes)
    for suffix in ("png", "pdf", "svg"):
        figure.savefig(tmp_path / f"p.{suffix}")
        assert (tmp_path / f"p.{suffix}").stat().st_size < 2_000_000


def test_decimation_keeps_the_peaks():
    x = np.full(300_000, 1e-3)
    x[[5, 77_777, 299_999]] = [3.0, -2.0, 1.0]
    top = draw(huge(x, product_scale=1e-9)).axes[0]
    heights = {segment[1, 1] for collection in top.collections for segment in collection.get_segments()}
    assert {3.0, -2.0, 1.0} <= heights


def test_a_limit_shows_its_support():
    A, x = instance(30, 80, 4)
    recovery = hf.recover(A, A @ x, depth=3, init_scale=1e-2)
    top, _, bottom = draw(recovery, truth=x).axes
    np.testing.assert_array_equal(drawn(bottom, "support")[:, 0], recovery.support())
    np.testing.assert_array_equal(drawn(top, "recovered")[:, 0], recovery.support())
    assert segments(top) == 80 + len(recovery.support())


# ---- where it draws ----------------------------------------------------------------------------------------


def test_a_new_figure_belongs_to_pyplot(easy, plt):
    figure = plot_recovery(easy[0])
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize("panels", [0, 4, "two", None])
def test_blank_figures_have_one_to_three_panels(panels):
    with pytest.raises(ValueError, match="panels must be 1, 2 or 3, got"):
        blank_figure(panels)


def test_a_blank_figure_does_not(easy, plt):
    draw(easy[0])
    assert plt.get_fignums() == []


def test_axes_of_the_caller(easy, plt):
    figure, axes = plt.subplots(1, 4)
    assert plot_recovery(easy[0], axes=axes[:3]) is figure
    assert not axes[3].has_data()


# ---- what it refuses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"truth": np.ones(3)}, ValueError, r"truth must have one entry per entry of x \(80\), got 3"),
        ({"truth": np.ones((80, 1))}, ValueError, r"truth must be one-dimensional.*pass truth\.ravel\(\)"),
        ({"truth": np.full(80, np.nan)}, ValueError, "truth contains nan"),
        ({"truth": np.full(80, 1j)}, TypeError, "truth is complex"),
        ({"axes": []}, ValueError, r"axes must be three matplotlib Axes, got 0; make them with plt\.subplots\(3\)"),
    ],
)
def test_bad_options(easy, options, error, message):
    with pytest.raises(error, match=message):
        plot_recovery(easy[0], **options)


def test_only_recoveries_are_drawn():
    with pytest.raises(TypeError, match=r"recovery must be what hadaflow\.recover\(\) returned, got ndarray"):
        plot_recovery(np.ones(3))


def test_without_matplotlib_the_extra_is_named(easy, monkeypatch):
    problem, model = easy[0].problem, hf.HadamardPower(2)
    saddle, flow = hf.saddles(problem), hf.flow(problem, model, init_scale=0.1, t_end=1.0)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for call in (
        blank_figure,
        lambda: plot_recovery(easy[0]),
        lambda: plot_support(easy[0]),
        lambda: plot_path(saddle),
        lambda: plot_window(saddle, np.ones(80)),
        lambda: plot_training(flow),
    ):
        with pytest.raises(ImportError, match=r"pip install 'hadaflow\[plot\]'"):
            call()


def test_matplotlib_waits_for_the_first_picture():
    program = "import sys, hadaflow, hadaflow.plotting; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("kind", ["complex", "joint", "groups", "complex joint"])
def test_recovery_of_complex_joint_and_grouped_data(kind):
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((20, 40)), np.zeros((40, 3) if "joint" in kind else 40)
    x[[4, 5]] = rng.standard_normal(x[[4, 5]].shape)
    if "complex" in kind:
        A, x = A + 1j * rng.standard_normal(A.shape), x * np.exp(1j)
    recovery = hf.recover(A, A @ x, groups=2 if kind == "groups" else None, joint="joint" in kind)
    figure = plot_recovery(recovery, truth=x)
    top, _, bottom = figure.axes[:3]
    assert "exact to rounding" in top.get_title(loc="left")
    assert "relative error" in top.get_title(loc="left")
    assert bottom.get_ylim()[0] <= 0
    dots = bottom.get_lines()[1].get_ydata()
    np.testing.assert_allclose(dots, 1, atol=1e-9)  # the support meets its bounds
    with pytest.raises(ValueError, match="truth must"):
        plot_recovery(recovery, truth=x[:-1])
    figure.canvas.draw()
