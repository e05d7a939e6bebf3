"""Runs jobs on Ray actors, each of which stays with its base model while there is work for it."""

import traceback
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ray

from raypeft.evaluation.jobs import Job
from raypeft.execution.environment import enter_working_directory, omit_gpus
from raypeft.execution.memory_kills import is_memory_kill
from raypeft.execution.progress import Progress
from raypeft.metrics.exact_match import KS
from raypeft.runs.folder import Run
from raypeft.runs.records import State
from raypeft.spec.plan import Plan
from raypeft.spec.technique import Quantization
from raypeft.sweep.faults import in_a_line, is_poisoned
from raypeft.sweep.sweep import trial_resources
from raypeft.training.batches import Batches

DEATHS = 3


class Evaluator:
    """The actor: runs one job at a time, its base model warm in between."""

    def __init__(self, folder: str, threads: int) -> None:
        enter_working_directory()
        omit_gpus()
        import torch

        self.run = Run(Path(folder))
        torch.set_num_threads(threads)

    def evaluate(self, job: Job, decode_batch: int | None = None) -> str:
        """Run a job and summarise it in a few words; a fault of the job is written beside its result.

        After a fault of its GPU the actor ends, since CUDA fails from then on in its process.
        """
        from raypeft.evaluation.decoding_job import run_job
        from raypeft.modeling.memory import is_out_of_memory

        error_file = job.error_file(self.run)
        error_file.unlink(missing_ok=True)
        try:
            metrics = run_job(self.run, job, decode_batch).metrics
        except Exception as error:
            oom = is_out_of_memory(error)
            self.run.fail(job.result_file(self.run), State.OOM if oom else State.ERROR, traceback.format_exc())
            if is_poisoned(error):
                ray.actor.exit_actor()
            return "failed: out of memory" if oom else f"failed: {type(error).__name__}: {error}"
        return ", ".join(f"EM@{k} {metrics[f'em@{k}']:.1f}" for k in (1, max(KS)) if f"em@{k}" in metrics)


def evaluate(run: Run, jobs: Iterable[Job], progress: Progress) -> list[Job]:
    """Run the jobs that have no result file yet, as many at a time as there are GPUs or groups of cores.

    Returns:
        The jobs that failed; each has an error file, and is tried again next time.
    """
    jobs = list(jobs)
    waiting = [job for job in jobs if not job.result_file(run).exists()]
    progress.jobs_begin(len(jobs), len(jobs) - len(waiting))
    resources = trial_resources(run.plan.resolved.study.resources, ray.cluster_resources())
    actor_type = ray.remote(num_cpus=resources["cpu"], num_gpus=resources.get("gpu", 0), max_restarts=0)(Evaluator)
    actors: list[Any] = []
    busy: dict[Any, tuple[Any, Job]] = {}
    loaded: dict[Any, tuple[str, Quantization | None]] = {}
    deaths: Counter[Job] = Counter()
    memory_kills: Counter[Job] = Counter()
    for _ in range(min(slots(run.plan), len(waiting))):
        actors.append(actor_type.remote(str(run.folder), int(resources["cpu"])))
    idle = list(actors)
    while waiting or busy:
        while waiting and idle:
            actor = idle.pop()
            job = next_job(run.plan, waiting, loaded.get(actor), set(loaded.values()))
            waiting.remove(job)
            loaded[actor] = run.plan.base(job.target)
            batches = Batches.of(run.plan.resolved.study, memory_kills[job])
            busy[actor.evaluate.options(name=job.id).remote(job, batches.decode)] = (actor, job)
        done, _ = ray.wait(list(busy), num_returns=1)
        actor, job = busy.pop(done[0])
        try:
            progress.job_ended(job.id, ray.get(done[0]))
            idle.append(actor)
        except ray.exceptions.RayActorError as error:
            loaded.pop(actor, None)
            actors.remove(actor)
            actors.append(actor_type.remote(str(run.folder), int(resources["cpu"])))
            idle.append(actors[-1])
            killed = is_memory_kill(error)
            if killed and Batches.of(run.plan.resolved.study, memory_kills[job]).decode > 1:
                memory_kills[job] += 1
            else:
                deaths[job] += 1
            if deaths[job] < DEATHS:
                waiting.insert(0, job)
                run.note(f"the worker of {job.id} died ({in_a_line(error)}): it begins again")
                continue
            if not job.error_file(run).exists():
                fault, end = f"its worker died {DEATHS} times: {error}", State.OOM if killed else State.ERROR
                run.fail(job.result_file(run), end, fault)
            progress.job_ended(job.id, f"failed: its worker died {DEATHS} times ({in_a_line(error)})")
    for actor in actors:
        ray.kill(actor)
    return [job for job in jobs if not job.result_file(run).exists()]


def slots(plan: Plan) -> int:
    """How many trials or jobs the cluster runs at a time."""
    cluster = ray.cluster_resources()
    resources = trial_resources(plan.resolved.study.resources, cluster)
    fit = int(cluster["CPU"] // resources["cpu"])
    if "gpu" in resources:
        fit = min(fit, int(cluster["GPU"] // resources["gpu"]))
    return max(1, min(fit, plan.resolved.study.resources.concurrent or fit))


def next_job(
    plan: Plan,
    waiting: list[Job],
    loaded: tuple[str, Quantization | None] | None,
    taken: set[tuple[str, Quantization | None]],
) -> Job:
    """A job of the base the actor has loaded, else of a base that no other actor has, else any."""
    for job in waiting:
        if plan.base(job.target) == loaded:
            return job
    return next((job for job in waiting if plan.base(job.target) not in taken), waiting[0])
