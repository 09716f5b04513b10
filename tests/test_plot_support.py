from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

import hadaflow as hf
from hadaflow.plotting import blank_figure, plot_path, plot_support

mpl = pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("plt")

X = np.array([0.0, 2.0, -0.1, 0.0, -3.0, 0.0])
TRUTH = np.array([1.0, 2.5, 0.0, 0.0, -3.0, 0.0])


def drawn(x, **options):
    ax = plot_support(x, ax=blank_figure(1).axes[0], **options)
    ax.figure.canvas.draw()
    return ax


def dots(ax):
    """The marks by their shape: pairs of value and row."""
    return {line.get_marker(): list(zip(*line.get_data(), strict=True)) for line in ax.lines if len(line.get_xdata())}


def rows(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def keys(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# ---- what it shows ---------------------------------------------------------------------------------------------


def test_the_largest_come_first():
    ax = drawn(X)
    assert rows(ax) == ["$x_{4}$", "$x_{1}$", "$x_{2}$"]
    assert dots(ax)["o"] == [(-3.0, 0), (2.0, 1), (-0.1, 2)]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # from the top down
    assert ax.get_title(loc="left") == "3 of 6 coefficients non-zero"
    assert ax.get_legend() is None


def test_found_missed_and_false_differ_in_shape_and_colour():
    ax = drawn(X, truth=TRUTH)
    assert rows(ax) == ["$x_{4}$", "$x_{1}$", "$x_{0}$", "$x_{2}$"]
    shown = dots(ax)
    assert shown["o"] == [(-3.0, 0), (2.0, 1)]
    assert shown["x"] == [(0.0, 2)]
    assert shown["^"] == [(-0.1, 3)]
    assert shown["s"] == [(-3.0, 0), (2.5, 1), (1.0, 2)]
    assert keys(ax) == ["found", "missed", "false", "truth"]
    by_shape = {line.get_marker(): line for line in ax.lines}
    greys = [np.dot([0.299, 0.587, 0.114], mpl.colors.to_rgb(by_shape[shape].get_color())) for shape in "o^x"]
    assert np.abs(np.subtract.outer(greys, greys))[np.triu_indices(3, 1)].min() > 0.1
    assert by_shape["s"].get_markerfacecolor() == "none"
    assert ax.get_title(loc="left").endswith(": 2 of 3 found, 1 missed, 1 false")


def test_only_what_occurs_is_explained():
    assert keys(drawn(TRUTH, truth=TRUTH)) == ["found", "truth"]
    assert keys(drawn(X, truth=np.zeros(6))) == ["false"]
    assert keys(drawn(np.zeros(6), truth=TRUTH)) == ["missed", "truth"]


def test_the_largest_of_many():
    x, truth = np.linspace(1, 2, 1000), np.zeros(1000)
    truth[7] = 5.0
    ax = drawn(x, truth=truth, most=3)
    assert rows(ax) == ["$x_{7}$", "$x_{999}$", "$x_{998}$"]
    title = "1000 of 1000 coefficients non-zero: 1 of 1 found, 0 missed, 999 false\nlargest 3 drawn"
    assert ax.get_title(loc="left") == title


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["a", "b", "c", "d", "e", "f"], ["e", "b", "c"]), ([f"price in ${i}" for i in range(6)], [r"price in \$4"])],
)
def test_names_of_the_caller(names, expected):
    assert rows(drawn(X, names=names))[: len(expected)] == expected


def test_an_estimator_brings_its_names():
    names = np.array(list("abcdef"), dtype=object)
    fitted = SimpleNamespace(coef_=X, feature_names_in_=names)
    assert rows(drawn(fitted)) == ["e", "b", "c"]
    assert rows(drawn(fitted, names=list("uvwxyz"))) == ["y", "v", "w"]
    several = SimpleNamespace(coef_=np.stack([X, TRUTH]), feature_names_in_=names)
    assert rows(drawn(several, target=1)) == ["e", "b", "a"]


def test_an_answer_shows_its_support():
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((30, 80)), np.zeros(80)
    x[[5, 60]] = 1.0, -2.0
    answer = hf.recover(A, A @ x, depth=3, init_scale=1e-2)
    assert np.count_nonzero(answer.x) == 80
    assert rows(drawn(answer, truth=x)) == ["$x_{60}$", "$x_{5}$"]


# ---- any size --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [np.zeros(1), np.zeros(5)])
def test_all_zero(x):
    ax = drawn(x, truth=x)
    assert [text.get_text() for text in ax.texts] == ["all are zero"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_one_coefficient_of_any_kind(dtype):
    assert dots(drawn(np.array([3], dtype=dtype)))["o"] == [(3.0, 0)]


def test_thousands_are_drawn_small_and_without_names(tmp_path):
    x = np.random.default_rng(0).standard_normal(5000)
    ax = drawn(x, truth=x + 1, most=5000)
    assert rows(ax) == []
    assert len(ax.lines) + len(ax.collections) < 10
    for suffix in ("png", "pdf", "svg"):
        ax.figure.savefig(tmp_path / f"p.{suffix}")
        assert (tmp_path / f"p.{suffix}").stat().st_size < 1_500_000


def test_a_new_figure_has_room_for_all_names(plt):
    few, many = plot_support(X), plot_support(np.arange(1.0, 61.0), most=60)
    assert plt.get_fignums() == [few.figure.number, many.figure.number]
    many.figure.canvas.draw()
    boxes = [label.get_window_extent() for label in many.get_yticklabels()]
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in pairwise(boxes))
    assert many.figure.get_figheight() > few.figure.get_figheight()


# ---- what it refuses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (X, {"truth": np.ones(3)}, ValueError, r"truth must have one entry per entry of x \(6\), got 3"),
        (X, {"names": ["a"]}, ValueError, r"names must hold one name per coefficient \(6\), got 1"),
        (X, {"names": "abcdef"}, ValueError, r"names must hold one name per coefficient \(6\), got one string"),
        (X, {"most": 0}, ValueError, "most must be a finite number >= 1"),
        (X, {"ax": 3}, TypeError, "ax must be one matplotlib Axes, got int"),
        (np.array([1.0, np.nan]), {}, ValueError, "x contains nan"),
        (np.ones((2, 2)), {}, ValueError, "x must be one-dimensional"),
        (SimpleNamespace(coef_=X), {"target": 1}, ValueError, "target must lie between 0 and 0, got 1"),
        (SimpleNamespace(fit=print), {}, TypeError, "x is a SimpleNamespace without coef_"),
        (SimpleNamespace(coef_=[np.inf]), {}, ValueError, "coef_ contains inf"),
    ],
)
def test_bad_options(x, options, error, message):
    with pytest.raises(error, match=message):
        plot_support(x, **options)


@pytest.mark.parametrize("kind", ["SparseFlowRegressor", "SparseFlowRegressorCV", "SparseFlowClassifier"])
def test_curves_of_an_estimator_have_the_names_of_their_features(kind):
    """Unpenalised features are not on the path: the others keep their names."""
    import pandas as pd

    from hadaflow import estimators

    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((100, 6)), columns=list("abcdef"))
    y = 3 * X["c"] + rng.standard_normal(100)
    model = getattr(estimators, kind)(feature_weights=[0, 1, 1, 1, 1, 1])
    model.fit(X, np.where(y > 0, "p", "q") if kind.endswith("Classifier") else y)
    ax = plot_path(model, truth=[0, 0, 3, 0, 0, 0], coordinates=3, ax=blank_figure(1).axes[0])
    assert [text.get_text() for text in ax.texts] == ["c"]
