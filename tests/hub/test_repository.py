"""One repository: what is fetched of it, from where, and what a user is told where it cannot be had."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

import pytest

from raypeft.embedded import MODELS, SNIPPETS
from raypeft.errors import UserError
from raypeft.hub.repository import Listing, model_files
from tests.hub.conftest import Ask
from tests.hub.server import Hub, Repository, files

TINY = MODELS["tiny-decoder"]
SIZE = 25 * 1024 * 1024


def listing(*names: str) -> Listing:
    return Listing("model", "a/b", None, "0" * 40, dict.fromkeys(names, 1))


def test_of_a_model_one_format_of_weights_is_fetched_and_last() -> None:
    extra = ("README.md", "tf_model.h5", "flax_model.msgpack", "model.gguf", "onnx/model.onnx", "original/params.json")
    small = ("config.json", "chat_template.jinja", "tokenizer.json", "vocab.json", "merges.txt", "code.py")
    chosen = ["config.json", "chat_template.jinja", "merges.txt", "tokenizer.json", "vocab.json"]
    assert model_files(listing(*extra, *small, "pytorch_model.bin")) == [*chosen, "pytorch_model.bin"]
    both = listing(*extra, *small, "pytorch_model.bin", "model.safetensors", "model.fp16.safetensors")
    assert model_files(both) == [*chosen, "model.safetensors"]
    assert model_files(both, code=True) == [*chosen[:2], "code.py", *chosen[2:], "model.safetensors"]


def test_of_shards_those_of_the_preferred_index_are_fetched() -> None:
    shards = [
        f"{start}-0000{n}-of-00002.{end}"
        for start, end in (("model", "safetensors"), ("pytorch_model", "bin"))
        for n in (1, 2)
    ]
    indexes = ["model.safetensors.index.json", "pytorch_model.bin.index.json"]
    found = model_files(listing("config.json", "tokenizer.model", *indexes, *shards))
    assert found == ["config.json", "tokenizer.model", indexes[0], *shards[:2]]
    found = model_files(listing("config.json", "tokenizer.model", indexes[1], *shards))
    assert found == ["config.json", "tokenizer.model", indexes[1], *shards[2:]]


def test_a_repository_without_a_model_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        model_files(listing("adapter_config.json", "tokenizer.json", "model.gguf"))
    assert str(caught.value) == (
        "model a/b: holds no model for transformers: "
        "config.json, weights as safetensors or pytorch_model.bin is not there"
    )


def test_a_model_is_fetched_once_and_then_found_without_a_request(hub: Hub, ask: Ask, tmp_path: Path) -> None:
    model = hub.model("a/found", TINY)
    model.files |= {"tf_model.h5": b"no", "model.fp16.safetensors": b"no"}
    none, folder = ask(("cached_snapshot", "a/found"), ("model_snapshot", "a/found"))
    assert none is None
    assert Path(folder) == tmp_path / "home" / "hub" / "models--a--found" / "snapshots" / model.commit
    assert files(Path(folder)) == files(TINY)
    hub.requests.clear()
    assert ask(("model_snapshot", "a/found"), ("cached_commit", "a/found"), HF_HUB_OFFLINE="1") == [
        folder,
        model.commit,
    ]
    assert ask(("model_snapshot", "a/found", {"revision": model.commit}), HF_ENDPOINT="http://127.0.0.1:9") == [folder]
    assert [request for request in hub.requests if "a/found" in request[1]] == []


def test_a_file_of_a_data_set(hub: Hub, ask: Ask) -> None:
    convert = "refs/convert/parquet"
    hub.dataset("a/data", SNIPPETS["test"].parent, revisions=("main", convert))
    here = {"kind": "dataset", "revision": convert}
    (file,) = ask(("hub_file", "a/data", "test.jsonl", here))
    assert Path(file).read_bytes() == SNIPPETS["test"].read_bytes()
    hub.datasets.clear()
    assert ask(("hub_file", "a/data", "test.jsonl", here)) == [file]


def test_a_download_that_is_cut_off_goes_on_from_there(hub: Hub, ask: Ask) -> None:
    large = bytes(range(256)) * (SIZE // 256)
    hub.models["a/cut"] = Repository({"large.bin": large}, cuts=1)
    (file,) = ask(("hub_file", "a/cut", "large.bin"))
    assert Path(file).read_bytes() == large
    asked = [(how, part) for how, path, part, _ in hub.requests if path.startswith("/cdn/")]
    # The client keeps what it has in pieces of 10 MiB.
    assert asked == [("GET", None), ("GET", f"bytes={10 * 1024 * 1024}-")]


def test_a_download_that_stays_cut_off_keeps_the_files_before_it(hub: Hub, ask: Ask) -> None:
    model = hub.model("a/cut", TINY, cuts=100)
    ((cause, text),) = ask(("model_snapshot", "a/cut"))
    assert cause == "cut"
    assert text.splitlines() == [
        "model a/cut: the connection was cut off in model.safetensors",
        "The same command goes on from here; finished files are kept.",
    ]
    assert ask(("cached_snapshot", "a/cut")) == [None], "without its weights it is not there"
    hub.requests.clear()
    model.cuts = 0
    (folder,) = ask(("model_snapshot", "a/cut"))
    assert files(Path(folder)) == files(TINY)
    fetched = [path for how, path, _, _ in hub.requests if how == "GET" and not path.startswith("/api/")]
    assert fetched == ["/cdn/models/a/cut/model.safetensors"]


def test_a_download_tells_how_far_it_is_and_ends_when_it_is_interrupted(hub: Hub, environment: dict[str, str]) -> None:
    hub.models["a/slow"] = Repository({"config.json": b"{}", "model.safetensors": bytes(4 * SIZE)}, pace=0.1)
    command = (
        "from raypeft.hub import repository as r; r.TELL_EVERY = 0.2; listing = r.access('a/slow')\n"
        "r.download(listing, list(listing.sizes), lambda done: print(done, flush=True))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", command], env=environment, stdout=PIPE, stderr=PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    assert next(done for line in process.stdout if (done := int(line))) <= SIZE
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    errors = process.communicate(timeout=60)[1]
    assert time.monotonic() - start < 5, "not the ten seconds of the whole file"
    assert errors.rstrip().endswith("KeyboardInterrupt")


def test_what_a_user_is_told(hub: Hub, ask: Ask, tmp_path: Path) -> None:
    hub.model("a/gated", TINY, gated=True)
    hub.model("a/slow", TINY, delay=3)
    hub.model("a/trouble", TINY, trouble=503)
    hub.model("a/busy", TINY, trouble=429)
    hub.model("a/found", TINY)
    snapshot = [("access", f"a/{name}") for name in ("gated", "slow", "trouble", "busy", "missing")]
    login = "hf auth login, or export HF_TOKEN=…"
    assert ask(
        *snapshot, ("access", "a/found", {"revision": "v9"}), ("hub_file", "a/found", "no.txt"), ("access", "a b/c")
    ) == [
        ["gated", "model a/gated: is gated, and no account is logged in\n"
                  f"Accept its licence on {hub.url}/a/gated, then: {login}"],
        ["slow", f"model a/slow: {hub.url} did not answer within 1 s\n"
                 "export HF_HUB_ETAG_TIMEOUT=60 HF_HUB_DOWNLOAD_TIMEOUT=60 waits longer."],
        ["unreachable", f"model a/trouble: {hub.url} is in trouble: it answers 503\nTry again later."],
        ["refused", f"model a/busy: the hub has had too many requests (429)\nWait some minutes, or: {login}"],
        ["missing", f"model a/missing: does not exist on {hub.url}, or is private\n"
                    f"Check its name. For a private one: {login}"],
        ["missing", f"model a/found: has no such revision\nIts branches and tags stand on {hub.url}/a/found"],
        ["missing", f"model a/found: has no file no.txt\nIts files: {hub.url}/a/found/tree/main"],
        ["missing", "model a b/c: 'a b/c' is not a name of the hub\nNames are organisation/name."],
    ]  # fmt: skip


def test_a_token_opens_a_gated_repository_once_it_is_granted(hub: Hub, ask: Ask) -> None:
    model = hub.model("a/gated", TINY, gated=True)
    ((cause, text),) = ask(("model_snapshot", "a/gated"), HF_TOKEN=hub.token)
    assert (cause, text.splitlines()) == (
        "gated",
        ["model a/gated: is gated, and this account has no access yet", f"Accept its licence on {hub.url}/a/gated"],
    )
    ((cause, text),) = ask(("access", "a/gated"), HF_TOKEN="hf_old")
    assert (cause, text.splitlines()) == (
        "refused",
        [
            "model a/gated: the hub does not accept the token (401)",
            "Renew it: hf auth login, or export HF_TOKEN=…",
        ],
    )
    model.granted = True
    (folder,) = ask(("model_snapshot", "a/gated"), HF_TOKEN=hub.token)
    assert files(Path(folder)) == files(TINY)
    assert {authorised for _, path, _, authorised in hub.requests if path.startswith("/cdn/")} == {False}


def test_without_a_hub(hub: Hub, ask: Ask, environment: dict[str, str]) -> None:
    cache = f"{environment['HF_HOME']}/hub"
    assert ask(("model_snapshot", "a/b"), HF_HUB_OFFLINE="1") == [
        ["offline", f"model a/b: is not in the cache {cache}, and HF_HUB_OFFLINE is set\nUnset it, or fetch it before."]
    ]
    ((cause, text),) = ask(("model_snapshot", "a/b"), HF_ENDPOINT="http://127.0.0.1:9")
    assert cause == "unreachable"
    assert text.startswith("model a/b: http://127.0.0.1:9 cannot be reached: ")
    ((cause, text),) = ask(("access", "a/b"), HF_ENDPOINT=f"{hub.url}/elsewhere")
    assert (cause, text.splitlines()[0]) == (
        "refused",
        "model a/b: the hub answers 404: no such page: /elsewhere/api/models/a/b",
    )


def test_a_cache_that_cannot_be_written(hub: Hub, ask: Ask, tmp_path: Path) -> None:
    hub.model("a/found", TINY)
    (tmp_path / "file").write_text("")
    ((cause, text),) = ask(("model_snapshot", "a/found"), HF_HOME=str(tmp_path / "file"))
    assert (cause, text.splitlines()) == (
        "disk",
        [f"model a/found: the cache {tmp_path}/file/hub cannot be used: Not a directory", "HF_HOME names another."],
    )


def test_an_index_is_complete_with_all_its_shards(hub: Hub, ask: Ask) -> None:
    shards = {f"model-0000{number}-of-00002.safetensors": b"weights" * number for number in (1, 2)}
    index = json.dumps({"weight_map": dict(zip("ab", shards, strict=True))}).encode()
    small = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors.index.json": index}
    model = hub.models["a/sharded"] = Repository(small | shards, cuts=0)
    del model.files["model-00002-of-00002.safetensors"]
    (folder,) = ask(("model_snapshot", "a/sharded"))
    assert ask(("cached_snapshot", "a/sharded")) == [None]
    (Path(folder) / "model-00002-of-00002.safetensors").write_bytes(b"weights")
    assert ask(("cached_snapshot", "a/sharded")) == [folder]
