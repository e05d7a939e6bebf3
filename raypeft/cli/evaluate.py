"""raypeft evaluate: weights made elsewhere, by a study's protocol."""

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from raypeft.cli.arguments import JsonOption, SettingsOption, usable
from raypeft.errors import UserError
from raypeft.execution.guards import check_versions
from raypeft.metrics import KS, flatten
from raypeft.output.console import counting, echo, echo_json, echo_lines
from raypeft.output.files import refuse_unwritable, write_json, write_lines
from raypeft.runs.records import Prediction
from raypeft.spec.loading import find
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import ResolvedStudy, missing_folders, resolve
from raypeft.spec.values import quoted, shortened

# The study that lends its protocol where none is named, without what it reduces to run fast.
DEFAULT_STUDY = "quickstart"
DEFAULTS = ("data={}", "training={}", "test={}", "protocol={}", "validation={}", "early_stopping=null")


def evaluate(
    model: Annotated[str, typer.Option(help="name in the catalogue, hub id or folder")],
    dataset: Annotated[str, typer.Option(help="name in the catalogue")],
    adapter: Annotated[
        str | None, typer.Option(help="folder or hub id of a peft adapter (default: none, the model as it is)")
    ] = None,
    split: Annotated[str, typer.Option(help="train, validation or test")] = "test",
    out: Annotated[Path | None, typer.Option(help="write predictions here, and the metrics beside them")] = None,
    beams: Annotated[int | None, typer.Option(min=2, help="beam width (default 10)")] = None,
    candidates: Annotated[int | None, typer.Option(min=1, help="candidates kept (default 10)")] = None,
    quantization: Annotated[str | None, typer.Option(help="of the model's weights: 8bit or 4bit")] = None,
    study: Annotated[
        str | None, typer.Option(help="take catalogue, prompt, search and subsets from this study")
    ] = None,
    settings: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Test a model, or an adapter made elsewhere, as a study tests its own, in every metric.

    The prompt is that of tuned models. In half precision, close candidates may change ranks with the batch size;
    --set training.precision=fp32 is exact.
    """
    if split not in ("train", "validation", "test"):
        raise UserError(f"{quoted(split)} is not a split", where="--split", hint="Splits: train, validation, test")
    if quantization not in (None, "8bit", "4bit"):
        raise UserError(f"{quoted(quantization)} is unknown", where="--quantization", hint="It is 8bit or 4bit.")
    if adapter and _looks_local(adapter) and not os.path.isfile(Path(adapter) / "adapter_config.json"):
        raise UserError("holds no adapter: there is no adapter_config.json", where=f"--adapter {shortened(adapter)}")
    if out:
        for file in (usable(out, "--out"), _metrics_file(out)):
            if file.exists():
                raise UserError("exists already", where=f"--out {file}")
        refuse_unwritable(_metrics_file(out), f"--out {out}")
    plan = Plan(_resolved(model, dataset, study, beams, candidates, settings or []))
    if missing := missing_folders(plan.resolved, str(find(study or DEFAULT_STUDY, "studies"))):
        raise missing
    (name,) = plan.resolved.study.datasets
    check_versions()
    echo("Loading the model", err=True)
    from raypeft.data.sources import load_split
    from raypeft.evaluation.given import evaluate_given, load_given

    items = load_split(plan.resolved.datasets, name, split, plan.resolved.study.data)  # type: ignore[arg-type]
    base = load_given(plan, quantization)  # type: ignore[arg-type]
    with counting(f"Decoding {split} items", len(items)) as progress:
        result, rows = evaluate_given(plan, base, adapter, name, items, progress)
    result["split"] = split
    lost = _write(out, rows, result) if out else None
    if as_json:
        echo_json(result)
    else:
        echo_lines(_lines(result))
    if lost:
        raise lost


def _metrics_file(out: Path) -> Path:
    return out.with_name(f"{out.stem}.metrics.json")


def _write(out: Path, rows: list[Prediction], result: dict[str, Any]) -> UserError | None:
    """Write what was found where it was asked for; else keep it in a temporary folder, and say where."""
    try:
        write_lines(out, (row.content() for row in rows))
        write_json(_metrics_file(out), result)
    except OSError as error:
        kept = Path(tempfile.mkdtemp(prefix="raypeft-evaluate-")) / "predictions.jsonl"
        write_lines(kept, (row.content() for row in rows))
        write_json(_metrics_file(kept), result)
        return UserError(
            f"cannot be written any more: {error.strerror or error}; all is in {kept.parent}", where=f"--out {out}"
        )
    return None


def _looks_local(adapter: str) -> bool:
    return os.path.exists(adapter) or adapter.startswith((".", "/", "~")) or "/" not in adapter


def _resolved(
    model: str, dataset: str, study: str | None, beams: int | None, candidates: int | None, settings: list[str]
) -> ResolvedStudy:
    wanted = [f"models={json.dumps([model])}", f"datasets={json.dumps([dataset])}", "icl=null"]
    # The study's techniques play no part: the weights are given.
    wanted += ["techniques=[full]", "protocol.point=paper"]
    if beams is not None:
        wanted.append(f"test.beams={beams}")
    if candidates is not None or beams is not None:
        wanted.append(f"test.candidates={min(candidates or 10, beams or candidates or 10)}")
    defaults = () if study else DEFAULTS
    return resolve(study or DEFAULT_STUDY, settings=[*defaults, *wanted, *settings])


def _lines(result: dict[str, Any]) -> list[str]:
    metrics = result["metrics"]
    from raypeft.metrics.entries import METRICS

    found = flatten(metrics)
    exact = [f"EM@{k} {metrics[f'em@{k}']:.2f}" for k in KS if f"em@{k}" in metrics]
    others = [f"{one.heading} {value:.2f}" for key, one in METRICS.items() if (value := found.get(key)) is not None]
    return [
        f"Model      {result['model']} ({result['precision']})",
        f"Adapter    {result['adapter'] or 'none'}",
        f"Items      {metrics['items']} of {result['dataset']}'s {result['split']} split",
        f"Exact      {', '.join(exact)} (percent)",
        f"Similarity {', '.join(others)} (percent)",
        f"Search     {result['beams']} beams, {result['candidates']} candidates, {result['seconds']:.0f} s",
    ]
