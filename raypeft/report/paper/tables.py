"""The paper's tables with our numbers in them, and the values of its figures that its text states."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from raypeft.output import text as show
from raypeft.report.paper.values import ICL, JOINT, NOT_HERE, Compared, Paper, PaperRow, published, title
from raypeft.report.tables.table import Column, Table

TITLES = {"em@1": "EM@1", "em@10": "EM@10", "codebleu_flat": "CodeBLEU"}
READING = "Each number is ours, then in brackets the paper's and the difference (ours minus the paper's). "


@dataclass(frozen=True)
class Stated:
    """A value of a figure, or of the text about it, beside ours."""

    place: str
    models: list[str]
    technique: str
    test_set: str | None
    metric: str
    value: Compared


def paper_tables(paper: Paper) -> list[Table]:
    """Those of the paper's tables that the study has any cell of, and what the text states of its figures."""
    tables: list[Table] = []
    if not paper.here:
        return tables
    if any(row.here for row in paper.table3):
        tables.append(table3(paper))
    if any(row.here for row in paper.table4 if row.technique == JOINT):
        tables.append(table4(paper))
    stated = stated_values(paper)
    return [*tables, stated] if any(row.value.missing != NOT_HERE for row in stated.rows) else tables


def table3(paper: Paper) -> Table:
    """Table 3: models and techniques; bold is the best parameter-efficient technique of a model."""
    rows = paper.table3

    def best(place: tuple[str, str]) -> Callable[[PaperRow], bool]:
        top: dict[str, float] = {}
        for row in rows:
            if row.technique != "full" and (value := row.values[place].ours) is not None:
                top[row.model] = max(value, top.get(row.model, value))
        return lambda row: row.technique != "full" and row.values[place].ours == top.get(row.model, float("nan"))

    def parameters(row: PaperRow) -> str:
        found = next((n for cell in row.cells.values() if (n := cell.selection.trainable_parameters)), None)
        return f"{show.ABSENT if found is None else millions(found)} ({row.parameters})"

    columns = [
        *_names(),
        Column("", "Parameters", parameters, numeric=True),
        Column("paper_parameters", "", lambda row: row.parameters),
        *_values(rows[0], best),
        Column("missing", "Missing", lambda row: row.missing, long=True),
    ]
    caption = _caption(paper, "Bold: ours, the best parameter-efficient technique of its model. Parameters: trained.")
    return Table("paper-table-3", "The paper's table 3 (RQ1)", columns, rows, lambda row: False, caption)


def table4(paper: Paper) -> Table:
    """Table 4: one adapter a data set beside one for both."""
    columns = [
        *_names(),
        *_values(paper.table4[0]),
        Column("missing", "Missing", lambda row: row.missing, long=True),
    ]
    caption = _caption(paper, "Joint: one LoRA adapter trained on both data sets.")
    return Table("paper-table-4", "The paper's table 4 (RQ3)", columns, paper.table4, lambda row: False, caption)


def stated_values(paper: Paper) -> Table:
    """Values of figures 1, 4 and 5 and of the text about them."""
    rows = [
        Stated("Figure 1", [model], technique, None, "peak memory, GiB", paper.memory(model, technique))
        for model, techniques in published()["memory_at_most"].items()
        for technique in techniques
    ]
    rows += [
        Stated(place, [row.model], row.technique, test_set, TITLES[metric], value)
        for place, found in (("Figure 4", paper.figure4), ("Figure 5", paper.figure5))
        for row in found
        if row.technique == ICL or place == "Figure 5"
        for (test_set, metric), value in row.values.items()
        if value.paper is not None and (place == "Figure 4" or metric == "em@10")
    ]
    rows += [
        Stated("Section 5.2", models, "LoRA over ICL", test_set, f"{TITLES[metric]}, relative gain in percent", value)
        for models, test_set, metric, value in paper.gains()
    ]
    techniques, datasets = published()["techniques"], published()["datasets"]

    def value(get: Callable[[Compared], Any]) -> Callable[[Stated], Any]:
        return lambda row: get(row.value)

    columns = [
        Column("place", "Where", lambda row: row.place),
        Column("models", "", lambda row: "; ".join(row.models)),
        Column("", "Model", lambda row: row.models, _models, long=True),
        Column("technique", "Technique", lambda row: row.technique, lambda name: techniques.get(name, name)),
        Column("test_set", "Tested on", lambda row: row.test_set, lambda name: datasets[name]["title"]),
        Column("metric", "Metric", lambda row: row.metric),
        Column("ours", "Ours", value(lambda one: one.ours), number, numeric=True),
        Column("paper", "Paper", value(lambda one: one.paper), number, numeric=True),
        Column("difference", "Difference", value(lambda one: one.difference), difference, numeric=True),
        Column("missing", "Missing", value(lambda one: one.missing), long=True),
    ]
    caption = _caption(
        paper,
        "Figure 1: the paper says at most. Figure 4: the best of 1, 2 and 3 examples, mean over seeds. "
        "Gains: 100 (LoRA / ICL - 1) with that best, for several models their mean.",
        reading="",
    )
    return Table("paper-figures", "Values of the paper's figures and text", columns, rows, lambda row: False, caption)


def number(value: float) -> str:
    """With the paper's two decimals."""
    return f"{value:.2f}"


def difference(value: float) -> str:
    """Signed, with two decimals."""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", "−")


def millions(count: int) -> str:
    """A number of parameters in the paper's way: `2.65M`."""
    return f"{count / 1e6:.3g}M"


def _names() -> list[Column]:
    techniques = {**published()["techniques"], JOINT: "Joint"}
    return [
        Column("model", "Model", lambda row: row.model, title),
        Column("technique", "Tuning", lambda row: row.technique, techniques.__getitem__),
    ]


def _values(
    example: PaperRow, best: Callable[[tuple[str, str]], Callable[[PaperRow], bool]] | None = None
) -> list[Column]:
    """For readers one column a test set and metric, in CSV three."""
    columns = []
    for place in example.values:
        test_set, metric = place
        heading = f"{published()['datasets'][test_set]['title']} {TITLES[metric]}"
        key = f"{test_set}_{metric}"
        columns += [
            Column("", heading, _value(place), _beside, numeric=True, bold=best and best(place)),
            Column(key, "", _value(place, "ours")),
            Column(f"{key}_paper", "", _value(place, "paper")),
            Column(f"{key}_difference", "", _value(place, "difference")),
        ]
    return columns


def _value(place: tuple[str, str], part: str | None = None) -> Callable[[PaperRow], Any]:
    return lambda row: getattr(row.values[place], part) if part else row.values[place]


def _beside(value: Compared) -> str:
    ours = show.ABSENT if value.ours is None else number(value.ours)
    inside = [show.ABSENT if value.paper is None else number(value.paper)]
    inside += [] if value.difference is None else [difference(value.difference)]
    return f"{ours} ({', '.join(inside)})"


def _models(names: list[str]) -> str:
    return ", ".join(map(title, names))


def _caption(paper: Paper, own: str, reading: str = READING) -> str:
    return " ".join(
        [
            f"{reading}Percent on the test items. CodeBLEU: on code put on one line, as in the paper.",
            own,
            *paper.remarks(),
        ]
    )
