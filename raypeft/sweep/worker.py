"""What a Ray worker runs: one trial after the other on a warm base model."""

import functools
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

from raypeft.execution.disk import is_full
from raypeft.execution.environment import enter_working_directory, omit_gpus
from raypeft.runs.folder import Run
from raypeft.runs.records import Message, State
from raypeft.spec.plan import Cell, Plan
from raypeft.sweep.faults import is_hub_silent, is_poisoned

if TYPE_CHECKING:
    from raypeft.modeling.loading import Base
    from raypeft.training.batches import Batches
    from raypeft.training.data import TrialData
    from raypeft.training.reporter import Emit

HUB_WAITS = (5.0, 20.0, 60.0)
LOGGED = (
    "report",
    "epoch",
    "validation_loss",
    "em10",
    "peak_memory_mib",
    "micro_batch",
    "decode_batch",
    "end",
    "error",
)


def train_trial(config: dict[str, Any]) -> None:
    """The Ray Tune function trainable; torch is loaded here, in the worker, not in the driver.

    The base model and the encoded data stay in the worker between trials (`reuse_actors`). A fault of the trial ends
    it with a last report, a full disk pauses it. Only the death of the worker and a fault that leaves its GPU unusable
    reach Ray as failures; Ray then goes on with the trial in another process.
    """
    from raypeft.training.log import trial_log

    enter_working_directory()
    run = Run(Path(config["run"]))
    try:
        with trial_log(run.trial_log(config["trial"])) as log:

            def emit(message: Message) -> None:
                said = {name: value for name in LOGGED if (value := getattr(message, name)) is not None}
                log.info(", ".join(f"{name} {value}" for name, value in said.items()))
                tune.report(message.sent())

            log.info("%s begins with %s", config["trial"], config["hyperparameters"])
            _attempts(run, config, emit)
    except Exception as error:
        if is_poisoned(error):
            raise
        tune.report(_last_message(error).sent())


def _attempts(run: Run, config: dict[str, Any], emit: "Emit") -> None:
    """Train; where the hub does not answer, wait and try again."""
    for seconds in (*HUB_WAITS, None):
        try:
            _train(run, config, emit)
            return
        except Exception as error:
            if seconds is None or not is_hub_silent(error):
                raise
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not run.stop_file.exists():
            time.sleep(0.5)


def _train(run: Run, config: dict[str, Any], emit: "Emit") -> None:
    if run.stop_file.exists():
        emit(Message(report=-1, validation_loss=None, end=State.PAUSED))
        return
    plan = _plan(run.folder)
    omit_gpus()

    import torch

    from raypeft.modeling.loading import study_base
    from raypeft.modeling.memory import limit_gpu_memory
    from raypeft.training.trial import train

    torch.set_num_threads(max(1, int(tune.get_context().get_trial_resources().head_cpus)))
    cell = Cell.parse(config["cell"])
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
        _batches_of(run.folder, cell, config.get("memory_kills", 0)),
        run.stop_file.exists,
    )


def _last_message(error: Exception) -> Message:
    """What is said of a trial that a fault has ended or paused."""
    fault = (str(error).strip() or type(error).__name__).splitlines()[0]
    last = Message(report=-1, validation_loss=None, fault=fault)
    if is_full(error):
        return last.model_copy(update={"end": State.PAUSED})
    end = {"end": State.ERROR, "error": traceback.format_exc()}
    return last.model_copy(update=end | {"transient": True} if is_hub_silent(error) else end)


def check_techniques(folder: str) -> list[str]:
    """Every problem of the study's techniques that only peft can tell, found in a worker before anything is trained."""
    enter_working_directory()
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


def _batches_of(folder: Path, cell: Cell, memory_kills: int) -> "Batches":
    """How many items trials of the cell handle at once: what memory allowed them before, here or where they died."""
    from raypeft.training.batches import Batches

    allowed = Batches.of(_plan(folder).resolved.study, memory_kills)
    batches = _batches.setdefault((folder, cell), allowed)
    batches.take_no_more_than(allowed)
    return batches
