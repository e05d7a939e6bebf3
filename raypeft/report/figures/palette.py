"""Colours and style of figures: Okabe and Ito's palette, told apart with any colour vision and in grey print."""

from collections.abc import Iterable
from typing import Any

from matplotlib.axis import Axis
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

INK = "#1f2328"
MUTED = "#6e7781"
LINES = "#d0d7de"
BLUE = "#0072b2"
ORANGE = "#d55e00"
GREEN = "#009e73"
PINK = "#cc79a7"
SKY = "#56b4e9"
AMBER = "#e69f00"

# For systems side by side: colours in an order in which neighbours differ most, and markers that differ without colour.
COLORS = (BLUE, ORANGE, GREEN, PINK, AMBER, SKY, INK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "figure.facecolor": "white",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "savefig.dpi": 200,
    "svg.fonttype": "none",
    "text.color": INK,
    # Names are data: a dollar sign in one is not the start of a formula.
    "text.parse_math": False,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
}

# What each colour is called in the page, which has a lighter and a darker theme; the background is the page's.
VARIABLES = {
    "fill: #ffffff": "fill: none",
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINES: "var(--line)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
    PINK: "var(--pink)",
    SKY: "var(--sky)",
    AMBER: "var(--amber)",
}


def looks(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each name, no pair twice before all are used."""
    return {name: (COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)]) for place, name in enumerate(names)}


def shortened(title: str, longest: int) -> str:
    """A title that fits beside an axis."""
    return title if len(title) <= longest else f"{title[: longest - 1]}…"


def log_ticks(axis: Axis, *, suffixes: bool = False) -> None:
    """Plain numbers on a logarithmic axis, with k, M and G where wanted; matplotlib's own are formulas."""
    low, high = sorted(axis.get_view_interval())
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 30 * low else (1.0,)))
    axis.set_major_formatter(EngFormatter(sep="") if suffixes else FuncFormatter(lambda value, _: _plain(value)))
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float) -> str:
    return f"{value:g}".replace("e-0", "e-").replace("e+0", "e+")
