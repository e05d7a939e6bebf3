"""Results in the schema of peft's `method_comparison`: one JSON a tested cell (huggingface/peft, MetaMathQA/utils.py).

What a study records otherwise, or not at all, is said under `raypeft` in each file: `test accuracy` is EM@1 as a share,
`valid accuracy` EM@10; only peaks of memory are recorded, which then stand for its average and 99th percentile too; and
`train total tokens` is -1, because tokens of training are not counted.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raypeft.output.files import read_json, write_json
from raypeft.report.numbers.cells import CellRow
from raypeft.report.numbers.gather import Numbers
from raypeft.report.numbers.trials import Trial
from raypeft.runs.records import Manifest

_MIB = 2**20
_NOTES = {
    "test accuracy": "EM@1 of the test items, as a share",
    "valid accuracy": "EM@10 of the validation items, as a share",
    "accelerator_memory_reserved_avg": "the peak: averages are not recorded",
    "accelerator_memory_reserved_99th": "the peak: percentiles are not recorded",
    "train total tokens": "-1: not counted",
    "train loss": "null: the validation loss is recorded instead, as valid loss",
}


def write_method_comparison(numbers: Numbers, folder: Path) -> list[Path]:
    """Write one file a tested cell and test set, named as peft names its results, and return their paths."""
    paths = []
    for row in numbers.cells:
        if row.state == "tested" and row.selection.trial:
            path = folder / f"{experiment(row).replace('/', '--')}.json"
            write_json(path, convert(numbers, row))
            paths.append(path)
    return paths


def experiment(row: CellRow) -> str:
    """Name of a cell's experiment: `<technique>/<model>-<dataset>`, with the test set where that is another one."""
    other = "" if row.test_set == row.cell.dataset else f"-on-{row.test_set}"
    return f"{row.cell.technique}/{row.cell.model}-{row.cell.dataset}{other}"


def convert(numbers: Numbers, row: CellRow) -> dict[str, Any]:
    """A tested cell as one result of `method_comparison`."""
    manifest, best = numbers.run.manifest(), numbers.run.cell_folder(row.cell) / "best"
    trial = next((one for one in numbers.trials_of(row.cell) if one.selected is not None), None)
    seconds = row.selection.training_seconds or 0.0
    evaluation = (trial.evaluation_seconds if trial else None) or 0.0
    peak = int(_MIB * (row.selection.training_reserved_mib or row.selection.peak_memory_mib or 0))
    return {
        "run_info": {
            "created_at": manifest.started,
            "total_time": seconds + evaluation + (row.test_seconds or 0.0),
            "experiment_name": experiment(row),
            "peft_branch": "main",
            "train_config": _train_config(numbers, row),
            "peft_config": read_json(best / "adapter_config.json"),
            "error_msg": "",
        },
        "train_info": {
            "accelerator_memory_reserved_avg": peak,
            "accelerator_memory_max": peak,
            "accelerator_memory_reserved_99th": peak,
            "train_time": seconds,
            "file_size": sum(file.stat().st_size for file in best.glob("*.safetensors")),
            "num_trainable_params": row.selection.trainable_parameters,
            "num_total_params": row.selection.parameters,
            "status": "success",
            "metrics": _metrics(numbers, row, trial),
        },
        "meta_info": _meta_info(numbers, row, manifest),
        "raypeft": {"version": manifest.raypeft, "metrics": dict(row.metrics), "notes": _NOTES},
    }


def _train_config(numbers: Numbers, row: CellRow) -> dict[str, Any]:
    resolved = numbers.run.plan.resolved
    study, model, dataset = resolved.study, resolved.models[row.cell.model], resolved.datasets[row.test_set]
    rate = row.selection.point.get("learning_rate")
    return {
        "model_id": model.hub or row.cell.model,
        "dtype": study.training.precision,
        "max_seq_length": dataset.max_prompt_tokens + dataset.max_code_tokens,
        "batch_size": study.training.batch,
        "batch_size_eval": study.test.decode_batch,
        "max_steps": _steps(numbers, row, study.training.epochs),
        "eval_steps": _steps(numbers, row, study.training.evaluate_every),
        "seed": study.training.seed,
        "optimizer_type": study.training.optimizer,
        "optimizer_kwargs": {"lr": rate},
        "lr_scheduler": "linear",
        "hyperparameters": row.selection.point,
        "generation_kwargs": {
            "num_beams": study.test.beams,
            "num_return_sequences": study.test.candidates,
            "max_new_tokens": dataset.max_code_tokens,
        },
    }


def _steps(numbers: Numbers, row: CellRow, epochs: float) -> int:
    return round(_samples(numbers, row, epochs) / numbers.run.plan.resolved.study.training.batch)


def _samples(numbers: Numbers, row: CellRow, epochs: float) -> int:
    train = numbers.run.manifest().datasets.get(row.cell.dataset, {}).get("train")
    return round(epochs * (train.items if train else 0))


def _metrics(numbers: Numbers, row: CellRow, trial: Trial | None) -> list[dict[str, Any]]:
    curve = [
        {"step": _steps(numbers, row, point.epoch), "valid loss": point.loss, "train loss": None}
        for point in (trial.curve if trial else ())
    ]
    last = trial.curve[-1].epoch if trial and trial.curve else 0.0
    em1, em10 = row.metrics.get("em@1"), trial.best_em if trial else None
    return [
        *curve,
        {
            "step": _steps(numbers, row, last),
            "test accuracy": None if em1 is None else em1 / 100,
            "valid accuracy": None if em10 is None else em10 / 100,
            "train loss": None,
            "train samples": _samples(numbers, row, last),
            "train total tokens": -1,
        },
    ]


def _meta_info(numbers: Numbers, row: CellRow, manifest: Manifest) -> dict[str, Any]:
    versions = manifest.versions
    packages = ("transformers", "peft", "datasets", "bitsandbytes", "torch")
    package_info: dict[str, str | None] = {}
    for package in packages:
        package_info |= {f"{package}-version": versions.get(package), f"{package}-commit-hash": None}
    gpus, model = manifest.gpus, manifest.models.get(row.cell.model)
    return {
        "model_info": {"sha": model.revision if model else None, "created_at": None},
        "dataset_info": {row.cell.dataset: {"sha": None, "created_at": None}},
        "package_info": package_info,
        "system_info": {
            "system": manifest.platform,
            "processor": manifest.cpu,
            "accelerator": str(gpus[0].get("name") if gpus and isinstance(gpus[0], Mapping) else (gpus or ["cpu"])[0]),
        },
        "pytorch_info": f"torch {versions.get('torch')}",
    }
