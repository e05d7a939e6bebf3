"""What a trial does at each evaluation: measure, seal the checkpoint, report."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from raypeft.modeling.adapters import parameter_counts
from raypeft.modeling.loading import Base
from raypeft.modeling.memory import Peaks, is_out_of_memory
from raypeft.runs.checkpoints import MARKER, Checkpoint, prune, seal
from raypeft.runs.records import Message, Since, State
from raypeft.spec.plan import Plan
from raypeft.training.batches import Batches
from raypeft.training.data import TrialData
from raypeft.training.validation import em_at_10, validation_loss

Emit = Callable[[Message], None]


class TrialOver(Exception):
    """Nothing more can be learnt: `nan`, the validation loss is not a finite number; `oom`, one item is too much."""

    def __init__(self, end: State, fault: str | None = None) -> None:
        super().__init__(end, fault)
        self.end = end
        self.fault = fault


class NothingLeft(Exception):
    """The last report is made: no step is left to train."""


class Paused(Exception):
    """The trial was asked to stop, and has written a checkpoint where there is anything to keep."""


class Reporter(TrainerCallback):
    """Evaluates before training and at every milestone, seals the checkpoint, reports.

    A checkpoint is sealed before it is evaluated and again with its report, so that a trial that dies in an evaluation
    does not train again. Asked to stop, it seals one at the next step.

    Of the peaks of memory the validation loss counts for training, EM@10 for decoding; batches are as they are now.
    """

    def __init__(
        self,
        plan: Plan,
        base: Base,
        data: TrialData,
        folder: Path,
        emit: Emit,
        batches: Batches,
        resumed: Checkpoint | None,
        asked_to_stop: Callable[[], bool],
    ) -> None:
        self.plan = plan
        self.study = plan.resolved.study
        self.base = base
        self.data = data
        self.folder = folder
        self.emit = emit
        self.batches = batches
        self.resumed = resumed
        self.asked_to_stop = asked_to_stop
        self.last = resumed.report if resumed else None
        self.peaks = Peaks(self.last)
        self.save_model: Callable[[str], None]
        self.milestones: dict[int, int] = {}
        measured = (resumed.since if resumed else None) or self.last
        self.training_seconds = (measured.training_seconds if measured else None) or 0.0
        self.evaluation_seconds = (measured.evaluation_seconds if measured else None) or 0.0
        self.clock = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Report 0, or the last report of a trial that goes on."""
        total, reports = state.max_steps, self.plan.reports
        self.milestones = {round(index * total / reports): index for index in range(1, reports + 1)}
        if self.resumed:
            if self.resumed.report:
                self.emit(self.resumed.report)
            if self.resumed.since and state.global_step in self.milestones:
                self._report(self.milestones[state.global_step], self.resumed, kwargs["model"], state)
                if self.last and self.last.end:
                    raise NothingLeft
        else:
            folder = self.folder / "checkpoint-0"
            self.save_model(str(folder))
            self._report(0, Checkpoint(folder, None, None, {}), kwargs["model"], state)
        self.clock = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask for a checkpoint at each milestone, and at any step once the trial is to stop."""
        if state.global_step in self.milestones or self.asked_to_stop():
            self.training_seconds += time.monotonic() - self.clock
            (self.folder / f"checkpoint-{state.global_step}" / MARKER).unlink(missing_ok=True)
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Seal the checkpoint just written; at a milestone, report on it."""
        since = Since(
            step=state.global_step,
            training_seconds=self.training_seconds,
            evaluation_seconds=self.evaluation_seconds,
        )
        checkpoint = seal(self.folder / f"checkpoint-{state.global_step}", self.last, since)
        if state.global_step in self.milestones:
            self._report(self.milestones[state.global_step], checkpoint, kwargs["model"], state)
        if self.asked_to_stop() and not (self.last and self.last.end):
            raise Paused
        self.clock = time.monotonic()

    def ended(self, end: State, fault: str | None = None) -> Message:
        """The last report again, with the reason why there is no further one."""
        last = self.last or Message(report=-1, validation_loss=None)
        return last.model_copy(update={**self._batches(), "end": end, **({"fault": fault} if fault else {})})

    def _batches(self) -> dict[str, Any]:
        return {
            "micro_batch": self.batches.micro,
            "decode_batch": self.batches.decode,
            "gradient_checkpointing": self.batches.checkpointing,
        }

    def _report(self, index: int, checkpoint: Checkpoint, model: Any, state: TrainerState) -> None:
        started = time.monotonic()
        loss = validation_loss(
            model,
            self.data.collator,
            self.data.validation,
            bf16=self.base.dtype == torch.bfloat16,
            batch_size=self.batches.micro,
        )
        self.peaks.attribute("training")
        if not math.isfinite(loss):
            raise TrialOver(State.NAN)
        best_loss = self.last.best_loss if self.last else None
        improved = best_loss is None or loss < best_loss
        last = index == self.plan.reports
        by_em = self.study.validation.select_by == "em@10"
        computed = by_em or improved or last or index in self.plan.rungs
        em10 = self._em(model) if computed or self.last is None else self.last.em10
        self.evaluation_seconds += time.monotonic() - started
        trainable, parameters = parameter_counts(model)
        seconds = self.training_seconds
        more: dict[str, Any] = {"shortened": self.data.shortened} if index == 0 else {}
        if last:
            more["end"] = State.FINISHED
        self.last = Message(
            report=index,
            epoch=round(float(state.epoch or 0.0), 4),
            step=state.global_step,
            validation_loss=loss,
            best_loss=loss if improved else best_loss,
            em10=em10,
            em10_computed=computed,
            training_seconds=seconds,
            evaluation_seconds=self.evaluation_seconds,
            items_per_second=state.global_step * self.study.training.batch / seconds if seconds else None,
            **self.peaks.as_report(),
            **self._batches(),
            trainable_parameters=trainable,
            parameters=parameters,
            **more,
        )
        seal(checkpoint.path, self.last, files=checkpoint.files)
        prune(self.folder, self.study.validation.select_by)
        self.emit(self.last)

    def _em(self, model: Any) -> float:
        data = self.data
        try:
            em, self.batches.decode = em_at_10(
                model, self.base.tokenizer, data.em_prompts, data.em_references, data.beams, self.batches.decode
            )
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            fault = f"decoding one item with {data.beams.beams} beams takes more memory than there is"
            raise TrialOver(State.OOM, fault) from None
        self.peaks.attribute("decoding")
        return em
