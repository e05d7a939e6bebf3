"""raypeft fetch, and a study's start, against every way a hub answers."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from raypeft.embedded import MODELS, SNIPPETS
from raypeft.output.files import read_json, write_text
from raypeft.output.text import size
from tests.hub.server import Hub

TINY = MODELS["tiny-decoder"]
STUDY = """\
question: Which?
models: [{models}]
datasets: [data]
techniques: [lora]
catalogue:
  models: {{{entries}}}
  datasets: {{data: {{title: Data, hub: a/data, max_code_tokens: 32}}}}
training: {{epochs: 1, evaluate_every: 1}}
search: {{trials: 1}}
early_stopping: null
data: {{train: 20, validation: 4, test: 3}}
validation: {{em_items: 2}}
"""
Raypeft = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def raypeft(environment: dict[str, str], tmp_path: Path) -> Raypeft:
    """Function (arguments…, variables…) -> how `raypeft arguments…` ended, in a process of its own."""

    def raypeft(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "raypeft", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment | variables, capture_output=True, text=True, timeout=300
        )
        assert "Traceback" not in done.stderr
        return done

    return raypeft


def own_study(folder: Path, *models: str) -> str:
    entries = ", ".join(f"{model}: {{title: {model}, hub: a/{model}}}" for model in models)
    write_text(folder / "own.yaml", STUDY.format(models=", ".join(models), entries=entries))
    return "own.yaml"


@pytest.fixture
def served(hub: Hub) -> Hub:
    """A hub with a model and a data set of each kind."""
    hub.dataset("a/data", SNIPPETS["test"].parent)
    hub.model("a/found", TINY)
    hub.model("a/cut", TINY, cuts=1)
    hub.model("a/broken", TINY, cuts=100)
    hub.model("a/gated", TINY, gated=True)
    hub.model("a/slow", TINY, delay=3)
    hub.model("a/trouble", TINY, trouble=502)
    return hub


ALL = ("found", "broken", "gated", "slow", "trouble", "missing", "cut")


def test_what_fails_does_not_keep_the_others_back(served: Hub, raypeft: Raypeft, tmp_path: Path) -> None:
    done = raypeft("fetch", own_study(tmp_path, *ALL))
    assert done.returncode == 2
    lines = done.stdout.splitlines()
    assert "model found (a/found): to be fetched, 2 MB" in lines
    assert "model gated (a/gated): is gated, and no account is logged in" in lines
    assert any(line.startswith("dataset data (a/data): 110 kB in ") for line in lines)
    assert any(line.startswith("model cut (a/cut): 2 MB in ") for line in lines)
    assert done.stderr == (
        "raypeft: own: 5 of its 8 models and data sets on the hub could not be fetched\n"
        "  model gated (a/gated)\n"
        "      is gated, and no account is logged in\n"
        f"      Accept its licence on {served.url}/a/gated, then: hf auth login, or export HF_TOKEN=…\n"
        "  model slow (a/slow)\n"
        f"      {served.url} did not answer within 1 s\n"
        "      export HF_HUB_ETAG_TIMEOUT=60 HF_HUB_DOWNLOAD_TIMEOUT=60 waits longer.\n"
        "  model trouble (a/trouble)\n"
        f"      {served.url} is in trouble: it answers 502\n"
        "      Try again later.\n"
        "  model missing (a/missing)\n"
        f"      does not exist on {served.url}, or is private\n"
        "      Check its name. For a private one: hf auth login, or export HF_TOKEN=…\n"
        "  model broken (a/broken)\n"
        "      the connection was cut off in model.safetensors\n"
        "      The same command goes on from here; finished files are kept.\n"
        "The same command goes on; what was fetched is kept.\n"
    )
    for model in ("gated", "trouble", "broken"):
        served.models[f"a/{model}"] = served.models["a/found"]
    served.requests.clear()
    done = raypeft("fetch", "own.yaml", *(f"--model={model}" for model in ALL if model not in ("slow", "missing")))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Every model and data set of own is here.\n")
    large = [path for how, path, _, _ in served.requests if how == "GET" and path.startswith("/cdn/")]
    assert large == [f"/cdn/models/a/{model}/model.safetensors" for model in ("broken", "gated", "trouble")]


def test_a_study_starts_nothing_when_something_cannot_be_had(served: Hub, raypeft: Raypeft, tmp_path: Path) -> None:
    done = raypeft("study", own_study(tmp_path, "found", "gated"))
    assert (done.returncode, done.stdout) == (2, "")
    cache = tmp_path / "home" / "hub"
    assert done.stderr == (
        "raypeft: own: not all of its models and data sets can be had, so nothing was started\n"
        "  model gated (a/gated)\n"
        "      is gated, and no account is logged in\n"
        f"      Accept its licence on {served.url}/a/gated, then: hf auth login, or export HF_TOKEN=…\n"
        f"To go on, while the cache is {cache}:\n"
        "  raypeft fetch STUDY    where there is a network; bring that cache here, and let HF_HOME name its parent\n"
        "  RAYPEFT_DATA=FOLDER    for data sets as files in FOLDER/<dataset>/\n"
        "  folder: …              instead of hub: for an entry under catalogue: in the study\n"
        "  --model, --dataset     for a part of the study\n"
    )
    assert not (tmp_path / "runs" / "own" / "manifest.json").exists()
    assert not cache.exists(), "nothing has been fetched either"


def test_without_a_hub_one_message_names_everything(raypeft: Raypeft, tmp_path: Path) -> None:
    file = tmp_path / own_study(tmp_path, "one", "two")
    file.write_text(file.read_text().replace("hub: a/two", "hub: a/two, gated: true"))
    for variables in ({"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}):
        done = raypeft("study", "own.yaml", **variables)
        assert (done.returncode, done.stdout) == (2, "")
        head, *named, reason, _ = done.stderr.split("To go on")[0].splitlines()
        assert head == "raypeft: own: not all of its models and data sets can be had, so nothing was started"
        assert named == ["  model one (a/one)", "  model two (a/two, gated)", "  dataset data (a/data)"]
        assert ("cannot be reached" if "HF_ENDPOINT" in variables else "HF_HUB_OFFLINE is set") in reason
    assert raypeft("fetch", "own.yaml", HF_HUB_OFFLINE="1").returncode == 2


def test_too_little_room_is_told_before_anything_is_fetched(served: Hub, raypeft: Raypeft, tmp_path: Path) -> None:
    own_study(tmp_path, "found")
    write_text(
        tmp_path / "sitecustomize.py",
        "import shutil\nshutil.disk_usage = lambda path: shutil._ntuple_diskusage(9, 8, 1000)\n",
    )
    done = raypeft("fetch", "own.yaml", PYTHONPATH=f"{tmp_path}:{':'.join(sys.path)}")
    assert done.returncode == 2
    assert done.stderr == (
        f"raypeft: 2 MB are to be fetched, and 1 kB are free in {tmp_path}/home/hub\n"
        "Make room, set HF_HOME to a larger disk, or leave models out with --model.\n"
    )
    assert [path for how, path, _, _ in served.requests if how == "GET" and "resolve" in path] == []


@pytest.mark.slow(minutes=1)
def test_a_run_keeps_to_the_revision_it_began_with(served: Hub, raypeft: Raypeft, tmp_path: Path) -> None:
    study = ["study", own_study(tmp_path, "cut")]
    model, data = served.models["a/cut"], served.datasets["a/data"]
    began, commits = model.commit, {"models": {"cut": model.commit}, "datasets": {"data": data.commit}}
    done = raypeft(*study, "--stage", "sweep")
    assert (done.returncode, done.stderr) == (0, "")
    run = tmp_path / "runs" / "own"
    assert read_json(run / "manifest.json")["revisions"] == commits
    adapter = read_json(run / "cells" / "cut" / "data" / "lora" / "best" / "adapter_config.json")
    assert adapter["base_model_name_or_path"] == "a/cut"
    assert len([1 for how, path, _, _ in served.requests if path == "/api/models/a/cut"]) == 1, "by the driver alone"

    model.files["config.json"] += b"\n"
    data.files["test.jsonl"] = data.files["train.jsonl"]
    for repository, moved in (("models--a--cut", model.commit), ("datasets--a--data", data.commit)):
        write_text(tmp_path / "home" / "hub" / repository / "refs" / "main", moved)
    served.requests.clear()
    done = raypeft(*study, "--stage", "test")
    assert (done.returncode, done.stderr) == (0, "")
    assert [request for request in served.requests if request[1] != "/api/agent-harnesses"] == []
    assert (run / "cells" / "cut" / "data" / "lora" / "test.json").exists()

    done = raypeft(*study, HF_HOME=str(tmp_path / "elsewhere"))
    assert done.returncode == 2
    assert f"  model cut (a/cut, {began})\n      has no such revision" in done.stderr


def test_bytes_are_shown_in_decimal_units() -> None:
    assert [size(count) for count in (0, 999, 1000, 891_700_000, 999_600_000, 13.48e9)] == [
        "0 B",
        "999 B",
        "1 kB",
        "892 MB",
        "1.0 GB",
        "13.5 GB",
    ]
