"""Lengths in tokens of a test's prompts, references and predictions, against the data set's limits."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from raypeft.metrics.items import Ranks
from raypeft.report.figures import palette

# Share of items that a panel shows; a few very long ones would flatten the others.
_SHOWN = 0.995


def draw_lengths(
    lengths: Mapping[str, Mapping[str, Ranks]], limits: Mapping[str, int], titles: Sequence[str]
) -> Figure:
    """Share of items up to each length: prompts in one panel, references and predictions in the other.

    Args:
        lengths: of each model, by what was measured.
        limits: `prompt` and `code`, in tokens.
        titles: of the models, in their order.
    """
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (color, _), title, own in zip(palette.looks(titles).values(), titles, lengths.values(), strict=True):
        for axes, kind, style in ((left, "prompt", "-"), (right, "reference", "-"), (right, "prediction", (0, (2, 2)))):
            if kind in own:
                values = np.sort(own[kind])
                share = np.arange(1, len(values) + 1) / len(values)
                label = title if kind != "prediction" else None
                axes.step(values, 100 * share, where="post", color=color, linestyle=style, label=label)
    for axes, kind, limit, text in (
        (left, "prompt", limits["prompt"], "tokens of the prompt"),
        (right, "reference", limits["code"], "tokens of code (dashed: predictions)"),
    ):
        axes.axvline(limit, color=palette.MUTED, linewidth=1, linestyle=(0, (1, 2)))
        axes.annotate("limit", (limit, 4), xytext=(3, 0), textcoords="offset points", fontsize=8, color=palette.MUTED)
        longest = max(float(np.quantile(own[kind], _SHOWN)) for own in lengths.values() if kind in own)
        axes.set_xlim(0, 1.1 * max(longest, limit))
        axes.set_ylim(0, 102)
        axes.set_xlabel(text)
        axes.set_ylabel("items up to that length, percent")
    figure.legend(handles=left.get_lines()[: len(titles)], loc="outside lower center", ncols=3)
    return figure
