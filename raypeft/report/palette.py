"""Colours and style of figures: Okabe and Ito's palette, told apart with any colour vision and in grey print."""

from typing import Any

INK = "#1f2328"
MUTED = "#6e7781"
LINES = "#d0d7de"
BLUE = "#0072b2"
ORANGE = "#d55e00"
GREEN = "#009e73"
PINK = "#cc79a7"

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
}
