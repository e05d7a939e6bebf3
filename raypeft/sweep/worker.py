"""What a Ray worker runs: one trial after the other on a warm base model."""

import functools
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

from raypeft.run import Run
from raypeft.spec.plan import Cell, Plan

if TYPE_CHECKING:
    from raypeft.modeling.loading import Base
    from raypeft.training.batches import Batches
    from raypeft.training.data import TrialData
    from raypeft.training.reporter import Emit

LOGGED = (
    "report",
    "epoch",
    "validation_loss",
    "em@10",
    "peak_memory_mib",
    "micro_batch",
    "decode_batch",
    "end",
    "error",
)


def train_trial(config: dict[str, Any]) -> None:
    """The Ray Tune function trainable; torch is loaded here, in the worker, not in the driver.

    The base model and the encoded data stay in the worker between trials (`reuse_actors`). A fault of the trial ends
    it with a last report; only the death of the worker reaches Ray as a failure, and Ray then starts the trial again.
    """
    from raypeft.training.log import trial_log

    with trial_log(Run(Path(config["run"])).trial_log(config["trial"])) as log:

        def emit(report: dict[str, Any]) -> None:
            log.info(", ".join(f"{key} {report[key]}" for key in LOGGED if report.get(key) is not None))
            tune.report(report)

        log.info("%s begins with %s", config["trial"], config["hyperparameters"])
        _train(config, emit)


def _train(config: dict[str, Any], emit: "Emit") -> None:
    import torch

    from raypeft.modeling.gpu import limit_gpu_memory
    from raypeft.modeling.loading import study_base
    from raypeft.training.trial import train

    torch.set_num_threads(max(1, int(tune.get_context().get_trial_resources().head_cpus)))
    run = Run(Path(config["run"]))
    cell = Cell.parse(config["cell"])
    try:
        plan = _plan(run.folder)
        limit_gpu_memory(plan.resolved.study.resources.gpu_memory_gb)
        _forget_others(run.folder, cell.model)
        base = study_base(plan.resolved, cell)
        train(
            plan,
            base,
            _data(run.folder, cell.model, cell.dataset, base),
            plan.resolved.techniques[cell.technique],
            config["hyperparameters"],
            run.trial_folder(config["trial"]),
            emit,
            _batches_of(run.folder, cell),
        )
    except Exception as error:
        fault = str(error).strip() or type(error).__name__
        end = {"end": "error", "fault": fault.splitlines()[0], "error": traceback.format_exc()}
        emit({"report": -1, "validation_loss": None, **end})


def check_techniques(folder: str) -> list[str]:
    """Every problem of the study's techniques that only peft can tell, found in a worker before anything is trained."""
    from raypeft.modeling.preflight import study_problems

    return study_problems(_plan(Path(folder)).resolved)


@functools.lru_cache(maxsize=1)
def _plan(folder: Path) -> Plan:
    return Run(folder).plan


_encoded: "dict[tuple[Path, str], dict[str, TrialData]]" = {}


def _forget_others(folder: Path, model: str) -> None:
    """Let go of the encoded data of another model before its successor is loaded."""
    if (folder, model) not in _encoded:
        _encoded.clear()


def _data(folder: Path, model: str, dataset: str, base: "Base") -> "TrialData":
    """Encoded data sets of the model in hand."""
    from raypeft.training.data import trial_data

    encoded = _encoded.setdefault((folder, model), {})
    if dataset not in encoded:
        encoded[dataset] = trial_data(_plan(folder), base, dataset)
    return encoded[dataset]


_batches: "dict[tuple[Path, Cell], Batches]" = {}


def _batches_of(folder: Path, cell: Cell) -> "Batches":
    """How many items trials of the cell handle at once: what memory allowed the trials before in this worker."""
    from raypeft.training.batches import Batches

    return _batches.setdefault((folder, cell), Batches.of(_plan(folder).resolved.study))
