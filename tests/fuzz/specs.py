"""Mutated studies, techniques, catalogues and `--set` values."""

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from raypeft.spec.loading import names, parse_yaml, shipped
from tests.fuzz.case import Case, emptied
from tests.fuzz.trees import NUMBERS, SNIPPETS, damaged, document, mutated

OWN = """\
question: Which?
models: {small: [own, tiny-decoder], large: [hub/model, ./folder]}
datasets: [mine, both, snippets]
techniques: {small: [lora, search_spaces/own.yaml], large: [full, search_spaces/own.yaml]}
mode: search
search: {trials: 2, sampler: tpe, seed: 1}
early_stopping: {grace: 1, factor: 2}
training: {epochs: 2, batch: 4, micro_batch: 2, optimizer: adamw_torch, warmup: 0.1, weight_decay: 0.1,
           evaluate_every: 0.5, precision: fp32, attention: eager, gradient_checkpointing: true, seed: 3}
validation: {select_by: em@10, em_items: 4}
test: {beams: 4, candidates: 4, decode_batch: 2}
data: {train: 8, validation: 4, test: 4, seed: 1}
icl: {examples: [0, 1], seeds: [1, 2], skip: [{models: [own], datasets: [mine], reason: because}]}
resources: {gpus_per_trial: 0.5, cpus_per_trial: 1, concurrent: 2, gpu_memory_gb: 8, keep_checkpoints: best}
protocol: {point: {lora: package}, stop_rule: package, prompt_style: chat, response_header: answer, task_prefix: paper,
           test_prompt: package, icl_prompt: paper, truncation: package, padding: full}
catalogue:
  models:
    own:
      title: Own
      hub: someone/own
      revision: main
      architecture: decoder
      family: llama
      parameters: 1000
      shape: {block: llama, layers: 2, hidden: 8, intermediate: 16, heads: 2, kv_heads: 1, head_size: 4, vocabulary: 99,
              tied: true}
      targets: {attention: [q_proj], feedforward: [up_proj]}
      prompt_style: chat
      gated: true
      trust_remote_code: false
  datasets:
    mine:
      title: Mine
      folder: data
      files: {train: a.jsonl, validation: b.jsonl, test: c.jsonl}
      columns: {intent: [nl, ask], code: cmd, id: id}
      expected_items: {train: 3, validation: 3, test: 3}
      origin: "a+"
      max_prompt_tokens: 32
      max_code_tokens: 32
      stop_strings: ["\\n"]
    both: {title: Both, join: [mine, snippets]}
"""
TECHNIQUE = """\
title: Own
peft: LoraConfig
quantization: 4bit
arguments: {bias: none, target_modules: [attention, feedforward], total_step: {steps: 0.5}}
paper: {r: 4, lora_alpha: 8, use_dora: true, lora_dropout: 0.0, learning_rate: 1.0e-4}
package: {r: 8, lora_alpha: 8}
search:
  r: {choice: [4, 8]}
  lora_alpha: {choice: [0.5, 1, 2], times: r}
  use_dora: {choice: [true, false]}
  lora_dropout: {uniform: [0.0, 0.1]}
  learning_rate: {log_uniform: [1.0e-5, 1.0e-3]}
"""
ROW = '{"nl": "do", "cmd": "x"}\n'


@cache
def _shipped(kind: str) -> tuple[str, ...]:
    found = (shipped(kind) / f"{name}.yaml" for name in names(kind))
    return tuple(path.read_text(encoding="utf-8") for path in found if path.is_file())


@cache
def _parsed(text: str) -> Any:
    return parse_yaml(text)


def _tree(text: str) -> Any:
    return copy.deepcopy(_parsed(text))


def cases(seed: int, folder: Path) -> Iterator[Case]:
    """Commands that read a study whose text, tree, technique or settings are mutated."""
    random = Random(f"specs {seed}")
    makers = [
        _study_tree,
        _study_tree,
        _study_text,
        _technique_tree,
        _technique_tree,
        _technique_text,
        _setting,
        _settings,
    ]
    while True:
        yield random.choice(makers)(random, folder)


def _study_tree(random: Random, folder: Path) -> Case:
    text = OWN if random.random() < 0.7 else random.choice(_shipped("studies"))
    return _case("study, tree", random, folder, mutated(_tree(text), random), TECHNIQUE)


def _study_text(random: Random, folder: Path) -> Case:
    text = OWN if random.random() < 0.7 else random.choice(_shipped("studies"))
    return _case("study, text", random, folder, damaged(text, random), TECHNIQUE)


def _technique_tree(random: Random, folder: Path) -> Case:
    text = TECHNIQUE if random.random() < 0.6 else random.choice(_shipped("search_spaces"))
    return _case("technique, tree", random, folder, _using(random), mutated(_tree(text), random))


def _technique_text(random: Random, folder: Path) -> Case:
    text = TECHNIQUE if random.random() < 0.6 else random.choice(_shipped("search_spaces"))
    return _case("technique, text", random, folder, _using(random), damaged(text, random))


def _using(random: Random) -> str:
    """A study of the technique alone."""
    study = _tree(OWN)
    point, mode = random.choice(["paper", "package"]), random.choice(["paper", "search"])
    study |= {"models": ["tiny-decoder", "own"], "techniques": ["own"], "mode": mode}
    study["protocol"] = {"point": point}
    return document(study)


def _keys(tree: Any, above: str = "") -> Iterator[str]:
    for key, child in tree.items() if isinstance(tree, dict) else ():
        yield f"{above}{key}"
        yield from _keys(child, f"{above}{key}.")


def _set(random: Random) -> list[str]:
    key = random.choice(
        [*_keys(_parsed(OWN)), "", "a..b", ".", "question.x", "models.0", "icl.skip.0.reason", "é", "\ud800"]
    )
    value = random.choice(random.choice([SNIPPETS, NUMBERS]))
    return ["--set", random.choice([f"{key}={value}"] * 9 + [key])]


def _setting(random: Random, folder: Path) -> Case:
    return _case("--set", random, folder, OWN, TECHNIQUE, _set(random))


def _settings(random: Random, folder: Path) -> Case:
    further = [part for _ in range(random.randint(2, 4)) for part in _set(random)]
    for option in ("--model", "--dataset", "--technique"):
        if random.random() < 0.3:
            further += [option, random.choice(["own", "tiny-decoder", "snippets", "lora", "nothing", "", "a/b", "é"])]
    return _case("several --set", random, folder, OWN, TECHNIQUE, further)


def _case(
    label: str, random: Random, folder: Path, study: str, technique: str, further: list[str] | None = None
) -> Case:
    place = folder / "here"

    def prepare() -> None:
        emptied(place)
        for name, text in (("study.yaml", study), ("search_spaces/own.yaml", technique)):
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_bytes(text.encode("utf-8", "surrogatepass"))
        (place / "folder").mkdir()
        (place / "data").mkdir()
        for name in "abc":
            (place / "data" / f"{name}.jsonl").write_text(ROW * 3)
        (place / "studies").mkdir()
        (place / "studies" / "own.yaml").write_bytes(study.encode("utf-8", "surrogatepass"))

    plan = ["study", "study.yaml", "--plan"]
    command = random.choices(
        [
            plan,
            [*plan, "--scale", "tiny"],
            [*plan, "--samples", random.choice(["1", "3", "100000000000000000000"])],
            ["study", "own", "--plan", "--out", "elsewhere"],
            ["list", "techniques"],
            ["list", "studies"],
            ["evaluate", "--study", "study.yaml", "--model", "./gone", "--dataset", "mine"],
            ["data", "check", "mine"],
        ],
        weights=[60, 6, 3, 6, 6, 4, 6, 6],
    )[0]
    if command[0] in ("study", "evaluate"):
        command = [*command, *(further or [])]
    elif further:
        command = [*plan, *further]
    return Case(label, command, place, prepare)
