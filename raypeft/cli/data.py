"""raypeft data: check a data set, and build one from its source."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.progress import track

from raypeft.cli.arguments import JsonOption
from raypeft.data.build import KEPT, SEED, build_codealpacapy, write_splits
from raypeft.data.check import Findings, Leak, Shortened, SplitFindings, check
from raypeft.data.rows import shown
from raypeft.data.sources import find_file
from raypeft.errors import UserError
from raypeft.output.console import echo, echo_json, echo_lines, terminal
from raypeft.output.text import one_line
from raypeft.spec.catalogue import DATA_VARIABLE, SPLITS, Catalogue, DatasetEntry, Split, shipped_catalogue
from raypeft.spec.checking import direct_models, is_direct
from raypeft.spec.protocol import Protocol
from raypeft.spec.values import quoted, shortened

_SHOWN = 8
_LEAKS = {
    "pair": ("pair of intent and code", "pairs of intent and code"),
    "intent": ("intent", "intents"),
    "origin": ("origin", "origins"),
}

data = typer.Typer(
    help="Check a data set, or build one from its source.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@data.command("check")
def check_(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE|FOLDER", help="a known data set, a file, or a folder")],
    intent: Annotated[str | None, typer.Option(help="column of intents (default nl)")] = None,
    code: Annotated[str | None, typer.Option(help="column of code (default cmd)")] = None,
    id_: Annotated[
        str | None, typer.Option("--id", help="column of identifiers (default: the number of the row)")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="count what is over the token limits by the tokenizer of this model")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look for rows that are null, empty, repeated or shared by splits, and for texts over the token limits.

    What is found is counted and named; the exit code is 0 whatever is found.
    """
    try:
        datasets, name, splits = _datasets(name)
    except ValidationError as error:
        raise UserError("has a name that no data set can have", where=shortened(name), hint="Rename it.") from error
    given = {part: column for part, column in (("intent", intent), ("code", code), ("id", id_)) if column is not None}
    entry = datasets[name]
    if given and entry.join is None:
        datasets[name] = entry.model_copy(update={"columns": {**entry.columns, **given}})
    found = check(datasets, name, splits, _shortened(model, entry) if model else None)
    if as_json:
        echo_json(asdict(found))
        return
    echo_lines(_lines(found, datasets[name]))


@data.command("build")
def build(
    name: Annotated[str, typer.Argument(metavar="codealpacapy", help="what to build")],
    source: Annotated[Path, typer.Argument(metavar="FILE", help="CodeAlpaca-20k: instruction, input and output")],
    out: Annotated[Path | None, typer.Option(help="folder of the splits (default ./codealpacapy)")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the split")] = SEED,
) -> None:
    """Build CodeAlpacaPy from CodeAlpaca-20k by the paper's rule, with a split of its own."""
    if name != "codealpacapy":
        raise UserError(f"cannot build '{name}'", hint="It builds codealpacapy.")
    console = terminal(stderr=True)
    built = build_codealpacapy(
        source,
        seed,
        lambda rows: track(rows, "Reading rows", console=console, transient=True, disable=not console.is_terminal),
    )
    folder = out or Path(name)
    write_splits(folder, built.splits)
    sizes = ", ".join(f"{len(items):,} {split}" for split, items in built.splits.items())
    echo(f"{built.rows:,} rows, {built.kept:,} of them without input and with an output that is Python")
    for item in built.blank:
        echo(f"Dropped for its blank output: {one_line(item.intent)}")
    if built.longest is not None:
        echo(f"Dropped for its longest output of all: {one_line(built.longest.intent)}")
    echo(f"{sizes} in {folder}")
    if built.kept != KEPT:
        echo(f"CodeAlpaca-20k gives {KEPT:,} such rows, so this is another version of it.")
    echo("These are not the published splits, only as large: their items lie in other ones.")
    place = folder.resolve()
    exported = f"export {DATA_VARIABLE}={place.parent}" if place.name == name else None
    echo(f"To use them: {exported or f'--set catalogue.datasets.{name}.folder={place}'}")


def _datasets(name: str) -> tuple[dict[str, DatasetEntry], str, list[Split]]:
    """The data sets that are known with the one that is asked for, its name, and the splits that it has."""
    known = dict(shipped_catalogue().datasets)
    if name in known:
        return known, name, list(SPLITS)
    path = Path(os.path.expanduser(name))
    if not name or not os.path.lexists(path):
        raise UserError(
            f"'{shown(name)}' is no data set, file or folder",
            hint=f"Known data sets: {', '.join(shipped_catalogue().datasets)}",
        )
    if not os.path.isdir(path):
        known[path.name] = DatasetEntry(title=path.name, folder=str(path.parent), files={"train": path.name})
        return known, path.name, ["train"]
    called = path.name or path.resolve().name or "data"  # of `.`, or of the root of all folders
    entry = DatasetEntry(title=called, folder=str(path))
    splits: list[Split] = [split for split in SPLITS if find_file(path, entry, split) is not None]
    if not splits:
        raise UserError("holds no train, validation or test file in a format that is read", where=name)
    known[called] = entry
    return known, called, splits


def _shortened(model: str, entry: DatasetEntry) -> Shortened:
    """Counts by the tokenizer of a model: a name of the catalogue, a hub id or a folder."""
    known = shipped_catalogue()
    if is_direct(model):
        names, entries, wrong = direct_models([model], Catalogue())
        if wrong:
            raise UserError(wrong[0], where="--model")
        model, known = names[model], Catalogue(models=entries)
    if model not in known.models:
        raise UserError(f"unknown model {quoted(model)}", where="--model", hint="A hub id or a folder will do too.")

    from raypeft.data.encoding import Limits, encode
    from raypeft.data.prompts import InstructionPrompts
    from raypeft.modeling.source import load_tokenizer

    prompts = InstructionPrompts(*load_tokenizer(model, known.models[model]), Protocol())
    limits = Limits(entry.max_prompt_tokens, entry.max_code_tokens)
    return lambda item: encode(prompts, item, limits).cut


def _lines(found: Findings, entry: DatasetEntry) -> list[str]:
    lines = []
    for split in found.splits:
        size = f"{split.items:,} items{_expected(split)}"
        lines += [size if len(found.splits) == 1 else f"{split.split}: {size}", *_split_lines(split, entry)]
    lines += [_leak_line(leak) for leak in found.leaks]
    if not found.leaks and len(found.splits) > 1:
        lines.append("No split shares a pair, an intent or an origin with another.")
    return lines


def _expected(split: SplitFindings) -> str:
    if split.expected is None:
        return ""
    return ", as expected" if split.items == split.expected else f", but {split.expected:,} are expected"


def _split_lines(split: SplitFindings, entry: DatasetEntry) -> list[str]:
    null = "without intent or code, " + ("so the split is refused" if split.split == "test" else "dropped")
    named = [
        ("null", null, split.incomplete),
        ("blank", "intent or code is empty", split.empty),
        ("repeated", "intent and code of an earlier item", split.repeated),
        ("ids", "of more than one item", split.repeated_ids),
    ]
    if split.shortened is not None:
        limits = {"prompt": entry.max_prompt_tokens, "target": entry.max_code_tokens}
        cut = [
            (f"{part}s", f"over {limits[part]} tokens, cut at the end", ids) for part, ids in split.shortened.items()
        ]
        named += cut
    return [
        *(f"  {'from':<9} {source}" for source in split.source),
        f"  {'sha256':<9} {split.sha256}",
        *(f"  {word:<9} {len(ids):,} ({meaning}): {_some(ids)}" for word, meaning, ids in named if ids),
    ]


def _leak_line(leak: Leak) -> str:
    items = f"{len(leak.items)} item{'' if len(leak.items) == 1 else 's'} of {leak.second}"
    kind = _LEAKS[leak.kind][leak.shared != 1]
    return f"{leak.first} and {leak.second} share {leak.shared} {kind}, with {items}: {_some(leak.items)}"


def _some(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(map(shown, names[:_SHOWN])) + (f" and {rest} more (--json names all)" if rest > 0 else "")
