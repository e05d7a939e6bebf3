"""The model card of an exported folder."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from raypeft import __version__
from raypeft.export.snippet import Snippet
from raypeft.metrics import KS, flatten
from raypeft.metrics.entries import METRICS, compared_metrics
from raypeft.modeling.layout import foreign_cores
from raypeft.output.text import count, hyperparameters, loss, markdown, one_line, percent, printable
from raypeft.runs.folder import Run
from raypeft.runs.records import Selection
from raypeft.runs.selection import selected
from raypeft.spec.catalogue import Architecture, DatasetEntry
from raypeft.spec.loading import dump_yaml
from raypeft.spec.plan import Cell

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Export:
    """What is exported, and how it will be called.

    Attributes:
        base_model: hub id or folder of the base model, as the user wants it called.
        architecture: decoder or encoder-decoder.
        snippet: the lines of Python that use it.
        merged: whether the adapter is merged into the base model.
        license: identifier of the licence it is passed on under.
    """

    run: Run
    cell: Cell
    base_model: str
    architecture: Architecture
    snippet: Snippet
    merged: bool
    license: str

    @property
    def is_adapter(self) -> bool:
        """Whether it is an adapter alone, to be put on its base model."""
        return self.run.plan.resolved.techniques[self.cell.technique].kind == "adapter" and not self.merged


def card(export: Export) -> str:
    """A README.md with a hub's metadata on top: results, use, training, data and licences."""
    run, cell = export.run, export.cell
    resolved, selection = run.plan.resolved, selected(run, cell)
    study, dataset = resolved.study, resolved.datasets[cell.dataset]
    model, technique = resolved.models[cell.model], resolved.techniques[cell.technique]
    tests = {name: found for name in run.plan.tests(cell) if (found := run.test(cell, name)) is not None}
    whole = technique.kind == "full"
    title = f"{model.title}, {technique.title}, {dataset.title}"
    prompt = printable(export.snippet.prompt)
    return _template().render(
        front=f"---\n{dump_yaml(_in_lines(_metadata(export, title, tests)))}---",
        fence=_fence(prompt, at_least=3),
        title=title,
        technique=technique.title,
        model=model.title,
        dataset=dataset.title,
        study=resolved.name,
        question=study.question,
        merged=export.merged,
        whole=whole,
        trainable=count(selection.trainable_parameters or 0),
        base_model=export.base_model,
        revision=model.revision,
        notes=_notes(export),
        beams=study.test.beams,
        results=[
            (resolved.datasets[name].title, found.items, _results(found.metrics)) for name, found in tests.items()
        ],
        criterion="lowest validation loss" if selection.select_by == "loss" else "highest validation EM@10",
        considered=f"{selection.considered} trial{'' if selection.considered == 1 else 's'}",
        validation_loss=loss(selection.validation_loss or 0.0),
        snippet=str(export.snippet),
        prompt=prompt,
        stop_strings=[json.dumps(stop) for stop in dataset.stop_strings],
        max_new_tokens=dataset.max_code_tokens,
        training=_training(export, selection),
        data_source=dataset.hub,
        license=export.license,
        versions=", ".join(f"{name} {version}" for name, version in _versions(run).items()),
    )


def _template() -> Any:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, for which every text goes through one of the filters
    )
    environment.filters |= {"text": _text, "code": _code}
    return environment.get_template("card.md.j2")


def _text(value: str) -> str:
    """A text in one line that Markdown leaves alone."""
    return markdown(one_line(value))


def _code(value: str) -> str:
    """A text in one line as code."""
    text = one_line(value)
    fence = _fence(text, at_least=1)
    return f"{fence}{text}{fence}" if fence == "`" else f"{fence} {text} {fence}"


def _fence(text: str, *, at_least: int) -> str:
    """More backticks than stand in a text beside each other."""
    return "`" * max(at_least, *(len(run) + 1 for run in re.findall("`+", text)), 0)


def _in_lines(value: Any) -> Any:
    """Metadata whose texts are one line each."""
    if isinstance(value, dict):
        return {key: _in_lines(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_in_lines(one) for one in value]
    return one_line(value) if isinstance(value, str) else value


def _metadata(export: Export, title: str, tests: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as huggingface.co's model cards have it."""
    resolved = export.run.plan.resolved
    dataset, technique = resolved.datasets[export.cell.dataset], resolved.techniques[export.cell.technique]
    task = "text-generation" if export.architecture == "decoder" else "text2text-generation"
    front: dict[str, Any] = {
        "license": export.license,
        "base_model": export.base_model,
        "library_name": "peft" if export.is_adapter else "transformers",
        "pipeline_tag": task,
        "language": ["code", "en"],
        "tags": ["code", "raypeft", technique.title],
    }
    sources = [resolved.datasets[name].hub for name in dataset.join or [export.cell.dataset]]
    if hubs := [hub for hub in sources if hub]:
        front["datasets"] = hubs
    if tests:
        results = [_result(task, resolved.datasets[name], name, found.metrics) for name, found in tests.items()]
        front["model-index"] = [{"name": title, "results": results}]
    return front


def _result(task: str, dataset: DatasetEntry, name: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    found = flatten(metrics)
    values = {f"EM@{k}": found.get(f"em@{k}") for k in (1, 10)}
    values |= {one.title: found.get(key) for key, one in compared_metrics().items()}
    return {
        "task": {"type": task},
        "dataset": {"name": dataset.title, "type": dataset.hub or name, "split": "test"},
        "metrics": [
            {"type": metric.lower(), "name": metric, "value": round(value, 2)}
            for metric, value in values.items()
            if value is not None
        ],
    }


def _notes(export: Export) -> list[str]:
    resolved = export.run.plan.resolved
    technique, entry = resolved.techniques[export.cell.technique], resolved.models[export.cell.model]
    notes = []
    if resolved.study.protocol.stop_rule == "package":
        notes.append(
            "The study ended its searches by the replication package's rule. The lines below end each candidate by "
            "itself, so that lower candidates may differ."
        )
    if technique.quantization:
        notes.append(
            f"The adapter was trained and tested on {technique.quantization} weights, and is merged here into the "
            "values that those stand for."
            if export.merged
            else f"The adapter was trained on {technique.quantization} weights; load the base model so too."
        )
    if export.is_adapter and export.base_model == export.cell.model and not entry.hub:
        notes.append(f"The base model has no address here: put its hub id or folder in place of {export.base_model}.")
    if cores := foreign_cores(entry):
        layout = f"The base model's checkpoint lays out its attention rows for {cores} cores"
        notes.append(
            f"{layout}, and so does this adapter. transformers' own class reads 4: there, reorder both, as below."
            if export.is_adapter
            else f"{layout}. The weights here are reordered for transformers' own class; load them without remote code."
        )
    return notes


def _results(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = flatten(metrics)
    exact = [(f"EM@{k} (%)", percent(metrics[f"em@{k}"])) for k in KS if f"em@{k}" in metrics]
    others = [(one.title, one.text(value)) for key, one in METRICS.items() if (value := found.get(key)) is not None]
    return exact + others


def _training(export: Export, selection: Selection) -> list[tuple[str, str]]:
    run, study = export.run, export.run.plan.resolved.study
    splits = run.manifest().datasets.get(export.cell.dataset, {})
    sizes = ", ".join(f"{split.items} {name}" for name, split in splits.items())
    report = f"{selection.checkpoint_report} of {run.plan.reports}"
    training = study.training
    return [
        ("hyperparameters", hyperparameters(selection.point)),
        ("trained weights", f"{count(selection.trainable_parameters or 0)} of {count(selection.parameters or 0)}"),
        ("items", sizes or "not recorded"),
        ("epochs", f"at most {training.epochs:g}; the checkpoint is that of report {report}"),
        ("optimiser", f"{training.optimizer}, batch {training.batch}, warm-up {training.warmup:g}, linear decay"),
        ("precision", training.precision),
        ("seed", str(training.seed)),
        ("peak memory", f"{count(round(selection.peak_memory_mib or 0))} MiB"),
        ("training time", f"{count(round(selection.training_seconds or 0))} s"),
    ]


def _versions(run: Run) -> dict[str, str]:
    manifest = run.manifest()
    return {"raypeft": manifest.raypeft or __version__} | {
        name: version for name, version in manifest.versions.items() if name in ("torch", "transformers", "peft")
    }
