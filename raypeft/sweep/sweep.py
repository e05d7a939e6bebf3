"""The sweep: one Ray Tune run over all cells of a study."""

from collections.abc import Mapping
from typing import Any

import ray
from ray import tune
from ray.tune import FailureConfig, RunConfig, TuneConfig
from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback

from raypeft.errors import UserError
from raypeft.estimate.cost import Cost
from raypeft.estimate.machines import listed_gpus
from raypeft.execution import disk
from raypeft.execution.interruption import Interruption
from raypeft.execution.progress import Progress
from raypeft.runs.folder import Run
from raypeft.runs.ledger import Ledger, remaining
from raypeft.runs.manifest import add_gpus
from raypeft.spec.catalogue import EMBEDDED, shipped_catalogue
from raypeft.spec.loading import shipped
from raypeft.spec.resolve import ResolvedStudy
from raypeft.spec.sections import Resources
from raypeft.spec.technique import load_technique
from raypeft.sweep.faults import in_a_line
from raypeft.sweep.recorder import WORKER_DEATHS, Halt, Recorder
from raypeft.sweep.scheduler import CellScheduler
from raypeft.sweep.searcher import CellSearcher
from raypeft.sweep.worker import check_techniques, train_trial


def sweep(run: Run, progress: Progress, interruption: Interruption) -> None:
    """Run every trial of the study that has not ended yet.

    What the ledger holds is the state: an interrupted sweep starts a new Ray Tune run over the trials that are left,
    each of which goes on from its own checkpoint.

    Raises:
        UserError: a technique names something that peft does not have, and nothing has been trained; or the disk is
            full, and the same call goes on.
        KeyboardInterrupt: the sweep was interrupted with trials left; the same call goes on.
    """
    plan = run.plan
    ledger = Ledger(run)
    if remaining(plan, ledger):
        _check_study(run, progress)  # before the search leaves anything, so that a refused study can be mended
    scheduler = CellScheduler(plan)
    scheduler.replay(ledger.history)
    searcher = CellSearcher(plan, ledger, run.folder)
    if searcher.rebuilt and ledger.history:
        run.note("optuna.log was damaged or incomplete, and is rebuilt from the reports")
        progress.say("optuna.log was damaged or incomplete, and is rebuilt from the reports")
    recorder = Recorder(plan, ledger, scheduler, searcher, progress, interruption)
    recorder.settle()
    progress.sweep_begins(ledger.ended.values())
    left = remaining(plan, ledger)
    searcher.enqueue(left)
    if not left:
        return
    if warning := disk.shortage(run.folder, Cost(plan).run_bytes()):
        progress.say(warning)
    resources = plan.resolved.study.resources
    tuner = tune.Tuner(
        tune.with_resources(train_trial, trial_resources(resources, ray.cluster_resources())),
        tune_config=TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=len(left),
            max_concurrent_trials=resources.concurrent,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=RunConfig(
            name="tune",
            storage_path=str(run.folder),
            callbacks=[recorder, CSVLoggerCallback(), JsonLoggerCallback()],
            stop=Halt(recorder),
            failure_config=FailureConfig(max_failures=WORKER_DEATHS),
            verbose=0,
        ),
    )
    run.stop_file.unlink(missing_ok=True)
    try:
        with interruption.gracefully():
            tuner.fit()
    except Exception as error:
        if disk.is_full(error):
            raise disk.full(run.folder, "a file could not be written") from error
        if interruption.asked is None:
            raise
    finally:
        run.stop_file.unlink(missing_ok=True)
    interruption.raise_pause()
    if remaining(plan, ledger):
        raise KeyboardInterrupt


def _check_study(run: Run, progress: Progress) -> None:
    """Have a worker look for what would make trials fail.

    Raises:
        UserError: with every problem.
    """
    if needs_no_preflight(run.plan.resolved):
        return
    progress.say("Checking techniques and models")
    if problems := _answer(ray.remote(check_techniques).remote(str(run.folder))):
        lines = [problem.replace("\n", "\n    ") for problem in problems]
        raise UserError("\n" + "\n".join(f"  {line}" for line in lines), where=str(run.study_file))


def _answer(asked: Any) -> Any:
    """What a worker answers.

    Raises:
        UserError: there is not enough memory for a worker.
    """
    try:
        return ray.get(asked)
    except ray.exceptions.OutOfMemoryError as error:
        hint = "Let other programs end first; RAY_memory_usage_threshold says from what share in use on Ray does so"
        raise UserError(f"no worker could be started: {in_a_line(error)}", hint=hint) from error


def needs_no_preflight(resolved: ResolvedStudy) -> bool:
    """Whether a study has only models and unquantised techniques of the package's own, which the tests know to agree.

    Then there is nothing for a worker to check, which takes it some seconds.
    """
    folder, models = shipped("search_spaces"), shipped_catalogue().models
    techniques = resolved.techniques.items()
    files = {name: folder / f"{name}.yaml" for name, _ in techniques}
    return all(
        technique.quantization is None and files[name].exists() and technique == load_technique(str(files[name]))
        for name, technique in techniques
    ) and all(
        name in models
        and entry == models[name]
        and str(entry.folder).startswith(EMBEDDED)
        and resolved.study.protocol.style_of(entry.prompt_style) != "chat"
        for name, entry in resolved.models.items()
    )


def check_gpu(run: Run) -> None:
    """Have torch compute on a GPU where Ray has any for trials and jobs.

    GPUs of a cluster that the driver's machine does not have itself come into the manifest.

    Raises:
        UserError: it cannot, and nothing has been started.
    """
    gpus = trial_resources(run.plan.resolved.study.resources, ray.cluster_resources()).get("gpu")
    if not gpus:
        return
    fault, listed = _answer(ray.remote(num_cpus=0, num_gpus=gpus)(_look_at_gpu).remote())
    if fault:
        raise UserError(
            f"Ray has a GPU for trials, but {fault}",
            where="resources.gpus_per_trial",
            hint="Install a torch that suits the driver, or a newer driver (raypeft doctor looks at both); "
            "or let trials run on the CPU: --set resources.gpus_per_trial=0",
        )
    add_gpus(run, listed)


def _look_at_gpu() -> tuple[str | None, list[str]]:
    from raypeft.modeling.memory import gpu_fault

    return gpu_fault(), listed_gpus()


def trial_resources(resources: Resources, cluster: Mapping[str, float]) -> dict[str, float]:
    """What one trial reserves: its GPU where the cluster has any, and no more cores than there are."""
    cpus = min(resources.cpus_per_trial, int(cluster.get("CPU", 1)))
    gpus = min(resources.gpus_per_trial, cluster.get("GPU", 0))
    return {"cpu": cpus, "gpu": gpus} if gpus else {"cpu": cpus}


def _trial_name(trial: Any) -> str:
    return str(trial.config["trial"])
