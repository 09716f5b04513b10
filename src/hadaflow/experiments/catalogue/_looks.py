"""How lines are drawn in all figures: by depth, told apart without colour too, with legends that cover nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hadaflow.plotting.palette import BLUE, GREY, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEAL, BLACK = "#35978f", "#222222"


class Look(NamedTuple):
    """How a line is drawn; each differs in all three, so that colour is not needed to tell them apart."""

    colour: str
    marker: str
    line: str


#: One after the other, for lines of any meaning.
ORDER = (Look(BLUE, "o", "-"), Look(ORANGE, "s", "--"), Look(TEAL, "^", "-."), Look(GREY, "D", ":"))

#: No figure shows both depth 5 and depth 6.
DEPTHS = dict(zip((2.0, 3.0, 4.0, 5.0, 6.0), (*ORDER, ORDER[-1]), strict=True))


def legend_above(ax: Axes, title: str = "", *, columns: int) -> None:
    """What the lines are, between title and axes, where it covers nothing."""
    ax.legend(
        title=title or None,
        fontsize=8,
        title_fontsize=10,
        ncols=columns,
        frameon=False,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        handlelength=2.5,
        columnspacing=1.2,
    )
