"""A test is refused where the loaded weights are not those that were trained."""

from pathlib import Path

import pytest

from raypeft.errors import UserError
from raypeft.evaluation.restored import check_restored
from raypeft.modeling.adapters import adapted
from raypeft.modeling.loading import load_base
from raypeft.runs.checkpoints import best
from raypeft.runs.records import Message
from raypeft.spec.plan import Cell, Plan
from raypeft.spec.resolve import resolve
from raypeft.training.data import trial_data
from raypeft.training.trial import train
from tests.modeling.conftest import SHORT


def test_weights_that_do_not_give_the_loss_of_their_report_are_refused(tmp_path: Path) -> None:
    plan = Plan(resolve("quickstart", settings=[*SHORT, "early_stopping=null", "training.evaluate_every=2"]))
    base, spec = (
        load_base("tiny-decoder", plan.resolved.models["tiny-decoder"], "fp32"),
        plan.resolved.techniques["lora"],
    )
    reports: list[Message] = []
    data = trial_data(plan, base, "snippets")
    train(plan, base, data, spec, {**spec.paper, "learning_rate": 5e-3}, tmp_path, reports.append)
    found, cell = best(tmp_path, "loss"), Cell("tiny-decoder", "snippets", "lora")
    assert found is not None and found.report.validation_loss < reports[0].validation_loss - 0.01
    with adapted(base, spec, spec.paper, seed=3, saved=found.path) as model:
        check_restored(plan, base, model, cell, found.report.validation_loss)
    loss, trained = reports[0].validation_loss, found.report.validation_loss
    message = f"have a validation loss of {loss:.4f}, and in training it was {trained:.4f}"
    with pytest.raises(UserError, match=message):
        check_restored(plan, base, base.model, cell, found.report.validation_loss)
