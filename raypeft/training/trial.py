"""Training of one trial, from its hyperparameters to its last report."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from peft import AdaLoraModel, PeftType
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from raypeft.data.encoding import IGNORED
from raypeft.decoding.reading import virtual_kind
from raypeft.modeling.adapter_files import convert
from raypeft.modeling.adapters import adapted
from raypeft.modeling.fingerprint import save_training_state
from raypeft.modeling.loading import Base
from raypeft.modeling.memory import give_back, is_out_of_memory
from raypeft.runs.checkpoints import Checkpoint, last_intact
from raypeft.runs.records import Message, State
from raypeft.spec.plan import Plan
from raypeft.spec.sections import Training
from raypeft.spec.technique import Technique, Value
from raypeft.training.batches import Batches
from raypeft.training.data import TrialData
from raypeft.training.order import LengthGroupedOrder
from raypeft.training.reporter import Emit, NothingLeft, Paused, Reporter, TrialOver


def train(
    plan: Plan,
    base: Base,
    data: TrialData,
    technique: Technique,
    hyperparameters: Mapping[str, Value],
    folder: Path,
    emit: Emit,
    batches: Batches | None = None,
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train one hyperparameter point and report at every evaluation (paper, section 4.4).

    Goes on from the newest intact checkpoint in `folder`, whose report it gives once more, with a `notice` where newer
    ones were damaged. Every report comes after its checkpoint is sealed. The last one carries `end`: `finished`, `nan`,
    `oom`, or `paused` where the trial was asked to stop; nothing is reported after it.

    Where memory runs out in training, the trial goes on in the same way with a smaller micro-batch and more
    accumulation, and at one item with gradient checkpointing, which changes no more than rounding and, with dropout,
    the random masks. It ends as `oom` when one item is still too much, with the reason under `fault`.

    Args:
        plan: the study's plan.
        base: base model, left as it was.
        data: encoded items.
        technique: how the base is adapted.
        hyperparameters: the point, `learning_rate` among them.
        folder: where the trial's checkpoints lie.
        emit: takes each report; may raise SystemExit to stop the trial.
        batches: how many items to handle at once, by default as the study says; left at what memory allowed.
        asked_to_stop: asked after each step; the trial then writes a checkpoint, from which it goes on as if
            undisturbed, and ends.
    """
    batches = batches or Batches.of(plan.resolved.study)
    while _ran_out(plan, base, data, technique, hyperparameters, folder, emit, batches, asked_to_stop):
        give_back()


def _ran_out(
    plan: Plan,
    base: Base,
    data: TrialData,
    technique: Technique,
    hyperparameters: Mapping[str, Value],
    folder: Path,
    emit: Emit,
    batches: Batches,
    asked_to_stop: Callable[[], bool],
) -> bool:
    """Train to the trial's end; true where memory ran out before and `batches` has come down to less."""
    training = plan.resolved.study.training
    newest, faults = last_intact(folder)
    if faults:
        emit = _with_notice(emit, f"{'; '.join(faults)}: goes on from {_place(newest)}")
    if newest and newest.report and newest.report.end:
        emit(newest.report)
        return False
    resume = newest if newest and newest.order > (0, -1) else None
    saved = resume.path if resume else None
    total = training.steps(len(data.train))
    reporter = Reporter(plan, base, data, folder, emit, batches, resume, asked_to_stop)
    try:
        with adapted(base, technique, hyperparameters, seed=training.seed, steps=total, saved=saved) as model:
            trainer = TrialTrainer(
                model=model,
                args=arguments(training, batches, float(hyperparameters["learning_rate"]), folder, base, model, total),
                train_dataset=[data.collator.features(item) for item in data.train],
                data_collator=data.collator,
                callbacks=[RankBudget(), reporter],
            )
            trainer.order = LengthGroupedOrder(
                [len(item.prompt) + len(item.target) for item in data.train], training.batch, training.seed
            )
            trainer.remove_callback(PrinterCallback)
            reporter.save_model = trainer.save_model
            try:
                trainer.train(resume_from_checkpoint=str(saved) if saved else None)
            except Exception as error:
                # Caught here, so that the base is given back as it was and stays in use.
                if not (is_out_of_memory(error) and batches.train_with_less(may_checkpoint=_may_checkpoint(model))):
                    raise
                return True
    except NothingLeft:
        return False
    except Paused:
        emit(reporter.ended(State.PAUSED))
    except TrialOver as over:
        emit(reporter.ended(over.end, over.fault))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        fault = f"training on one item {_with_rung(batches)}takes more memory than there is"
        emit(reporter.ended(State.OOM, fault))
    return False


def _with_rung(batches: Batches) -> str:
    return "with gradient checkpointing " if batches.checkpointing else ""


def _may_checkpoint(model: Any) -> bool:
    """Prefix tuning goes without gradient checkpointing, which drops the cache that the prefix is handed over in."""
    return virtual_kind(model) is not PeftType.PREFIX_TUNING


def _with_notice(emit: Emit, notice: str) -> Emit:
    """Sends a notice along with the first report."""
    waiting = [notice]

    def send(message: Message) -> None:
        emit(message.model_copy(update={"notice": waiting.pop()}) if waiting else message)

    return send


def _place(checkpoint: Checkpoint | None) -> str:
    return checkpoint.path.name if checkpoint and checkpoint.order > (0, -1) else "its start"


class TrialTrainer(Trainer):
    """`transformers.Trainer` with an order of items that a resumed trial repeats, and a loss that micro-batches share.

    The weights of a resumed trial are in place before training starts, since Trainer's own loading does not know
    prompt learning.
    """

    order: LengthGroupedOrder
    loss_is_scaled_for_ga = True

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        """The micro-batches of one step, and the number of target tokens in them."""
        samples, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        return samples, sum(_target_tokens(sample) for sample in samples)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The mean loss of a micro-batch times its share of the step's target tokens.

        Added up they are the mean over all target tokens, and whatever peft adds to the loss (AdaLoRA's regularisation)
        counts once, into however many micro-batches the batch is divided.
        """
        return model(**inputs).loss * (_target_tokens(inputs) / num_items_in_batch)

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedOrder:
        return self.order

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        save_training_state(self.model, Path(output_dir or self.args.output_dir))
        convert(self.model, Path(output_dir or self.args.output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        return None


def _target_tokens(batch: Mapping[str, Any]) -> Any:
    return (batch["labels"] != IGNORED).sum()


class RankBudget(TrainerCallback):
    """Lets AdaLoRA give out its ranks anew after each step, while the gradients are there; others have none to give."""

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called by Trainer between the optimiser's step and the clearing of gradients."""
        tuner = getattr(kwargs["model"], "base_model", None)
        if isinstance(tuner, AdaLoraModel):
            tuner.update_and_allocate(state.global_step)


def arguments(
    training: Training, batches: Batches, learning_rate: float, folder: Path, base: Base, model: Any, total: int
) -> TrainingArguments:
    """Trainer's arguments for a trial of `total` steps: linear decay after warm-up, no logging or saving of its own."""
    on_gpu = base.device.type == "cuda"
    checkpointing: dict[str, Any] = {}
    if batches.checkpointing and _may_checkpoint(model):
        # frozen weights need the kind that does not ask for inputs with a gradient
        checkpointing = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=total,
        per_device_train_batch_size=batches.micro,
        gradient_accumulation_steps=batches.accumulation,
        learning_rate=learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=training.warmup,
        weight_decay=training.weight_decay,
        optim=training.optimizer,
        bf16=base.dtype == torch.bfloat16,
        fp16=base.dtype == torch.float16,
        seed=training.seed,
        use_cpu=not on_gpu,
        dataloader_pin_memory=on_gpu,
        remove_unused_columns=False,
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **checkpointing,
    )
