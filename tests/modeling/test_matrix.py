"""Every technique on every architecture: trained, saved, loaded in a new process, decoded."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from raypeft.decoding import BeamSettings, decode
from raypeft.evaluation.restored import check_restored
from raypeft.modeling.adapters import adapted
from raypeft.modeling.loading import Base, load_base
from raypeft.runs.checkpoints import best
from raypeft.spec.plan import Cell, Plan
from raypeft.spec.resolve import ResolvedStudy
from raypeft.training.data import trial_data
from raypeft.training.trial import train
from tests.modeling.conftest import ARCHITECTURES, EVERY_TECHNIQUE, Bases
from tests.said import Said

# A rate at which ten steps show, and the share of the loss that must go.
RATES = {
    "full": 2e-3,
    "rslora": 3e-3,
    "p_tuning": 1e-2,
    "ia3": 3e-2,
    "adalora": 1e-1,
    "prompt_tuning": 1e-1,
    "vera": 2e-1,
    "prefix_tuning": 3e-1,
}
LORA_RATE = 1e-2
SHARE = 0.01
SETTINGS = BeamSettings(beams=10, candidates=10, max_new_tokens=6, stop_strings=("\n",))
PROMPTS = (
    "### Instruction:\nsort xs\n### Response:\n",
    "### Instruction:\nthe sum of all values in xs\n### Response:\n",
)


@dataclass(frozen=True)
class Trained:
    """What a cell's training left behind."""

    losses: list[float]
    checkpoint: Path
    answers: dict[str, Any]
    kept: bool


def answers(base: Base, model: Any) -> dict[str, Any]:
    """Logits of a fixed input as text that loses nothing, and ten candidates for each of two prompts."""
    tokens = base.tokenizer(PROMPTS[1], return_tensors="pt")["input_ids"].to(base.device)
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=tokens, attention_mask=torch.ones_like(tokens), labels=tokens).logits
    prompts = [base.tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    found = decode(model, base.tokenizer, prompts, SETTINGS, batch_size=2)
    return {
        "logits": [value.hex() for value in logits[0, -1].tolist()],
        "candidates": [[[one.text, one.score.hex()] for one in item] for item in found],
    }


def answers_of_checkpoints(study: str, checkpoints: str) -> None:
    """Run in a process of its own: print what the checkpoints answer, by cell."""
    torch.set_num_threads(1)
    resolved = ResolvedStudy.load(Path(study))
    found = {}
    for model, folders in json.loads(checkpoints).items():
        loaded: dict[str | None, Base] = {}
        for technique, folder in folders.items():
            spec = resolved.techniques[technique]
            if spec.quantization not in loaded:
                entry = resolved.models[model]
                loaded[spec.quantization] = load_base(model, entry, "fp32", quantization=spec.quantization)
            base = loaded[spec.quantization]
            with adapted(base, spec, spec.paper, seed=99, saved=Path(folder)) as adapter:
                found[f"{model}/{technique}"] = answers(base, adapter)
    print(json.dumps(found))


@pytest.fixture(scope="module")
def trained(bases: Bases, matrix: Plan, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    root = tmp_path_factory.mktemp("trained")
    cells = {}
    for model in ARCHITECTURES:
        data = trial_data(matrix, bases(model, "lora"), "snippets")
        for technique in EVERY_TECHNIQUE:
            base, spec, folder = (
                bases(model, technique),
                matrix.resolved.techniques[technique],
                root / model / technique,
            )
            reports = Said()
            lent = base.model
            point = {**spec.paper, "learning_rate": RATES.get(technique, LORA_RATE)}
            train(matrix, base, data, spec, point, folder, reports.hear)
            found = best(folder, "loss")
            assert found is not None
            with adapted(base, spec, point, seed=5, saved=found.path) as adapter:
                left = answers(base, adapter)
                check_restored(matrix, base, adapter, Cell(model, "snippets", technique), found.report.validation_loss)
            losses = [row["validation_loss"] for row in reports]
            cells[f"{model}/{technique}"] = Trained(losses, found.path, left, base.loaded is lent)
    return cells


@pytest.fixture(scope="module")
def in_a_new_process(trained: dict[str, Trained], matrix: Plan, tmp_path_factory: pytest.TempPathFactory) -> Any:
    study = tmp_path_factory.mktemp("study") / "study.yaml"
    study.write_text(matrix.resolved.dump())
    checkpoints = {
        model: {name: str(trained[f"{model}/{name}"].checkpoint) for name in EVERY_TECHNIQUE} for model in ARCHITECTURES
    }
    call = "import sys; from tests.modeling.test_matrix import answers_of_checkpoints as a; a(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", call, str(study), json.dumps(checkpoints)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("technique", EVERY_TECHNIQUE)
@pytest.mark.parametrize("model", ARCHITECTURES)
def test_training_lowers_the_loss(trained: dict[str, Trained], model: str, technique: str) -> None:
    losses = trained[f"{model}/{technique}"].losses
    assert min(losses[1:]) < losses[0] * (1 - SHARE), losses


def test_shipped_techniques_give_the_base_back(trained: dict[str, Trained]) -> None:
    assert [name for name, cell in trained.items() if not cell.kept] == []


@pytest.mark.parametrize("technique", ["qlora_8bit", "qlora_4bit"])
@pytest.mark.parametrize("model", ARCHITECTURES)
def test_qlora_learns_what_lora_does(trained: dict[str, Trained], model: str, technique: str) -> None:
    (start, *_, lora), (before, *_, after) = (trained[f"{model}/{name}"].losses for name in ("lora", technique))
    assert before != start, "the weights are not quantised"
    assert after == pytest.approx(lora, rel=0.03)
    assert before - after > 0.8 * (start - lora)


@pytest.mark.parametrize("technique", EVERY_TECHNIQUE)
@pytest.mark.parametrize("model", ARCHITECTURES)
def test_a_new_process_gives_the_same_logits_and_candidates(
    trained: dict[str, Trained], in_a_new_process: dict[str, Any], model: str, technique: str
) -> None:
    here, there = trained[f"{model}/{technique}"].answers, in_a_new_process[f"{model}/{technique}"]
    assert there["logits"] == here["logits"]
    assert there["candidates"] == here["candidates"]
    assert len({text for text, _ in here["candidates"][0]}) > 1
