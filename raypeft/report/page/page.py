"""The HTML page of a report: one file, no request to anything outside it, everything from the run escaped."""

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from raypeft.output.text import counts, joined, printable
from raypeft.report.answer import answer
from raypeft.report.figures.drawing import Figures
from raypeft.report.numbers.gather import Numbers
from raypeft.report.page.browsing import browsable
from raypeft.report.tables.table import Table
from raypeft.runs.offers import doubts

TEMPLATES = Path(__file__).parent / "templates"


def render(numbers: Numbers, tables: Mapping[str, Table], figures: Figures) -> str:
    """The page as text.

    Args:
        numbers: of the run.
        tables: by their names: comparison, cells, icl and trials, and those of the paper.
        figures: drawn from the same numbers.
    """
    run, predictions = numbers.run, browsable(numbers)
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            name=run.plan.resolved.name,
            question=run.plan.resolved.study.question,
            answer=answer(numbers),
            facts=_facts(numbers),
            numbers=numbers,
            tables=tables,
            paper=[table for name, table in tables.items() if name.startswith("paper-")],
            figures=figures,
            predictions=predictions,
            script=Markup(script),
            script_hash=b64encode(sha256(script.encode()).digest()).decode(),
            failures=list(_failures(numbers)),
            manifest=list(_entries(run.manifest().content())),
            frozen=run.study_file.read_text(encoding="utf-8"),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters["svg"] = environment.filters["inert"] = Markup
    return environment


def _facts(numbers: Numbers) -> list[tuple[str, str]]:
    """Name and value of what a reader wants to know first."""
    states = Counter(trial.state for trial in numbers.trials)
    runs, jobs = sum(row.done for row in numbers.icl), len(numbers.run.plan.icl_jobs)
    sizes = {pair.test_set: pair.items for pair in numbers.pairs if pair.items}
    facts = [
        ("Cells", f"{numbers.tested} of {len(numbers.states)} tested"),
        ("Trials", f"{len(numbers.trials)} of {numbers.run.plan.trials} begun: {counts(states) or 'none'}"),
        *([("In-context learning", f"{runs} of {jobs} runs done")] if jobs else []),
        ("Test items", joined([f"{size:,} ({name})" for name, size in sizes.items()]) or "not known yet"),
    ]
    if numbers.last_record is not None:
        moment = datetime.fromtimestamp(numbers.last_record, UTC)
        facts.append(("Last record of the sweep", f"{moment:%Y-%m-%d %H:%M} UTC"))
    if doubtful := doubts(numbers.run):
        facts.append(("In doubt", "; ".join(doubtful)))
    if damaged := numbers.run.faults():
        facts.append(("Damaged files, left out", "; ".join(damaged)))
    return facts


def _failures(numbers: Numbers) -> Iterator[tuple[str, str]]:
    """What failed, and its traceback."""
    for trial in numbers.trials:
        if trial.error:
            yield f"Trial {trial.name} ({trial.state})", trial.error
    for row in numbers.cells:
        if row.error:
            yield f"Test of {row.name}", row.error
    for icl in numbers.icl:
        for seed, error in icl.errors.items():
            yield f"In-context learning of {icl.model} on {icl.dataset}, {icl.examples} examples, seed {seed}", error


def _entries(content: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and values of nested mappings."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from _entries(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
