"""The figures of a report beside comparisons and loss curves: which there are, and what a reader has to know."""

from collections.abc import Iterator
from dataclasses import dataclass

from matplotlib.figure import Figure

from raypeft.metrics.exact_match import KS
from raypeft.output.text import printable
from raypeft.report.figures import search
from raypeft.report.figures.effectiveness import draw_heat_map, draw_over_examples, draw_over_k
from raypeft.report.figures.lengths import draw_lengths
from raypeft.report.figures.tradeoffs import MEMORY, PARAMETERS, TIME, draw_tradeoffs
from raypeft.report.numbers.cells import CellRow
from raypeft.report.numbers.gather import Numbers
from raypeft.report.numbers.scores import read_scores

Place = tuple[str, str]


@dataclass(frozen=True)
class Sketch:
    """A figure that is not written yet: the name of its files, its heading, and what it shows in words."""

    name: str
    title: str
    label: str
    figure: Figure


@dataclass(frozen=True)
class Group:
    """Figures of one kind.

    Attributes:
        name: anchor in the page.
        absent: why there is none, where there is none.
    """

    name: str
    title: str
    caption: str
    sketches: list[Sketch]
    absent: str


def groups(numbers: Numbers) -> Iterator[Group]:
    """Every group of figures that the numbers allow, drawn one after the other."""
    titles = _titles(numbers)
    places = _places(numbers)
    em = f"EM@{numbers.k} on the test items, percent"
    yield Group(
        "tradeoffs",
        "Effectiveness against cost",
        f"EM@{numbers.k} of every tested cell against what it takes. Dashed: the Pareto front, the cells that no other "
        "one beats in both. Memory and time are of the selected trial and compare only on the same hardware.",
        [
            Sketch(
                _name(kind, place),
                f"{_place_title(numbers, place)}: {what}",
                f"EM@{numbers.k} against {what}, cells tested on {place[1]}",
                draw_tradeoffs(rows, cost, numbers.metric, em, titles),
            )
            for place, rows in places.items()
            for kind, what, cost in (
                ("parameters", "trainable parameters", PARAMETERS),
                ("memory", "peak memory", MEMORY),
                ("time", "training time", TIME),
            )
        ],
        "No cell is tested yet.",
    )
    yield Group(
        "heat-map",
        "Techniques and models",
        f"EM@{numbers.k} on the test items, percent; a dash where there is no result.",
        [
            Sketch(
                _name("heat-map", place),
                _place_title(numbers, place),
                f"EM@{numbers.k} of every technique and model tested on {place[1]}",
                draw_heat_map([row for row in numbers.cells if _place(row) == place], numbers.metric, em, titles),
            )
            for place in places
        ],
        "No cell is tested yet.",
    )
    yield Group(
        "over-k",
        "EM@k over k",
        "Share of test items whose reference is among the first k candidates."
        + (
            " Dashed: in-context learning (ICL) at its best number of examples, mean over seeds." if numbers.icl else ""
        ),
        [
            Sketch(
                f"over-k--{pair.model}" + _name("", (pair.dataset, pair.test_set)),
                numbers.title(pair.model, pair.dataset, pair.test_set),
                f"EM@k over k of {pair.model} on {pair.test_set}",
                draw_over_k(pair, [k for k in KS if k <= numbers.k], titles),
            )
            for pair in numbers.pairs
            if pair.best
        ],
        "No cell is tested yet.",
    )
    if numbers.icl:
        yield _examples(numbers, em, titles)
    yield _search(numbers)
    yield _lengths(numbers)


def _examples(numbers: Numbers, em: str, titles: dict[str, str]) -> Group:
    return Group(
        "examples",
        "In-context learning by number of examples",
        "Every seed is a point, the line their mean.",
        [
            Sketch(
                f"examples--{dataset}",
                numbers.run.plan.resolved.datasets[dataset].title,
                f"EM@{numbers.k} of in-context learning on {dataset} by number of examples",
                draw_over_examples(rows, numbers.metric, em, titles),
            )
            for dataset in dict.fromkeys(row.dataset for row in numbers.icl)
            if (rows := [row for row in numbers.icl if row.dataset == dataset and numbers.metric in row.metrics])
        ],
        "No run of in-context learning is done.",
    )


def _search(numbers: Numbers) -> Group:
    techniques, sketches = numbers.run.plan.resolved.techniques, []
    importances = search.read_importance(numbers.run, [row.cell for row in numbers.searched])
    for name, technique in techniques.items():
        own = [one for one in importances if one.cell.technique == name]
        if own and own[0].shares:
            label = f"Importance of the hyperparameters of {name} in {len(own)} cells"
            title = f"{technique.title}: importance"
            sketches.append(Sketch(f"importance--{name}", title, label, search.draw_importance(own)))
        trials = [trial for trial in numbers.trials if trial.cell.technique == name and trial.hyperparameters]
        if any(trial.best_loss is not None and trial.hyperparameters.keys() & technique.search for trial in trials):
            label = f"Loss of {len(trials)} trials of {name} along each hyperparameter"
            figure = search.draw_slices(trials, technique.search)
            sketches.append(Sketch(f"slices--{name}", f"{technique.title}: slices", label, figure))
    enough = "" if importances else f" No cell has {search.ENOUGH} trials, which importance needs."
    return Group(
        "search",
        "Hyperparameters",
        "Slices: the best validation loss of every trial over the best of its cell (1 is the best; ↑ above the "
        "picture), filled where the trial ran to its end, ★ selected. Importance: of being among the best quarter of a "
        "cell's trials (PED-ANOVA, Optuna), bars over cells, each cell a point." + enough,
        sketches,
        "No trial has a loss yet.",
    )


def _lengths(numbers: Numbers) -> Group:
    resolved, sketches = numbers.run.plan.resolved, []
    for place, rows in _places(numbers).items():
        first = {row.cell.model: row for row in reversed(rows)}
        read = {
            model: read_scores(numbers.run, numbers.run.predictions_file(row.cell, place[1]))
            for model, row in first.items()
        }
        lengths = {model: scores.tokens for model, scores in reversed(read.items()) if scores and scores.tokens}
        if lengths:
            entry = resolved.datasets[place[1]]
            figure = draw_lengths(
                lengths,
                {"prompt": entry.max_prompt_tokens, "code": entry.max_code_tokens},
                [printable(resolved.models[model].title) for model in lengths],
            )
            label = f"Lengths in tokens of the test items of {place[1]}"
            sketches.append(Sketch(_name("lengths", place), _place_title(numbers, place), label, figure))
    return Group(
        "lengths",
        "Token lengths",
        "How long prompts, references and first candidates of the test items are in each model's tokens (of its first "
        "tested technique), and the limits of the data set (dotted).",
        sketches,
        "No test has recorded its lengths.",
    )


def _titles(numbers: Numbers) -> dict[str, str]:
    resolved = numbers.run.plan.resolved
    return {
        name: printable(one.title) for names in (resolved.models, resolved.techniques) for name, one in names.items()
    }


def _places(numbers: Numbers) -> dict[Place, list[CellRow]]:
    """Tested cells by data set and test set."""
    places: dict[Place, list[CellRow]] = {}
    for row in numbers.cells:
        if row.state == "tested":
            places.setdefault(_place(row), []).append(row)
    return places


def _place(row: CellRow) -> Place:
    return row.cell.dataset, row.test_set


def _name(kind: str, place: Place) -> str:
    return f"{kind}--{place[0]}" + ("" if place[0] == place[1] else f"--{place[1]}")


def _place_title(numbers: Numbers, place: Place) -> str:
    dataset, test_set = (numbers.run.plan.resolved.datasets[name].title for name in place)
    return dataset if place[0] == place[1] else f"{dataset}, tested on {test_set}"
