"""Running out of memory: smaller micro-batches and decoding batches, the same curve, and an end as `oom` at one item.

A hook on the output layer of the model says that memory ran out, as torch does, when a batch has too many rows.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from raypeft.modeling.loading import Base, load_base
from raypeft.modeling.memory import is_out_of_memory
from raypeft.runs.checkpoints import last, seal
from raypeft.runs.records import Message
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve
from raypeft.training.batches import Batches
from raypeft.training.data import TrialData, trial_data
from raypeft.training.trial import train
from tests.conftest import MODELS, SMALL
from tests.said import Said

Report = dict[str, Any]
# Adafactor divides by the size of the gradients, which are small in the encoder-decoder and so less exact.
ROUNDING = {"tiny-decoder": 2e-5, "tiny-encoder-decoder": 5e-4}
TECHNIQUES = ("full", "lora", "adalora", "prefix_tuning")


SETTINGS = (
    *SMALL,
    f"techniques=[{', '.join(TECHNIQUES)}]",
    "catalogue.datasets.snippets={title: S, folder: 'embedded:snippets', max_prompt_tokens: 32, max_code_tokens: 8}",
    "validation.em_items=8",
    "test.beams=2",
    "test.candidates=2",
)


def plan_with(*settings: str) -> Plan:
    return Plan(resolve("quickstart", settings=[*SETTINGS, *settings]))


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_with()


@pytest.fixture(scope="module")
def bases(plan: Plan) -> dict[str, Base]:
    """Without dropout, whose random masks depend on how a batch is divided."""
    loaded = {name: load_base(name, plan.resolved.models[name], "fp32") for name in MODELS}
    for base in loaded.values():
        for module in base.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if hasattr(module, "dropout") and isinstance(module.dropout, float):
                module.dropout = 0.0
    return loaded


@pytest.fixture(scope="module")
def data(plan: Plan, bases: dict[str, Base]) -> dict[str, TrialData]:
    return {name: trial_data(plan, base, "snippets") for name, base in bases.items()}


def run(
    plan: Plan, base: Base, data: TrialData, technique: str, folder: Path, batches: Batches | None = None
) -> list[Report]:
    reports = Said()
    spec = plan.resolved.techniques[technique]
    point = {**spec.paper, "learning_rate": 5e-4 if technique == "full" else 3e-3} | (
        {"lora_dropout": 0.0} if "lora_dropout" in spec.search else {}
    )
    train(plan, base, data, spec, point, folder, reports.hear, batches)
    return reports


@contextmanager
def memory_for(
    base: Base, rows: Callable[[bool], int], error: type[Exception] = torch.OutOfMemoryError
) -> Iterator[Any]:
    """Memory for so many rows, in training (true) and in evaluation; yields the rows of each forward pass."""
    seen: list[tuple[bool, int]] = []

    def hook(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if getattr(module, "out_features", None) != vocabulary:
            return
        seen.append((module.training, inputs[0].shape[0]))
        if inputs[0].shape[0] > rows(module.training):
            raise error("CUDA out of memory. Tried to allocate 2.00 GiB.")

    # of every module: one on the base itself would be a change of it, which is then loaded anew
    vocabulary = base.model.config.vocab_size
    handle = torch.nn.modules.module.register_module_forward_hook(hook)
    try:
        yield seen
    finally:
        handle.remove()


def losses(reports: list[Report]) -> list[float]:
    return [report["validation_loss"] for report in reports]


@pytest.mark.parametrize(
    ("model", "technique"),
    [("tiny-decoder", "full"), ("tiny-decoder", "adalora"), ("tiny-encoder-decoder", "lora")],
)
def test_the_curve_does_not_depend_on_the_micro_batch(
    plan: Plan, bases: dict[str, Base], data: dict[str, TrialData], model: str, technique: str, tmp_path: Path
) -> None:
    """Items of a batch have targets of different lengths, so that means of micro-batches would weigh them wrongly."""
    whole = run(plan, bases[model], data[model], technique, tmp_path / "whole")
    divided = run(plan_with("training.micro_batch=2"), bases[model], data[model], technique, tmp_path / "divided")
    assert [report["step"] for report in divided] == [report["step"] for report in whole]
    assert losses(divided) == pytest.approx(losses(whole), rel=ROUNDING[model])
    assert losses(whole)[-1] < 0.999 * losses(whole)[0]
    assert {report["micro_batch"] for report in whole} == {8}
    assert {report["micro_batch"] for report in divided} == {2}


@pytest.mark.parametrize(("model", "technique"), [("tiny-decoder", "lora"), ("tiny-encoder-decoder", "full")])
def test_memory_that_runs_out_in_training_divides_the_batch(
    plan: Plan, bases: dict[str, Base], data: dict[str, TrialData], model: str, technique: str, tmp_path: Path
) -> None:
    base, items = bases[model], data[model]
    undisturbed = run(plan, base, items, technique, tmp_path / "undisturbed")
    before = {name: weight.clone() for name, weight in base.model.named_parameters()}
    batches = Batches(batch=8, micro=8, decode=16)
    with memory_for(base, lambda training: 3 if training else 10**6):
        reports = run(plan, base, items, technique, tmp_path / "short", batches)
    last = [report for report in reports if report["report"] == 5]
    assert len(last) == 1 and last[0]["end"] == "finished"
    assert (last[0]["micro_batch"], batches.micro) == (2, 2)
    curve = {report["report"]: report["validation_loss"] for report in reports}
    assert [curve[index] for index in range(6)] == pytest.approx(losses(undisturbed), rel=ROUNDING[model])
    after = dict(base.model.named_parameters())
    assert after.keys() == before.keys()
    assert all(torch.equal(weight, before[name]) for name, weight in after.items())


def test_the_trial_goes_on_from_its_newest_checkpoint(
    plan: Plan, bases: dict[str, Base], data: dict[str, TrialData], tmp_path: Path
) -> None:
    base, items = bases["tiny-decoder"], data["tiny-decoder"]
    undisturbed = run(plan, base, items, "lora", tmp_path / "undisturbed")
    passes = 0

    def rows(training: bool) -> int:
        nonlocal passes
        passes += training
        # memory shrinks in the sixth step: reports come every second step
        return 4 if training and passes >= 6 else 10**6

    with memory_for(base, rows) as seen:
        reports = run(plan, base, items, "lora", tmp_path / "short")
    assert [report["report"] for report in reports] == [0, 1, 2, 2, 3, 4, 5]
    assert [report["micro_batch"] for report in reports] == [8, 8, 8, 8, 4, 4, 4]
    # five whole batches, one that does not fit, then the six steps after the fourth in halves
    assert [count for training, count in seen if training] == [8] * 6 + [4] * 12
    assert losses(reports)[4:] == pytest.approx(losses(undisturbed)[3:], rel=ROUNDING["tiny-decoder"])


def test_without_memory_for_one_item_the_trial_ends(
    plan: Plan, bases: dict[str, Base], data: dict[str, TrialData], tmp_path: Path
) -> None:
    base, items = bases["tiny-decoder"], data["tiny-decoder"]
    with memory_for(base, lambda training: 0 if training else 10**6) as seen:
        reports = run(plan, base, items, "lora", tmp_path)
    assert [count for training, count in seen if training] == [8, 4, 2, 1, 1]
    assert reports[-1]["gradient_checkpointing"]
    assert reports[-1]["fault"] == "training on one item with gradient checkpointing takes more memory than there is"
    assert (reports[-1]["end"], reports[-1]["report"], reports[-1]["micro_batch"]) == ("oom", 0, 1)
    assert [report.get("end") for report in reports[:-1]] == [None] * (len(reports) - 1)


@pytest.mark.parametrize("model", MODELS)
def test_what_is_too_much_at_one_item_is_trained_with_checkpointing(
    plan: Plan, bases: dict[str, Base], data: dict[str, TrialData], model: str, tmp_path: Path
) -> None:
    """Memory that holds no block's activations: the trial ends with the losses that it has where there is enough."""
    base, items = bases[model], data[model]
    undisturbed = run(plan, base, items, "lora", tmp_path / "undisturbed", Batches(8, 1, 16))
    decoder = base.model.get_decoder()
    block = decoder.layers[0] if hasattr(decoder, "layers") else decoder.block[0]
    ran_out = []

    def hook(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        if module.training and torch.is_grad_enabled() and not module.gradient_checkpointing:
            ran_out.append(True)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    handle = block.register_forward_hook(hook)
    batches = Batches(8, 1, 16)
    try:
        reports = run(plan, base, items, "lora", tmp_path / "short", batches)
    finally:
        handle.remove()
    assert len(ran_out) == 1 and batches.checkpointing
    assert [report["gradient_checkpointing"] for report in reports] == [False] + [True] * 6
    assert reports[-1]["end"] == "finished"
    # less than ROUNDING where the gradients are not small: activations are computed again, not otherwise
    assert losses(reports)[1:] == pytest.approx(losses(undisturbed), rel={"tiny-decoder": 1e-5}.get(model, 2e-3))


def test_prefix_tuning_ends_where_one_item_is_too_much(
    plan: Plan, bases: dict[str, Base], data: dict[str, TrialData], tmp_path: Path
) -> None:
    """Checkpointing would drop its keys and values."""
    with memory_for(bases["tiny-decoder"], lambda training: 0 if training else 10**6) as seen:
        reports = run(plan, bases["tiny-decoder"], data["tiny-decoder"], "prefix_tuning", tmp_path, Batches(8, 1, 16))
    assert [count for training, count in seen if training] == [1]
    assert (reports[-1]["end"], reports[-1]["gradient_checkpointing"]) == ("oom", False)


def test_memory_that_runs_out_in_decoding_divides_its_batch_alone(
    plan: Plan, bases: dict[str, Base], data: dict[str, TrialData], tmp_path: Path
) -> None:
    """The eight items of EM@10 take two rows each; validation loss and training have eight rows at most."""
    base, items = bases["tiny-decoder"], data["tiny-decoder"]
    undisturbed = run(plan, base, items, "lora", tmp_path / "undisturbed")
    batches = Batches(batch=8, micro=8, decode=16)
    with memory_for(base, lambda training: 8) as seen:
        reports = run(plan, base, items, "lora", tmp_path / "short", batches)
    assert losses(reports) == losses(undisturbed)
    assert [report["em@10"] for report in reports] == [report["em@10"] for report in undisturbed]
    assert {(report["micro_batch"], report["decode_batch"]) for report in reports} == {(8, 4)}
    assert batches.decode == 4
    assert [count for _, count in seen if count > 8] == [16, 16]  # all eight items, asked for 16 and then 8


def test_without_memory_to_decode_one_item_the_trial_ends(
    plan: Plan, bases: dict[str, Base], data: dict[str, TrialData], tmp_path: Path
) -> None:
    with memory_for(bases["tiny-decoder"], lambda training: 1):
        reports = run(plan, bases["tiny-decoder"], data["tiny-decoder"], "lora", tmp_path, Batches(8, 1, 16))
    assert [(report["end"], report["report"], report["validation_loss"]) for report in reports] == [("oom", -1, None)]


def test_the_next_trial_begins_with_what_fitted(
    plan: Plan, bases: dict[str, Base], data: dict[str, TrialData], tmp_path: Path
) -> None:
    base, items = bases["tiny-decoder"], data["tiny-decoder"]
    batches = Batches(batch=8, micro=8, decode=16)
    with memory_for(base, lambda training: 4 if training else 8):
        first = run(plan, base, items, "lora", tmp_path / "first", batches)
    with memory_for(base, lambda training: 4 if training else 8) as seen:
        second = run(plan, base, items, "lora", tmp_path / "second", batches)
    assert not [rows for training, rows in seen if rows > (4 if training else 8)]
    assert {(report["micro_batch"], report["decode_batch"]) for report in second} == {(4, 4)}
    assert losses(second) == pytest.approx(losses(first[-6:]), rel=1e-6)


def test_peaks_of_training_and_decoding_are_kept_apart_and_survive_a_restart(
    plan: Plan, bases: dict[str, Base], data: dict[str, TrialData], tmp_path: Path
) -> None:
    base, items = bases["tiny-decoder"], data["tiny-decoder"]
    reports: list[Report] = []

    def emit(said: Message) -> None:
        report = said.content()
        reports.append(report)
        if report["report"] == 2:
            raise SystemExit

    spec = plan.resolved.techniques["lora"]
    with pytest.raises(SystemExit):
        train(plan, base, items, spec, spec.paper, tmp_path, emit)
    newest = last(tmp_path)
    assert newest is not None and newest.path == tmp_path / "checkpoint-4"
    for report in reports:
        assert report["training_memory_mib"] > 50 and report["decoding_memory_mib"] > 50
        assert report["peak_memory_mib"] == max(report["training_memory_mib"], report["decoding_memory_mib"])
        for reserved in (report["training_reserved_mib"], report["decoding_reserved_mib"]):
            assert reserved is None if not torch.cuda.is_available() else reserved > 50
    seal(newest.path, newest.report.model_copy(update={"training_memory_mib": 1e6}), files=newest.files)
    after = Said()
    train(plan, base, items, spec, spec.paper, tmp_path, after.hear)
    assert {report["training_memory_mib"] for report in after} == {1e6}
    assert all(report["decoding_memory_mib"] < 1e5 for report in after)
    assert after[-1]["peak_memory_mib"] == 1e6


@pytest.mark.parametrize(
    ("batch", "micro", "sizes"),
    [(8, 8, [4, 2, 1]), (12, 12, [6, 3, 1]), (10, 10, [5, 2, 1]), (7, 7, [1]), (8, 4, [2, 1])],
)
def test_micro_batches_divide_the_batch(batch: int, micro: int, sizes: list[int]) -> None:
    batches = Batches(batch, micro, 16)
    found = []
    while batches.train_with_less(may_checkpoint=False):
        found.append(batches.micro)
        assert batches.micro * batches.accumulation == batch
    assert found == sizes


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:129] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("can't allocate memory"), False),
        (RuntimeError("the text is: DefaultCPUAllocator: can't allocate memory"), False),
        (RuntimeError("expected a text of CUDA error: out of memory"), False),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOENT, "can't allocate memory"), False),
    ],
)
def test_what_counts_as_a_lack_of_memory(error: Exception, is_memory: bool) -> None:
    assert is_out_of_memory(error) is is_memory


def test_torch_says_on_a_cpu_what_is_looked_for() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
