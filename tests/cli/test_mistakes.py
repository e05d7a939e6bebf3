"""A user's mistake: one message that says what, where and what to do, exit code 2, and nothing started."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from raypeft import pipeline
from raypeft.output.files import write_text
from raypeft.spec.resolve import resolve
from tests.conftest import Call

STUDY = "question: Which?\nmodels: [tiny-decoder]\ndatasets: [own]\ntechniques: [lora]\n"


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **further: object) -> None:
        raise AssertionError("the sweep must not start")

    monkeypatch.setattr(pipeline, "pending", refuse)


def refused(call: Call, *arguments: str) -> str:
    ended = call(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("raypeft: ")
    return ended.err.removeprefix("raypeft: ").rstrip("\n")


def own_study(datasets: str = "{title: Own, folder: data}") -> str:
    write_text(Path("own.yaml"), STUDY + f"catalogue: {{datasets: {{own: {datasets}}}}}\n")
    return "own.yaml"


def own_data(**splits: str) -> None:
    for split in ("train", "validation", "test"):
        write_text(Path("data") / f"{split}.jsonl", splits.get(split, '{"nl": "a", "cmd": "b"}\n'))


def test_a_process_ends_with_code_2_and_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "raypeft", "study", "nothing-of-this-name"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "raypeft: there is no study 'nothing-of-this-name'\n"
        "Known: examples/smollm2-conala, examples/smollm2-rq, quickstart, rq1, rq2, rq3, rq4. "
        "A path to a .yaml file works too.\n"
    )


def test_a_study_that_is_not_yaml(call: Call) -> None:
    write_text(Path("bad.yaml"), "question: Which?\nmodels: [a\n")
    assert refused(call, "study", "bad.yaml", "--plan").startswith("bad.yaml: is not valid YAML: line 3, column 1: ")


def test_several_bad_keys(call: Call) -> None:
    write_text(Path("bad.yaml"), STUDY.replace("own", "snippets") + "colour: red\nsearch: {trials: none}\n")
    assert refused(call, "study", "bad.yaml").splitlines()[1:] == [
        "  search.trials: should be a valid integer, unable to parse string as an integer",
        "  colour: unknown key",
    ]


def test_an_unknown_model(call: Call) -> None:
    (line,) = refused(call, "study", "quickstart", "--set", "models=[gpt]").splitlines()[1:]
    assert line.startswith("  models: unknown 'gpt'; known: tiny-decoder, tiny-encoder-decoder, codet5p-220m, ")
    assert line.endswith("; a hub id (organisation/name) or a folder will do too")
    assert refused(call, "study", "quickstart", "--model", "gpt") == (
        "--model: 'gpt' is not in the study\nIt has: tiny-decoder, tiny-encoder-decoder"
    )


def test_a_missing_data_folder_and_the_run_begins_once_it_is_there(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(call, "study", own_study()) == (
        "own.yaml: \n"
        "  catalogue.datasets.own.folder: folder data does not exist\n"
        "Correct it in the study, or with --set catalogue.datasets.own.folder=FOLDER"
    )
    assert not Path("runs/own/manifest.json").exists()
    monkeypatch.setattr(pipeline, "study", lambda *arguments, **further: [])
    Path("other").mkdir()
    assert call("study", own_study("{title: Changed, folder: other}")).code == 0


def test_a_missing_column(call: Call) -> None:
    own_data(validation='{"nl": "a", "code": "b"}\n')
    assert refused(call, "study", own_study()) == (
        "catalogue.datasets.own.columns: data/validation.jsonl, line 1 has no column 'cmd'\nIts columns are: nl, code"
    )


def test_a_broken_line_of_data(call: Call) -> None:
    own_data(test='{"nl": "a", "cmd": "b"}\n{"nl": "a", "cmd"}\n')
    assert refused(call, "study", own_study()).startswith("data/test.jsonl, line 2: is not JSON: ")


def test_a_missing_environment_variable(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONALA", "SMOLLM2"):
        monkeypatch.delenv(name, raising=False)
    first, *lines = refused(call, "study", "examples/smollm2-conala").splitlines()
    assert first.endswith("studies/examples/smollm2-conala.yaml: ")
    assert lines == [
        "  catalogue.models.smollm2-135m-instruct.folder: environment variable SMOLLM2 is not set",
        "  catalogue.datasets.conala.folder: environment variable CONALA is not set",
        "export SMOLLM2=…",
        "export CONALA=…",
    ]


def test_all_that_is_missing_is_told_at_once(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    write_text(
        Path("own.yaml"),
        "question: Which?\nmodels: [./gone, someone/theirs, other]\ndatasets: [own, embedded]\ntechniques: [lora]\n"
        "catalogue:\n  models: {other: {title: O, folder: ~nouser/model}}\n"
        "  datasets: {own: {title: A, folder: '${NOWHERE}'}, embedded: {title: E, folder: 'embedded:../..'}}\n",
    )
    lines = refused(call, "study", "own.yaml").splitlines()
    assert lines[0] == "several things are missing: "
    for line in (
        "catalogue.models.gone.folder: folder ./gone does not exist",
        "catalogue.models.other.folder: folder ~nouser/model does not exist",
        "catalogue.datasets.own.folder: environment variable NOWHERE is not set",
        "catalogue.datasets.embedded.folder: the package brings no 'embedded:../..'",
        "model theirs (someone/theirs)",
        "export NOWHERE=…",
    ):
        assert sum(line in found for found in lines) == 1, line
    assert sum("own.yaml: " in line for line in lines) == 1


def test_wrong_settings_and_names_are_told_with_the_rest(call: Call) -> None:
    arguments = ["--set", "epochs", "--set", "question.x=1", "--set", "training.epochs=[", "--set", "training.batch=0"]
    arguments += ["--model", "gpt", "--model", "bert", "--dataset", "mbpp", "--technique", "lora"]
    lines = refused(call, "study", "quickstart", *arguments).splitlines()
    assert lines[0] == "several things are wrong: "
    for line in (
        "  --set: 'epochs' is not key=value",
        "  --set question.x: 'question' holds no keys",
        "  --set training.epochs: '[' is not a YAML value: line 1, column 2: ",
        "    training.batch: should be greater than 0",
        "  --model: 'gpt', 'bert' are not in the study",
        "  --dataset: 'mbpp' is not in the study",
    ):
        assert sum(found.startswith(line) for found in lines) == 1, line


def test_a_study_that_sets_points_by_technique_lends_its_protocol(call: Call) -> None:
    study = STUDY.replace("own", "snippets") + "protocol: {point: {lora: package}, response_header: answer}\n"
    write_text(Path("own.yaml"), study)
    Path("empty").mkdir()
    ended = call("evaluate", "--study", "own.yaml", "--model", "./empty", "--dataset", "snippets")
    # the protocol is taken: what is refused is the folder without a model, where it is loaded
    assert ended.code == 2 and ended.err.startswith("Loading the model\nraypeft: models.empty: cannot be loaded")


@pytest.mark.parametrize(
    "arguments",
    [
        ["study", "quickstart", "--plan", "--out", "x" * 300],
        ["study", "quickstart", "--plan", "--reuse", "x/" * 3000],
        ["study", "x" * 5000, "--plan"],
        ["study", "quickstart", "--plan", "--scale", "x" * 300],
        ["study", "quickstart", "--plan", "--set", "question=" + "9" * 5000],
        ["study", "quickstart", "--plan", "--model", "x" * 5000],
        ["study", "quickstart", "--plan", "--set", f"models=[./{'x' * 5000}]"],
        ["status", "x" * 300],
        ["evaluate", "--model", "m", "--dataset", "snippets", "--out", "x" * 300],
        ["evaluate", "--model", "m", "--dataset", "snippets", "--adapter", "x" * 5000],
        ["x" * 5000],
    ],
    ids=lambda arguments: " ".join(arguments)[:60],
)
def test_what_is_too_long_is_refused_in_a_short_message(call: Call, arguments: list[str]) -> None:
    ended = call(*arguments)
    assert ended.code == 2 and ended.err.startswith("raypeft: ")
    assert len(ended.err.encode()) < 2_000


def test_a_model_folder_without_a_model(call: Call) -> None:
    Path("empty").mkdir()
    arguments = ["study", "quickstart", "--set", "models=[own]", "--set", "techniques=[full]", "--set"]
    entry = "{title: O, folder: empty, architecture: decoder, family: llama, parameters: 7}"
    assert refused(call, *arguments, f"catalogue.models.own={entry}") == (
        "catalogue.models.own.folder: empty holds no model: there is no config.json"
    )


def test_an_unknown_stage_is_refused_before_anything_is_removed(call: Call) -> None:
    write_text(Path("runs/quickstart/study.yaml"), resolve("quickstart").dump())
    message = refused(call, "study", "quickstart", "--fresh", "--stage", "train")
    assert message == "--stage: unknown stage 'train'\nStages: sweep, test, icl, report"
    assert Path("runs/quickstart/study.yaml").exists()


@pytest.mark.parametrize("fresh", [[], ["--fresh"]])
def test_a_folder_of_something_else_is_left_alone(call: Call, fresh: list[str]) -> None:
    write_text(Path("out/thesis.tex"), "precious")
    message = refused(call, "study", "quickstart", "--out", "out", *fresh)
    assert message == "out: is not empty and holds no run\nChoose another folder with --out."
    assert refused(call, "study", "quickstart", "--out", "out/thesis.tex", *fresh).startswith("out/thesis.tex: is not")
    assert Path("out/thesis.tex").read_text() == "precious"


def begun(folder: Path) -> None:
    write_text(folder / "study.yaml", resolve("quickstart").dump())
    write_text(folder / "manifest.json", "{}")
    write_text(folder / "reports.jsonl", "")


def test_a_changed_study_is_told_key_by_key(call: Call) -> None:
    begun(Path("runs/quickstart"))
    arguments = ["--samples", "2", "--technique", "lora", "--technique", "full", "--set", "early_stopping=null"]
    lines = refused(call, "study", "quickstart", *arguments).splitlines()
    assert lines[0] == "runs/quickstart: holds a run of another version of this study:"
    assert lines[-1] == "Start anew with --fresh, or keep both with another --out."
    assert "  search.trials: was 3, is 2" in lines
    assert "  early_stopping.grace: was 3, is absent" in lines
    assert "  techniques: was ['full', 'lora', 'ia3', 'prompt_tuning', 'prefix_tuning'], is ['full', 'lora']" in lines
    assert "  techniques.ia3.peft: was IA3Config, is absent" in lines
    assert not any("seed" in line for line in lines)


def test_a_run_whose_study_is_broken(call: Call) -> None:
    begun(Path("runs/quickstart"))
    file = Path("runs/quickstart/study.yaml")
    file.write_text(file.read_text().replace("trials: 3", "trials: none"))
    assert refused(call, "study", "quickstart").splitlines() == [
        "runs/quickstart: its study cannot be read",
        "runs/quickstart/study.yaml: ",
        "  study.search.trials: should be a valid integer, unable to parse string as an integer",
        "Start anew with --fresh, or keep both with another --out.",
    ]
    file.write_text("")
    assert "must hold a mapping of keys to values" in refused(call, "study", "quickstart")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["study", "quickstart", "--samples", "0"], "--samples"),
        (["study", "quickstart", "--samples", "many"], "--samples"),
        (["study"], "NAME|FILE"),
        (["study", "quickstart", "--wrong"], "--wrong"),
        (["sweep"], "sweep"),
    ],
)
def test_a_wrong_option(call: Call, arguments: list[str], named: str) -> None:
    ended = call(*arguments)
    assert ended.code == 2
    assert named in ended.err and "Traceback" not in ended.err


def test_what_cannot_be_listed(call: Call) -> None:
    assert refused(call, "list", "runs") == ("cannot list 'runs'\nIt lists models, datasets, techniques or studies.")


def test_a_report_that_cannot_be_written_is_refused_at_once(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(Path("runs/quickstart"))
    monkeypatch.setattr("os.access", lambda path, mode: False)
    monkeypatch.setattr("raypeft.report.write", lambda run: pytest.fail("computed all the same"))
    folder = Path("runs/quickstart/report").resolve()
    message = refused(call, "report", "quickstart")
    assert message == f"{folder}: cannot be written\nCopy the run, and report on the copy."


@pytest.mark.parametrize("verb", ["status", "trials", "report", "dashboard", "recommend"])
def test_what_may_not_be_read_is_told_in_a_line(call: Call, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    begun(Path("runs/quickstart"))

    def denied(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", denied)
    assert refused(call, verb, "quickstart") == "quickstart/study.yaml: Permission denied"
