"""The verbs study and list where nothing is wrong."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.recording import Recorder, start
from raypeft import pipeline
from raypeft.output.files import write_text
from raypeft.runs.folder import Run
from raypeft.spec.loading import find
from raypeft.spec.plan import Cell
from raypeft.spec.resolve import resolve
from tests.conftest import Call
from tests.runs.test_reuse import source

__all__ = ["source"]

PLAN = """\
Study quickstart: Which way of tuning serves a tiny code model best, and does tuning beat examples in the prompt?

model                 dataset   technique      trials  hours  train GiB  decode GiB  most by    searched
tiny-decoder          snippets  full                3   0.01        0.7         0.7  framework  learning_rate
tiny-decoder          snippets  lora                3   0.01        0.7         0.7  framework  target_modules, r, lora_alpha, lora_dropout, learning_rate
tiny-decoder          snippets  ia3                 3   0.01        0.7         0.7  framework  learning_rate
tiny-decoder          snippets  prompt_tuning       3   0.01        0.7         0.8  framework  prompt_tuning_init, num_virtual_tokens, learning_rate
tiny-decoder          snippets  prefix_tuning       3   0.01        0.7         0.8  framework  num_virtual_tokens, learning_rate
tiny-encoder-decoder  snippets  full                3   0.01        0.7         0.7  framework  learning_rate
tiny-encoder-decoder  snippets  lora                3   0.01        0.7         0.7  framework  target_modules, r, lora_alpha, lora_dropout, learning_rate
tiny-encoder-decoder  snippets  ia3                 3   0.01        0.7         0.7  framework  learning_rate
tiny-encoder-decoder  snippets  prompt_tuning       3   0.01        0.7         0.8  framework  prompt_tuning_init, num_virtual_tokens, learning_rate
tiny-encoder-decoder  snippets  prefix_tuning       3   0.01        0.7         0.8  framework  num_virtual_tokens, learning_rate

Trial      at most 3 epochs: 15 reports (every 0.2 epoch) and one before training
Memory     estimated for a CPU, the largest trial of each cell with all items at the token limits
Protocol   nothing but defaults
Stopping   ASHA keeps the best 1/3 at reports 3, 9
Selection  lowest validation loss
Test       10 jobs, 10 beams, 10 candidates
ICL        32 jobs: 0, 1, 2, 3 examples x 5 seeds (zero examples once)
Total      10 cells, 30 trials, 42 jobs
Time       about 0.09 hours, 0.02 of them for ICL; 0.16 if no trial is stopped early
           on this machine (A Processor, 1 core, 1 at a time), by assumptions (docs/studies.md) that measured trials correct
           about 0.08 on one NVIDIA RTX A5000, the paper's card
Disk       about 79 MB in runs/quickstart, checkpoints of all trials included
"""  # noqa: E501


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the pipeline was asked to do; it does nothing."""
    asked: list[dict[str, Any]] = []

    def study(resolved: Any, folder: Path, console: Any, **further: Any) -> list[str]:
        asked.append({"study": resolved, "folder": folder, **further})
        return []

    monkeypatch.setattr(pipeline, "study", study)
    return asked


def text_of(name: str) -> str:
    """The text of a shipped study."""
    return find(name, "studies").read_text(encoding="utf-8")


def begun(folder: Path) -> None:
    write_text(folder / "study.yaml", resolve("quickstart").dump())
    write_text(folder / "manifest.json", "{}")
    write_text(folder / "reports.jsonl", "")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one core and without NVIDIA's tool: memory and hours are estimated for its processor."""
    monkeypatch.setattr("raypeft.estimate.footprint.shutil.which", lambda name: None)
    for name, found in (("cpu", "A Processor"), ("cores", 1), ("product_rate", 100e9)):
        monkeypatch.setattr(f"raypeft.estimate.machines.{name}", lambda found=found: found)


def test_the_plan_of_the_quickstart(call: Call, no_gpu: None) -> None:
    ended = call("study", "quickstart", "--plan")
    assert (ended.code, ended.out, ended.err) == (0, PLAN, "")
    assert not Path("runs").exists()


def test_a_plan_with_other_settings(call: Call, no_gpu: None) -> None:
    arguments = ["--model", "tiny-decoder", "--technique", "lora", "--dataset", "snippets", "--samples", "2"]
    settings = ["validation.select_by=em@10", "icl.examples=[1, 2]", "icl.seeds=[7]", "early_stopping.grace=15"]
    settings += ["protocol={stop_rule: package, padding: full}"]
    out = call("study", "quickstart", "--plan", *arguments, *(f"--set={setting}" for setting in settings)).out
    assert out.splitlines()[3:-4] == [
        "tiny-decoder  snippets  lora            2   0.01        0.7         0.7  framework  "
        "target_modules, r, lora_alpha, lora_dropout, learning_rate",
        "",
        "Trial      at most 3 epochs: 15 reports (every 0.2 epoch) and one before training",
        "Memory     estimated for a CPU, the largest trial of each cell with all items at the token limits",
        "Protocol   stop_rule package, padding full",
        "Stopping   no rung before the last report, so no early stopping",
        "Selection  highest validation EM@10",
        "Test       1 jobs, 10 beams, 10 candidates",
        "ICL        2 jobs: 1, 2 examples x 1 seeds",
        "Total      1 cells, 2 trials, 3 jobs",
    ]


def test_a_plan_without_early_stopping_and_icl(call: Call, no_gpu: None) -> None:
    lines = call("study", "quickstart", "--plan", "--set", "early_stopping=null", "--set", "icl=null").out.splitlines()
    assert "Stopping   no early stopping" in lines
    assert lines[-6:-4] == ["ICL        0 jobs", "Total      10 cells, 30 trials, 10 jobs"]
    assert "ICL" not in lines[-3] and "stopped early" not in lines[-3]


def test_a_plan_says_what_is_not_here(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RAYPEFT_DATA", raising=False)
    own = "catalogue.datasets.mine={title: M, folder: '${MINE}'}"
    gated = ["--set", "models=[codet5p-220m, llama-3.2-1b]", "--set", "datasets=[conala, mine]", "--set", own]
    lines = call("study", "rq3", "--plan", *gated).out.splitlines()
    assert lines[-5:] == [
        # 222,882,048 and 1,235,814,400 weights of two bytes
        "Not here   2 models, about 2.9 GB: codet5p-220m, llama-3.2-1b",
        "           1 data sets: conala",
        "           raypeft fetch gets them from the hub",
        "Gated      llama-3.2-1b (meta-llama/Llama-3.2-1B): accept the licence first",
        "Missing    mine: environment variable MINE is not set",
    ]
    monkeypatch.setenv("RAYPEFT_DATA", str(tmp_path))
    (tmp_path / "conala").mkdir()
    assert not any("1 data sets" in line for line in call("study", "rq3", "--plan", *gated).out.splitlines())


def test_a_plan_names_what_in_context_learning_leaves_out(call: Call) -> None:
    lines = call("study", "rq2", "--plan").out.splitlines()
    place = lines.index("ICL        240 jobs: 0, 1, 2, 3 examples x 5 seeds (zero examples once)")
    assert lines[place + 1] == (
        "           without codegen2-1b on codealpacapy, codegen2-3.7b on codealpacapy, codegen2-7b on codealpacapy: "
        "left out as in the paper, for the time that long prompts take with CodeGen2"
    )


def test_a_plan_estimates_for_the_device_that_trials_run_on(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raypeft.estimate.footprint.shutil.which", lambda name: f"/usr/bin/{name}")
    assert "Memory     estimated for a GPU" in call("study", "quickstart", "--plan").out
    on_cpu = call("study", "quickstart", "--plan", "--set", "resources.gpus_per_trial=0").out
    assert "Memory     estimated for a CPU" in on_cpu


def test_hours_are_those_of_the_card_that_is_here(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, 81559 MiB'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    study = ("study", "rq1", "--plan", "--out", "elsewhere")
    lines = call(*study).out.splitlines()
    place = next(index for index, line in enumerate(lines) if line.startswith("Time"))
    assumed = "by assumptions (docs/studies.md) that measured trials correct"
    assert lines[place + 1] == f"           on one NVIDIA H100 80GB HBM3, {assumed}"
    assert lines[place + 2] == "           about 140 on one NVIDIA RTX A5000, the paper's card"
    tool.write_text("#!/bin/sh\necho 'NVIDIA RTX A5000, 24564 MiB'\n")
    lines = call(*study).out.splitlines()
    assert lines[place].startswith("Time       about 140 hours")
    assert lines[place + 1] == f"           on one NVIDIA RTX A5000, {assumed}"
    assert lines[place + 2].startswith("Disk")


def test_a_run_that_was_refused_may_be_started_otherwise(call: Call, ran: list[dict[str, Any]]) -> None:
    """Refused once its manifest was written, as for a GPU that torch cannot use, and nothing computed."""
    folder = Path("runs/quickstart")
    write_text(folder / "study.yaml", resolve("quickstart").dump())
    write_text(folder / "manifest.json", '{"gpus": ["NVIDIA A, 24564 MiB"]}')
    assert call("study", "quickstart", "--set", "resources.gpus_per_trial=0").code == 0
    assert len(ran) == 1 and not (folder / "manifest.json").exists()


def test_a_trial_gets_one_gpu_at_most(call: Call) -> None:
    refused = call("study", "quickstart", "--plan", "--set", "resources.gpus_per_trial=2")
    assert refused.code == 2 and "resources.gpus_per_trial" in refused.err and "less than or equal to 1" in refused.err


def test_a_plan_counts_what_is_done_and_is_corrected_by_it(call: Call) -> None:
    run = start(Path("runs/quickstart"), techniques=())
    Recorder(run).trial(Cell("tiny-decoder", "snippets", "lora"), 0, {}, [2.0, 1.0, 0.5], 5.0)
    lines = call("study", "quickstart", "--plan").out.splitlines()
    assert "Done       1 of 30 trials and 0 of 42 jobs, in runs/quickstart" in lines
    assert lines[-3] == "           at the pace of 1 measured trials in runs/quickstart"
    assert lines[-2].startswith("           of which about 0.") and lines[-2].endswith(" hours are left")
    fresh = call("study", "quickstart", "--plan", "--fresh").out
    assert "Done" not in fresh and "left" not in fresh


def test_a_plan_says_what_would_refuse_to_start(call: Call) -> None:
    begun(Path("runs/quickstart"))
    lines = call("study", "quickstart", "--plan", "--set", "training.batch=4").out.splitlines()
    place = lines.index(
        "Done       runs/quickstart holds a run of another version of this study: --fresh, or another --out"
    )
    assert lines[place + 1] == "           training.batch: was 8, is 4"


def test_a_plan_says_what_other_runs_have_of_it(call: Call, source: Run, tmp_path: Path) -> None:
    study = [str(tmp_path / "studies" / "first.yaml"), "--plan", "--out", str(tmp_path / "more" / "run")]
    alone = call("study", *study).out
    assert "Done" not in alone
    lines = call("study", *study, "--reuse", str(source.folder)).out.splitlines()
    offered = f"1 cell and 1 in-context-learning run, to be taken over from {source.folder}"
    assert f"Done       {offered}" in lines and any(line.endswith("hours are left") for line in lines)
    assert call("study", "quickstart", "--plan", "--out", "elsewhere").out.splitlines()[-2] == PLAN.splitlines()[-2]


def test_a_study_runs_in_a_folder_of_its_name(call: Call, ran: list[dict[str, Any]]) -> None:
    assert call("study", "quickstart", "--samples", "2").code == 0
    assert call("study", "quickstart", "--out", "there", "--stage", "icl", "--stage", "report").code == 0
    assert call("study", "quickstart", "--ray-address", "1.2.3.4:5").code == 0
    assert [asked["folder"] for asked in ran] == [Path("runs/quickstart"), Path("there"), Path("runs/quickstart")]
    assert [asked["stages"] for asked in ran] == [
        ("sweep", "test", "icl", "report"),
        ("icl", "report"),
        ("sweep", "test", "icl", "report"),
    ]
    assert [asked["ray_address"] for asked in ran] == [None, None, "1.2.3.4:5"]
    assert ran[0]["study"] == resolve("quickstart", trials=2)


def test_finished_cells_come_from_the_runs_beside_and_from_those_named(call: Call, ran: list[dict[str, Any]]) -> None:
    for folder in ("runs/rq1", "elsewhere/rq2", "elsewhere/rq3"):
        write_text(Path("studies", f"{Path(folder).name}.yaml"), text_of("quickstart"))
        write_text(Path(folder, "study.yaml"), resolve(Path(folder).name).dump())
        write_text(Path(folder, "manifest.json"), '{"raypeft": "0"}')

    def sources(*arguments: str) -> list[str]:
        assert call("study", "quickstart", *arguments).code == 0
        return [run.folder.relative_to(Path.cwd()).as_posix() for run in ran[-1]["sources"]]

    assert sources() == ["runs/rq1"]
    assert sources("--reuse", "elsewhere/rq3") == ["elsewhere/rq3", "runs/rq1"]
    assert sources("--no-reuse", "--reuse", "elsewhere") == ["elsewhere/rq2", "elsewhere/rq3"]
    assert sources("--no-reuse") == []
    ended = call("study", "quickstart", "--reuse", "nowhere")
    assert (ended.code, len(ran)) == (2, 4)
    assert ended.err == "raypeft: --reuse: nowhere holds no run that can be read\n"


def test_an_unfinished_run_goes_on_and_says_so(call: Call, ran: list[dict[str, Any]]) -> None:
    begun(Path("runs/quickstart"))
    ended = call("study", "quickstart")
    assert (ended.code, ended.out) == (0, "Going on with the run in runs/quickstart\n")
    assert Path("runs/quickstart/reports.jsonl").exists() and len(ran) == 1


def test_a_fresh_run_removes_the_old_one_even_if_it_is_broken(call: Call, ran: list[dict[str, Any]]) -> None:
    begun(Path("runs/quickstart"))
    write_text(Path("runs/quickstart/study.yaml"), "not: [a study")
    assert call("study", "quickstart", "--fresh").code == 0
    assert not any(Path("runs/quickstart").iterdir()) and len(ran) == 1


def test_exit_codes(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "study", lambda *arguments, **further: ["tiny-decoder/snippets/lora: 4 oom"])
    ended = call("study", "quickstart")
    assert ended.code == 3
    assert ended.out == "Done, but not everything succeeded:\n  tiny-decoder/snippets/lora: 4 oom\n"

    def interrupted(*arguments: Any, **further: Any) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "study", interrupted)
    ended = call("study", "quickstart")
    assert (ended.code, ended.out) == (130, "Interrupted. The same command goes on from here.\n")


def test_lists_have_one_line_a_name(call: Call) -> None:
    write_text(Path("studies/own.yaml"), "question: '[bold]Mine[/bold]?'\n")
    studies = call("list", "studies").out.splitlines()
    assert [line.split()[0] for line in studies] == [
        "study",
        "examples/smollm2-conala",
        "examples/smollm2-rq",
        "own",
        "quickstart",
        *("rq1", "rq2", "rq3", "rq4"),
    ]
    assert studies[3].endswith("[bold]Mine[/bold]?")
    models = call("list", "models").out.splitlines()
    assert [line.split()[0] for line in models[:4]] == ["model", "tiny-decoder", "tiny-encoder-decoder", "codet5p-220m"]
    (codegen2,) = (line for line in models if line.startswith("codegen2-1b"))
    assert " ".join(codegen2.split()) == "codegen2-1b codegen2 large decoder 1,015,306,240 Salesforce/codegen2-1B_P"
    assert [line.split()[0] for line in models if line.endswith(" (gated)")] == ["llama-3.2-1b", "llama-3.2-3b"]
    assert call("list", "datasets").out.splitlines() == [
        "dataset               title                  from",
        "conala                CoNaLa                 neulab/docprompting-conala",
        "codealpacapy          CodeAlpacaPy           antolin/codealpaca-filtered",
        "joint                 Joint                  conala, codealpacapy",
        "snippets              Snippets               embedded:snippets",
        "snippets-collections  Snippets, collections  embedded:snippets-collections",
        "snippets-texts        Snippets, texts        embedded:snippets-texts",
        "snippets-joint        Snippets, joint        snippets-collections, snippets-texts",
    ]
    techniques = call("list", "techniques").out.splitlines()
    assert len(techniques) == 13
    assert (
        " ".join(techniques[4].split())
        == "ia3 IA3Config learning_rate 0.0003 (package: learning_rate 0.003) learning_rate 0.0001 … 0.03 (log)"
    )
