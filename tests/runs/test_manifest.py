"""The manifest: what a run began with, and that it goes on with the same data."""

import hashlib
import importlib.metadata
import json
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from raypeft import __version__
from raypeft.errors import UserError
from raypeft.output.files import read_json, write_json, write_text
from raypeft.runs import manifest
from raypeft.runs.folder import Run
from raypeft.runs.identity import check_precision
from raypeft.runs.manifest import add_gpus, data_hashes, model_source, remarks, write_manifest
from raypeft.runs.records import Source
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve

STUDY = """\
question: Which?
models: [own-model]
datasets: [own-data]
techniques: [lora]
catalogue:
  models:
    own-model: {title: Own, folder: "${OWN_MODEL}", architecture: decoder, family: llama, parameters: 7,
                targets: {attention: [q_proj]}}
  datasets:
    own-data: {title: Own, folder: "${OWN_DATA}"}
search: {seed: 1}
training: {seed: 2, evaluate_every: 1}
early_stopping: null
data: {seed: 3}
icl: {seeds: [4, 5]}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    for split, size in (("train", 3), ("validation", 2), ("test", 1)):
        rows = [json.dumps({"nl": f"{split} {number}", "cmd": str(number)}) for number in range(size)]
        write_text(tmp_path / "data" / f"{split}.jsonl", "\n".join(rows))
    write_text(tmp_path / "model" / "config.json", "{}")
    write_text(tmp_path / "own.yaml", STUDY)
    monkeypatch.setenv("OWN_MODEL", str(tmp_path / "model"))
    monkeypatch.setenv("OWN_DATA", str(tmp_path / "data"))
    run = Run(tmp_path / "run")
    write_text(run.study_file, resolve(str(tmp_path / "own.yaml")).dump())
    return run


def test_a_manifest_says_what_the_run_began_with(run: Run) -> None:
    write_manifest(run)
    found = read_json(run.manifest_file)
    assert found == run.manifest().content()
    assert found["raypeft"] == __version__
    assert found["versions"]["torch"] == importlib.metadata.version("torch")
    assert set(found["versions"]) >= {"ray", "optuna", "transformers", "peft", "codebleu"}
    assert datetime.fromisoformat(found["started"]).tzinfo is not None
    assert found["cores"] >= 1 and found["memory_gib"] > 0 and found["cpu"]
    assert {split: entry["items"] for split, entry in found["datasets"]["own-data"].items()} == {
        "train": 3,
        "validation": 2,
        "test": 1,
    }
    digest = hashlib.sha256(f"config.json\n{hashlib.sha256(b'{}').hexdigest()}\n".encode()).hexdigest()
    assert found["models"] == {"own-model": {"folder": "${OWN_MODEL}", "sha256": digest}}
    assert found["seeds"] == {"search": 1, "training": 2, "data": 3, "icl": [4, 5]}


def test_a_run_does_not_go_on_with_another_model(run: Run, tmp_path: Path) -> None:
    write_manifest(run)
    (tmp_path / "model" / "README.md").write_text("Words.")
    write_manifest(run)
    (tmp_path / "model" / "config.json").write_text('{"vocab_size": 7}')
    with pytest.raises(UserError) as caught:
        write_manifest(run)
    assert str(caught.value) == (
        f"{run.folder}: the files of own-model differ from those this run began with\n"
        "Restore the model's folder, or start anew with --fresh or another --out."
    )


@pytest.mark.parametrize(
    ("cards", "settings", "expected"),
    [
        ([], [], "fp32"),
        (["8.6"], [], "bf16"),
        (["7.5", "7.5"], [], "fp16"),
        (["7.5", "9.0"], [], None),
        (["[N/A]"], [], None),
        (["7.5"], ["training.precision=bf16"], "bf16"),
        (["8.6"], ["resources.gpus_per_trial=0"], "fp32"),
    ],
)
def test_the_precision_that_models_come_to_is_recorded(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cards: list[str], settings: list[str], expected: str
) -> None:
    """By the compute capability of the GPUs: bf16 from 8.0 on."""
    tool = tmp_path / "nvidia-smi"
    lines = "".join(f"echo '{card}'\n" for card in cards)
    tool.write_text(f"#!/bin/sh\n{lines or 'exit 9'}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    write_text(tmp_path / "model" / "config.json", '{"model_type": "llama"}')
    write_text(run.study_file, resolve(str(tmp_path / "own.yaml"), settings=settings).dump())
    write_manifest(run)
    assert run.manifest().precision == {"own-model": expected}


def test_a_run_does_not_go_on_in_another_precision(run: Run) -> None:
    write_manifest(run)
    check_precision(run)
    write_json(run.manifest_file, {**run.manifest().content(), "precision": {"own-model": "bf16"}})
    check_precision(run, elsewhere=True)
    with pytest.raises(UserError) as caught:
        check_precision(run)
    assert str(caught.value) == (
        f"{run.folder}: own-model has computed in bf16 in this run, and would go on in fp32 here\n"
        "Go on with it on a machine as before, or start anew with --fresh or another --out."
    )
    write_json(run.manifest_file, {key: value for key, value in run.manifest().content().items() if key != "precision"})
    check_precision(run)


def test_a_t5_takes_fp32_for_fp16_and_another_machines_cards_are_not_known(run: Run, tmp_path: Path) -> None:
    write_text(tmp_path / "model" / "config.json", '{"model_type": "t5"}')
    settings = ["training.precision=fp16"]
    write_text(run.study_file, resolve(str(tmp_path / "own.yaml"), settings=settings).dump())
    write_manifest(run, elsewhere=True)
    assert run.manifest().precision == {"own-model": "fp32"}
    run.manifest_file.unlink()
    write_text(run.study_file, resolve(str(tmp_path / "own.yaml")).dump())
    write_manifest(Run(run.folder), elsewhere=True)
    assert run.manifest().precision == {"own-model": None}


def test_a_checkout_is_known_by_its_commit(run: Run) -> None:
    repository = Path(__file__).parents[2]
    if not (repository / ".git").exists():
        pytest.skip("the tests do not run from a git checkout")
    command = ["git", "-C", str(repository), "rev-parse", "HEAD"]
    head = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    write_manifest(run)
    assert str(run.manifest().git).removesuffix("-dirty") in head


def test_a_manifest_is_written_once(run: Run) -> None:
    write_manifest(run)
    before = run.manifest_file.read_bytes()
    write_manifest(run)
    assert run.manifest_file.read_bytes() == before


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_run_does_not_go_on_with_other_data(run: Run, tmp_path: Path, split: str) -> None:
    write_manifest(run)
    file = tmp_path / "data" / f"{split}.jsonl"
    file.write_text(file.read_text().replace('"cmd": "0"', '"cmd": "other"'))
    with pytest.raises(UserError) as caught:
        write_manifest(run)
    assert str(caught.value) == (
        f"{run.folder}: the data of own-data differ from those this run began with\n"
        "Restore the data, or start anew with --fresh or another --out."
    )


def test_hashes_are_of_the_items_that_the_study_uses(run: Run) -> None:
    part = Plan(resolve(str(run.folder.parent / "own.yaml"), settings=["data.train=2"]))
    whole, hashes = data_hashes(run.plan)["own-data"], data_hashes(part)["own-data"]
    assert hashes["train"].items == 2 and hashes["train"].sha256 != whole["train"].sha256
    assert hashes["test"] == whole["test"]


def test_a_folder_without_a_model_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "model" / "config.json").unlink()
    with pytest.raises(UserError) as caught:
        write_manifest(run)
    assert str(caught.value) == (
        f"catalogue.models.own-model.folder: {tmp_path}/model holds no model: there is no config.json"
    )
    assert not run.manifest_file.exists()


def test_a_missing_variable_is_refused_before_anything_is_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OWN_MODEL")
    with pytest.raises(UserError, match="environment variable OWN_MODEL is not set\nexport OWN_MODEL="):
        write_manifest(run)
    assert not run.manifest_file.exists()


def test_a_model_on_the_hub_is_known_by_its_revision() -> None:
    model = "{title: H, hub: a/b, revision: abc, architecture: decoder, family: llama, parameters: 7}"
    settings = [f"catalogue.models.there={model}", "models=[there]", "techniques=[full]"]
    assert model_source(Plan(resolve("quickstart", settings=settings)), "there") == Source(hub="a/b", revision="abc")


def test_gpus_are_those_the_driver_lists(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA A, 24564 MiB'\necho 'NVIDIA B, 81559 MiB'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    plan = Plan(resolve("quickstart"))
    assert manifest._gpus(plan) == ["NVIDIA A, 24564 MiB", "NVIDIA B, 81559 MiB"]
    assert manifest._gpus(Plan(resolve("quickstart", settings=["resources.gpus_per_trial=0"]))) == []
    tool.write_text("#!/bin/sh\necho 'no driver'\nexit 9\n")
    assert manifest._gpus(plan) == []
    monkeypatch.setenv("PATH", "")
    assert manifest._gpus(plan) == []


def test_gpus_of_a_cluster_are_added_where_the_driver_has_none(run: Run) -> None:
    write_manifest(run)
    before = run.manifest()
    write_json(run.manifest_file, {**before.content(), "gpus": []})
    add_gpus(run, ["NVIDIA A, 24564 MiB"])
    assert run.manifest() == before.model_copy(update={"gpus": ["NVIDIA A, 24564 MiB"]})
    add_gpus(run, ["NVIDIA B, 81559 MiB"])
    assert run.manifest().gpus == ["NVIDIA A, 24564 MiB"]


def test_too_few_training_items_are_refused_before_anything_is_written(run: Run) -> None:
    """Three items make five steps in five epochs: too few for ten reports, and too few to draw four examples from."""
    settings = ["training.evaluate_every=0.5", "icl.examples=[0, 4]"]
    write_text(run.study_file, resolve(str(run.folder.parent / "own.yaml"), settings=settings).dump())
    with pytest.raises(UserError) as caught:
        write_manifest(Run(run.folder))
    assert "datasets.own-data: its 3 training items make 5 steps, too few for 10 reports" in str(caught.value)
    assert "icl.examples: 4 cannot be drawn from own-data's 3 training items" in str(caught.value)
    assert not run.manifest_file.exists()


def test_dropped_rows_and_unexpected_sizes_are_told(run: Run, tmp_path: Path) -> None:
    with (tmp_path / "data" / "train.jsonl").open("a") as stream:
        stream.write('\n{"nl": null, "cmd": "x"}\n')
    with (tmp_path / "data" / "validation.jsonl").open("a") as stream:
        stream.write('\n{"nl": "a", "cmd": "x", "id": "7"}\n{"nl": "b", "cmd": "x", "id": "7"}\n')
    settings = ["catalogue.datasets.own-data.expected_items={train: 3, validation: 1200}"]
    plan = Plan(resolve(str(tmp_path / "own.yaml"), settings=[*settings, "data.validation=1"]))
    hashes = data_hashes(plan)
    train, validation = hashes["own-data"]["train"], hashes["own-data"]["validation"]
    assert (train.items, train.of, train.dropped) == (3, 3, ["line 4"])
    assert train.source == str(tmp_path / "data" / "train.jsonl")
    assert (validation.items, validation.of, validation.repeated_ids) == (1, 4, ["7"])
    assert remarks(plan, hashes) == [
        "own-data: without intent or code, so dropped from train: line 4",
        "own-data: ids that more than one item of validation has: 7",
        "own-data: 4 items in validation, not the expected 1,200",
    ]
