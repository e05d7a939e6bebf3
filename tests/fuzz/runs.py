"""Run folders with damaged files, exchanged ones, or none: of a finished run, an interrupted one and an older one."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from raypeft.output.files import append_line, write_json, write_lines, write_text
from raypeft.runs.checkpoints import seal
from raypeft.runs.folder import Run
from raypeft.runs.ledger import Ledger, remaining
from raypeft.runs.manifest import write_manifest
from raypeft.runs.records import Message, State
from raypeft.spec.resolve import resolve
from raypeft.sweep.searcher import CellSearcher
from tests.completed import SETTINGS, complete
from tests.fuzz.case import Case, emptied
from tests.sweep.test_searcher import finish

TECHNIQUES = ("lora", "ia3")
TRIALS = 16
STUDY = ["study", "quickstart", "--model", "tiny-decoder", "--samples", str(TRIALS), "--no-reuse", "--out", "run"]
STUDY += [argument for name in TECHNIQUES for argument in ("--technique", name)]
STUDY += [argument for setting in SETTINGS for argument in ("--set", setting)]
STUDY += ["--stage", "report"]  # what goes before it mends the folder; the others need Ray
READERS = [
    [*STUDY[:-2], "--plan"],
    *(["status", "run"], ["status", "run", "--json"], ["trials", "run"], ["trials", "run", "--json"]),
    *(["trial", "run", "lora/0"], ["trial", "run", "ia3/3", "--json"], ["dashboard", "run"]),
    *(
        ["recommend", "run"],
        ["recommend", "run", "--gpu-memory", "0.1", "--json"],
        ["report", "run", "--format", "peft"],
    ),
]
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 17, 2**31, 2**53 + 1, 2**64, -0.5, 0.1, 1e30, 1e308, -1e308, 1e-320),
    *("", "x", "1", "lora", "tiny-decoder/snippets/ia3", "tiny-decoder·ia3·snippets·001", "../..", "/etc/passwd"),
    *("\x1b[31m", "\u202e", "x" * 5000, "finished", "nan", "running", "paused", [], {}, [[]], [{}], {"a": 1}, [1, "a"]),
]
TEXTS = [
    *("", "\n", "null", "{}", "[]", "17", '"x"', "{", "}", "NaN", "Infinity", "1e999", "9" * 5000, "[" * 5000, "\x00"),
    *('{"a": ' * 3000 + "1" + "}" * 3000, '"\\ud800"', "\ufeff{}", "{'a': 1}", "# comment", "true", "-", "\u2028"),
]


def cases(seed: int, folder: Path) -> Iterator[Case]:
    """Commands on run folders with one to three changes, without end."""
    bases = [make(emptied(folder / name)) for name, make in (("finished", _finished), ("interrupted", _interrupted))]
    emptied(folder / "elsewhere")
    bases.append(_older(bases[0], folder / "older"))
    place, number = folder / "case", 0
    while True:
        random = Random(f"{seed}/{number}")
        base, number = random.choice(bases), number + 1
        arguments = random.choice(READERS) if random.random() < 0.85 else random.choice([["report", "run"], STUDY])
        changes = [_change(base, random) for _ in range(random.choice([1, 1, 1, 2, 3]))]
        yield Case(
            label=f"{base.name}: {'; '.join(label for label, _ in changes)}",
            arguments=list(arguments),
            cwd=place,
            prepare=_laid(base, place, [change for _, change in changes]),
            allowed=frozenset({0, 2, 3} if arguments is STUDY else {0, 2}),
        )


Change = Callable[[Path], None]


def _laid(base: Path, place: Path, changes: list[Change]) -> Callable[[], None]:
    def prepare() -> None:
        shutil.copytree(base, emptied(place) / "run", symlinks=True)
        for change in changes:
            change(place / "run")

    return prepare


def _finished(folder: Path) -> Path:
    run = _started(folder)
    complete(run)
    write_manifest(run)
    run.note("its worker died", trial=run.plan.cells[0].trial_name(1))
    run.fail(run.test_file(run.plan.cells[1]), State.ERROR, "Traceback (most recent call last):\nValueError: no")
    write_json(run.dashboard_file, {"url": "http://127.0.0.1:9", "host": "x", "session": None, "token_file": None})
    return folder


def _interrupted(folder: Path) -> Path:
    """Half of the trials have ended, and one more has reported."""
    run = _started(folder)
    write_manifest(run)
    ledger = Ledger(run)
    searcher = CellSearcher(run.plan, ledger, run.folder)
    searcher.enqueue(remaining(run.plan, ledger)[: TRIALS + 1])
    for _ in range(TRIALS):
        finish(searcher, ledger, _suggested(searcher))
    config, row = _suggested(searcher), ledger.history[-1]
    own = {"trial": config["trial"], "cell": config["cell"], "number": config["number"]}
    append_line(run.reports_file, {**row.content(), **own, "hyperparameters": config["hyperparameters"]})
    checkpoint = run.trial_folder(config["trial"]) / f"checkpoint-{row.report}"
    write_text(checkpoint / "adapter_model.safetensors", config["trial"])
    scores = {"report", "validation_loss", "em10", "em10_computed"}
    seal(checkpoint, Message(**row.model_dump(include=scores, by_alias=False)))
    write_text(run.stop_file, "SIGTERM")
    return folder


def _suggested(searcher: CellSearcher) -> dict[str, Any]:
    config = searcher.suggest("id")
    assert isinstance(config, dict)
    return config


def _older(finished: Path, folder: Path) -> Path:
    """The finished run as it was written before records had versions."""
    shutil.copytree(finished, emptied(folder), dirs_exist_ok=True)
    new = ("format", "predictions_sha256", "job", "study")
    for file in folder.rglob("*.json"):
        if "trials" not in file.parts:
            write_json(file, {key: value for key, value in json.loads(file.read_bytes()).items() if key not in new})
    for file in folder.rglob("*.jsonl"):
        rows = [json.loads(line) for line in file.read_bytes().splitlines()]
        write_lines(file, [{key: value for key, value in row.items() if key not in new} for row in rows])
    return folder


def _started(folder: Path) -> Run:
    run = Run(folder)
    resolved = resolve("quickstart", models=["tiny-decoder"], techniques=TECHNIQUES, trials=TRIALS, settings=SETTINGS)
    write_text(run.study_file, resolved.dump())
    return run


def _change(base: Path, random: Random) -> tuple[str, Change]:
    """What is changed, in words, and what changes it."""
    files = sorted(path.relative_to(base) for path in base.rglob("*") if path.is_file())
    told = [path for path in files if "trials" not in path.parts]  # checkpoints are many, and sealed
    path = random.choice(told if random.random() < 0.9 else files)
    kind = random.choice([_text, _text, _tree, _tree, _tree, _tree, _lines, _other, _stranger])
    label, change = kind(base, path, files, random)
    return f"{path} {label}", change


def _text(base: Path, path: Path, files: list[Path], random: Random) -> tuple[str, Change]:
    content = (base / path).read_bytes()
    at = random.randrange(len(content) + 1)
    to = min(len(content), at + random.choice([1, 1, 5, 50, 500]))
    piece = random.choice(TEXTS).encode("utf-8", "surrogatepass")
    flipped = bytes([content[at] ^ (1 << random.randrange(8))]) if at < len(content) else b"\xff"
    label, new = random.choice(
        [
            ("emptied", b""),
            ("cut off", content[:at]),
            ("without its start", content[at:]),
            ("without a piece", content[:at] + content[to:]),
            ("with a flipped bit", content[:at] + flipped + content[at + 1 :]),
            ("with something put in", content[:at] + piece + content[at:]),
            ("replaced", piece),
            ("all zero", bytes(len(content))),
            ("no UTF-8", content[:at] + b"\xff\xfe\x80" + content[at:]),
        ]
    )
    return label, lambda folder: _put(folder / path, new)


def _tree(base: Path, path: Path, files: list[Path], random: Random) -> tuple[str, Change]:
    """One value of a JSON file, or of one of its lines."""
    content = (base / path).read_bytes()
    lines = content.splitlines() if path.suffix in (".jsonl", ".log") else [content]
    at = random.randrange(len(lines)) if lines else 0
    try:
        tree = json.loads(lines[at])
    except (ValueError, IndexError):
        return _text(base, path, files, random)
    holder, key = random.choice(list(_places(tree)) or [([tree], 0)])
    label = f"line {at + 1}, {key!r:.40} "
    kind = random.randrange(6)
    if kind == 0:
        del holder[key]
        label += "removed"
    elif kind == 1 and isinstance(holder, dict):
        holder[random.choice(["x", "", "format", "trial", "em@10"])] = holder.pop(key)
        label += "renamed"
    else:
        holder[key] = random.choice(VALUES)
        label += f"made {holder[key]!r:.40}"
    lines[at] = json.dumps(tree).encode()
    return label, lambda folder: _put(folder / path, b"\n".join(lines) + b"\n")


def _lines(base: Path, path: Path, files: list[Path], random: Random) -> tuple[str, Change]:
    lines = (base / path).read_bytes().splitlines()
    at, to = sorted(random.randrange(len(lines) + 1) for _ in range(2))
    text = random.choice(TEXTS).encode("utf-8", "surrogatepass")
    label, new = random.choice(
        [
            ("without some lines", lines[:at] + lines[to:]),
            ("with lines twice", lines + lines[at:to]),
            ("in another order", random.sample(lines, len(lines))),
            ("with another line", [*lines[:at], text, *lines[at:]]),
            ("with another line in place of one", [*lines[:at], text, *lines[at + 1 :]]),
            ("with other lines", [text] * len(lines)),
        ]
    )
    return label, lambda folder: _put(folder / path, b"\n".join(new) + b"\n")


def _other(base: Path, path: Path, files: list[Path], random: Random) -> tuple[str, Change]:
    like = [one for one in files if one.suffix == path.suffix and one != path] or files
    other = random.choice(like if random.random() < 0.7 else files)
    content = (base / other).read_bytes()
    return f"in place of it {other}", lambda folder: _put(folder / path, content)


def _stranger(base: Path, path: Path, files: list[Path], random: Random) -> tuple[str, Change]:
    """Something that is no file, in the place of a file or of one of the folders that it lies in."""
    place = random.choice([path, path, path, *list(path.parents)[:-1]])
    other = random.choice(files)
    label, lay = random.choice(
        [
            ("gone", lambda where: None),
            ("a folder", lambda where: (where / "x").mkdir(parents=True)),
            ("a pipe", lambda where: os.mkfifo(where)),
            ("a link to nothing", lambda where: where.symlink_to("nothing")),
            ("a link to itself", lambda where: where.symlink_to(where.name)),
            ("a link to /dev/zero", lambda where: where.symlink_to("/dev/zero")),
            ("a link to a folder", lambda where: where.symlink_to(base.parent / "elsewhere")),
            (f"a link to {other}", lambda where: where.symlink_to(base / other)),
            ("a file", lambda where: where.write_text("x")),
        ]
    )

    def change(folder: Path) -> None:
        _remove(folder / place)
        if (folder / place).parent.is_dir():
            lay(folder / place)

    return f"({place}) {label}", change


def _put(path: Path, content: bytes) -> None:
    """Write a file, where an earlier change has not put something else in the place of its folders."""
    if not path.parent.is_dir() or any(parent.is_symlink() for parent in path.parents):
        return
    _remove(path)
    path.write_bytes(content)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.parent.is_dir() and not path.parent.is_symlink():
        path.unlink(missing_ok=True)


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in list(children):
        yield node, key
        yield from _places(child)
