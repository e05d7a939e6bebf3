"""Mutated data files, and commands that read them."""

import gzip
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from random import Random

from tests.fuzz import data_files
from tests.fuzz.case import Case, emptied
from tests.fuzz.data_files import SUFFIXES, Lay
from tests.fuzz.parquet_files import large_parquet

STUDY = """\
question: Which?
models: [tiny-decoder]
datasets: [mine]
techniques: [lora]
early_stopping: null
catalogue: {datasets: {mine: {title: Mine, folder: data%s}}}
"""
SPLITS = ("train", "validation", "test")
NAMES = [*SPLITS, "valid", "dev", "val", "other"]
COLUMNS = ["nl", "cmd", "id", "other", "", "\x1b[31m", "x" * 3000, "when", "\udcff"]


def cases(seed: int, folder: Path) -> Iterator[Case]:
    """Checks, plans, evaluations and builds with files whose rows, bytes or kind are not what they should be."""
    for module in ("raypeft.data.encoding", "raypeft.modeling.source", "raypeft.evaluation.given"):
        import_module(module)  # outside of a command's time
    random = Random(f"data {seed}")
    makers = [_rows, _rows, _bytes, _bytes, _kind, _built]
    while True:
        yield _heavy(random, folder) if random.random() < 0.004 else random.choice(makers)(random, folder)


def _rows(random: Random, folder: Path) -> Case:
    suffix = _suffix(random)
    found = data_files.rows(random)
    for _ in range(random.choice([1, 1, 2, 4, 30])):
        data_files.change(found, random)
    return _case(f"rows of .{suffix}", random, folder, suffix, _file(_packed(_plain(found, suffix, random), suffix)))


def _bytes(random: Random, folder: Path) -> Case:
    suffix = _suffix(random)
    plain = _plain(data_files.rows(random), suffix, random)
    if random.random() < 0.5:
        plain = data_files.damaged(_packed(plain, suffix), random)
    else:
        plain = _packed(data_files.damaged(plain, random), suffix)
    return _case(f"bytes of .{suffix}", random, folder, suffix, _file(plain))


def _kind(random: Random, folder: Path) -> Case:
    suffix = random.choice(
        [_suffix(random), "xlsx", "JSONL", "jsonl.zst", "jsonl.bz2", "jsonl.xz", "parquet.gz", "gz", ""]
    )
    lay = random.choice(
        [
            data_files.something_else(random),
            data_files.something_else(random),
            _file(b""),
            _file(_packed(b"", "gz")),
            _file(_plain(data_files.rows(random), random.choice(SUFFIXES), random)),
        ]
    )
    return _case(f"kind of .{suffix}", random, folder, suffix, lay)


def _heavy(random: Random, folder: Path) -> Case:
    if random.random() < 0.5:
        suffix = random.choice(["jsonl.gz", "json.gz", "csv.gz", "tsv.gz"])
        return _case(f"bomb of .{suffix}", random, folder, suffix, _file(data_files.bomb(random)))
    large = large_parquet(*random.choice([(10, 3_000_000), (10**7, 100_000), (10**6, 10_000)]))
    return _case("bomb of .parquet", random, folder, "parquet", _file(large))


def _built(random: Random, folder: Path) -> Case:
    suffix = _suffix(random)
    found = data_files.rows(random)
    for row in found:
        row.update(instruction=row["nl"], input="", output=row["cmd"])
    for _ in range(random.choice([0, 1, 4])):
        data_files.change(found, random)
        row = random.choice(found)
        if isinstance(row, dict):
            row["output" if random.random() < 0.5 else "instruction"] = random.choice(data_files.TEXTS)
    plain = _packed(_plain(found, suffix, random), suffix)
    if random.random() < 0.3:
        plain = data_files.damaged(plain, random)
    lay = data_files.something_else(random) if random.random() < 0.1 else _file(plain)
    out = random.choice(
        [[], ["--out", "new"], ["--out", "a/b/c"], ["--out", "data"], ["--out", "x" * 300], ["--out", ""]]
    )
    arguments = ["data", "build", "codealpacapy", f"data/train.{suffix}", *out]
    return _laid(f"build from .{suffix}", arguments, folder, {f"train.{suffix}": lay}, STUDY % "")


def _suffix(random: Random) -> str:
    return random.choice(SUFFIXES) + random.choice(["", "", "", ".gz"])


def _plain(found: data_files.Rows, suffix: str, random: Random) -> bytes:
    return data_files.content(found, suffix.removesuffix(".gz"), random)


def _packed(content: bytes, suffix: str) -> bytes:
    return gzip.compress(content, 1, mtime=0) if suffix.endswith("gz") else content


def _file(content: bytes) -> Lay:
    return lambda path: path.write_bytes(content) and None


def _case(label: str, random: Random, folder: Path, suffix: str, lay: Lay) -> Case:
    """A command that reads a file: by itself, or as a split beside others that are right."""
    split = random.choice(SPLITS)
    stem = random.choice(NAMES) if random.random() < 0.2 else split
    name = f"{stem}.{suffix}" if suffix else stem
    named = json.dumps({split: name})
    further = random.choice(["", "", f", files: {named}", ", columns: {intent: [ask, nl], code: cmd, id: [key, id]}"])
    right = "".join(f'{{"nl": "do {number}", "cmd": "x"}}\n' for number in range(60)).encode()
    laid = {f"{other}.jsonl": _file(right) for other in SPLITS if other != split} | {name: lay}
    plan = ["study", "study.yaml", "--plan"]
    arguments = random.choice(
        [
            ["data", "check", f"data/{name}"],
            ["data", "check", "data"],
            ["data", "check", "data", "--json"],
            ["data", "check", f"data/{name}", *_columns(random)],
            ["data", "check", f"data/{name}", "--model", "tiny-decoder"],
            plan,
            plan,
            ["evaluate", "--study", "study.yaml", "--model", "./model", "--dataset", "mine", "--split", split],
        ]
    )
    return _laid(label, arguments, folder, laid, STUDY % further)


def _columns(random: Random) -> list[str]:
    return [part for option in ("--intent", "--code", "--id") for part in (option, random.choice(COLUMNS))]


def _laid(label: str, arguments: list[str], folder: Path, files: dict[str, Lay], study: str) -> Case:
    place = folder / "here"

    def prepare() -> None:
        emptied(place)
        (place / "study.yaml").write_text(study)
        (place / "model").mkdir()
        (place / "model" / "config.json").write_text('{"model_type": "gpt2"}')
        (place / "data").mkdir()
        for name, lay in files.items():
            lay(place / "data" / name)

    return Case(label, arguments, place, prepare)
