"""Names and paths that are hard to take: of studies, techniques, models, data sets, runs and options."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.fuzz.case import Case, emptied
from tests.fuzz.trees import document

NAMES = [
    *(
        "",
        " ",
        ".",
        "..",
        "...",
        "/",
        "//",
        "~",
        "~nouser",
        "~nouser/x",
        "../x",
        "a/b",
        "a/b/c",
        "/etc/passwd",
        "-",
        "--",
    ),
    *(
        "...yaml",
        ".yaml",
        "a.yaml",
        "a.yml",
        "a·b",
        "a·b.yaml",
        "a\nb",
        "a\nb.yaml",
        "a\tb",
        "a b",
        "a\x1b[31mb",
        "a\x7f",
    ),
    *(
        "x" * 255,
        "x" * 256,
        "x" * 300,
        "x" * 250 + ".yaml",
        "é" * 127,
        "é" * 200,
        "x/" * 2500,
        "x" * 5000,
        "\ud800",
        "\udcff",
    ),
    *(
        "\u202eevil",
        "[bold]red[/bold]",
        "%s",
        "{0}",
        "$HOME",
        "${HOME}",
        "${UNSET_VARIABLE}",
        "${",
        "con",
        "nul",
        "a:b",
        "a\\b",
    ),
    *(
        "null",
        "true",
        "1",
        "1e5",
        "010",
        "own",
        "lora",
        "tiny-decoder",
        "snippets",
        "quickstart",
        "embedded:x",
        "é",
        "日本",
        "*",
    ),
    *(
        "?",
        "[",
        "[a",
        "**",
        "**/*",
        "a;b",
        "'",
        '"',
        "`",
        "#",
        "/dev/null",
        "/proc/self/mem",
        "/dev/zero",
        ".hidden",
        "study.yaml",
    ),
]
NUMBERS = [
    "0",
    "-1",
    "1",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "9" * 5000,
    "1_0",
    "٣",
    "",
    "x",
    "0x10",
    "4294967296",
    "1e-320",
]
STUDY = {"question": "Which?", "models": ["tiny-decoder"], "datasets": ["snippets"], "techniques": ["lora"]}
TECHNIQUE = "title: T\npaper: {learning_rate: 0.1}\nsearch: {learning_rate: {choice: [0.1, 0.2]}}\n"


def cases(seed: int, folder: Path) -> Iterator[Case]:
    """Commands with such names as arguments, in studies, and as names of files and folders."""
    random = Random(f"names {seed}")
    makers = [_argument, _argument, _in_study, _in_study, _as_file]
    while True:
        yield random.choice(makers)(random, folder)


def _argument(random: Random, folder: Path) -> Case:
    def name() -> str:
        return random.choice(NAMES)

    def number() -> str:
        return random.choice(NUMBERS)

    verb = random.choice(
        [
            ["study", name(), "--plan"],
            ["study", "study.yaml", "--plan", "--model", name(), "--model", name()],
            ["study", "study.yaml", "--plan", "--dataset", name(), "--technique", name()],
            ["study", "study.yaml", "--plan", "--set", f"{name()}={name()}"],
            ["study", "study.yaml", "--plan", "--set", f"models=[{name()}]"],
            ["study", "study.yaml", "--plan", "--out", name()],
            ["study", "study.yaml", "--plan", "--reuse", name()],
            ["study", "study.yaml", "--plan", "--scale", name()],
            ["study", "study.yaml", "--plan", "--samples", number()],
            ["study", "study.yaml", "--stage", name(), "--plan"],
            ["list", name()],
            ["status", name()],
            ["trials", name()],
            ["trial", name(), name()],
            ["report", name()],
            ["recommend", name(), "--gpu-memory", number()],
            ["generate", name(), name(), name()],
            ["export", name(), name(), name()],
            ["evaluate", "--model", name(), "--dataset", name(), "--study", name()],
            [
                "evaluate",
                "--model",
                "./nothing",
                "--dataset",
                "snippets",
                "--beams",
                number(),
                "--candidates",
                number(),
            ],
            ["evaluate", "--model", "./nothing", "--dataset", "snippets", "--out", name(), "--adapter", name()],
            ["evaluate", "--model", "./nothing", "--dataset", "snippets", "--split", name(), "--quantization", name()],
            ["data", "check", name(), "--study", name()],
            [name(), name()],
        ]
    )
    return _case(f"argument of {verb[0]!r}", verb, folder, document(STUDY), None)


def _in_study(random: Random, folder: Path) -> Case:
    name, other = random.choice(NAMES), random.choice(NAMES)
    study = dict(STUDY)
    where = random.choice(
        ["models", "datasets", "techniques", "model entry", "dataset entry", "group", "folder", "hub"]
    )
    if where in study:
        study[where] = random.choice([[name], [name, other], [name, name]])
    elif where == "group":
        study |= {"models": {name: ["tiny-decoder"]}, "techniques": {name: ["lora"]}}
    elif where == "model entry":
        study |= {"models": [name], "catalogue": {"models": {name: {"title": other, "hub": "a/b"}}}}
    elif where == "dataset entry":
        study |= {"datasets": [name], "catalogue": {"datasets": {name: {"title": other, "folder": "data"}}}}
    elif where == "folder":
        entry = {"title": "T", "folder": name, "files": {"train": other}}
        study |= {"datasets": ["m"], "catalogue": {"datasets": {"m": entry}}}
    else:
        study |= {"models": ["m"], "catalogue": {"models": {"m": {"title": "T", "hub": name, "revision": other}}}}
    return _case(f"{where} in a study", ["study", "study.yaml", "--plan"], folder, document(study), None)


def _as_file(random: Random, folder: Path) -> Case:
    name = random.choice(NAMES)
    kind = random.choice(["technique", "study", "model folder"])
    if kind == "study":
        verb = random.choice([["study", f"./{name}.yaml", "--plan"], ["study", name, "--plan"], ["list", "studies"]])
        return _case("file of a study", verb, folder, document(STUDY), f"{name}.yaml", document(STUDY))
    if kind == "technique":
        study = STUDY | {
            "techniques": [random.choice([name, f"./{name}", f"./{name}.yaml", f"search_spaces/{name}.yaml"])]
        }
        verb = random.choice([["study", "study.yaml", "--plan"]] * 3 + [["list", "techniques"]])
        return _case("file of a technique", verb, folder, document(study), f"{name}.yaml", TECHNIQUE)
    study = STUDY | {"models": [f"./{name}"]}
    return _case(
        "folder of a model", ["study", "study.yaml", "--plan"], folder, document(study), f"{name}/config.json", "{}"
    )


def _case(
    label: str, arguments: list[str], folder: Path, study: str, file: str | None = None, content: str = ""
) -> Case:
    place = folder / "here"

    def prepare() -> None:
        emptied(place)
        (place / "study.yaml").write_bytes(study.encode("utf-8", "surrogatepass"))
        for kind in ("studies", "search_spaces", "."):
            if file and ".." not in file and not file.startswith("/"):
                with suppress(OSError, ValueError):
                    (place / kind / file).parent.mkdir(parents=True, exist_ok=True)
                    (place / kind / file).write_text(content)

    return Case(label, arguments, place, prepare)
