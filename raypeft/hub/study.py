"""What a study needs from the hub, looked up all at once before anything is computed."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from huggingface_hub import constants

from raypeft.errors import UserError
from raypeft.hub.faults import HubError, Kind
from raypeft.hub.repository import (
    Listing,
    access,
    cached_commit,
    cached_dataset,
    cached_file,
    cached_snapshot,
    missing_bytes,
    model_files,
    require,
)
from raypeft.spec.catalogue import SPLITS, DatasetEntry, local_folder
from raypeft.spec.loading import together
from raypeft.spec.resolve import ResolvedStudy, missing_folders

AT_ONCE = 16


@dataclass(frozen=True)
class Need:
    """A model or data set of a study that is on the hub.

    Attributes:
        name: in the catalogue.
        files: what is needed of it; nothing means what transformers needs of a model, and all of a data set.
        code: whether Python files that a model brings along are needed too.
        gated: whether the catalogue knows that a licence has to be accepted first.
    """

    kind: Kind
    name: str
    repo: str
    revision: str | None
    files: tuple[str, ...] = ()
    code: bool = False
    gated: bool = False

    def __str__(self) -> str:
        known = [self.repo, *([self.revision] if self.revision else []), *(["gated"] if self.gated else [])]
        return f"{self.kind} {self.name} ({', '.join(known)})"


@dataclass(frozen=True)
class Wanted:
    """What is to be fetched for a need: files, and how many of their bytes are not here."""

    listing: Listing
    files: list[str]
    bytes: int


@dataclass(frozen=True)
class Survey:
    """What became of each need: in the cache (its commit), to be fetched, or not to be had."""

    cached: dict[Need, str] = field(default_factory=dict)
    wanted: dict[Need, Wanted] = field(default_factory=dict)
    failed: dict[Need, HubError] = field(default_factory=dict)


def needs(resolved: ResolvedStudy) -> list[Need]:
    """Every model and data set of a study that is on the hub, and not in a folder."""
    models = [
        Need("model", name, str(entry.hub), entry.revision, code=entry.trust_remote_code, gated=entry.gated)
        for name, entry in resolved.models.items()
        if entry.hub is not None
    ]
    return models + [
        Need(
            "dataset",
            name,
            str(entry.hub),
            entry.revision,
            _files(entry),
        )
        for name, entry in resolved.datasets.items()
        if entry.hub is not None and local_folder(name, entry) is None
    ]


def survey(wanted: Iterable[Need]) -> Survey:
    """Look each need up in the cache and, where it is not there, on the hub, many at a time and without retries."""
    found = Survey()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for need, state in [(need, pool.submit(_look_up, need)) for need in wanted]:
            try:
                result = state.result()
            except HubError as error:
                found.failed[need] = error
            else:
                if isinstance(result, str):
                    found.cached[need] = result
                else:
                    found.wanted[need] = result
    return found


def check_places(resolved: ResolvedStudy, where: str) -> None:
    """Refuse a study whose folders are not there, with what cannot be had of the hub.

    Args:
        resolved: the study.
        where: its file.

    Raises:
        UserError: folders are missing.
    """
    if (missing := missing_folders(resolved, where)) is None:
        return
    failed = survey(needs(resolved)).failed
    unavailable = [refusal("not all can be had of the hub", failed, ways_on())] if failed else []
    raise together([missing, *unavailable], "several things are missing")


def refusal(what: str, failed: Mapping[Need, HubError], hint: str) -> UserError:
    """One message with every need that cannot be had, those with the same reason together."""
    reasons: dict[tuple[str, str | None], list[Need]] = {}
    for need, error in failed.items():
        reasons.setdefault((error.what, error.hint), []).append(need)
    lines = [what]
    for (reason, remedy), concerned in reasons.items():
        lines += [f"  {need}" for need in concerned]
        lines += [f"      {line}" for line in f"{reason}\n{remedy or ''}".strip().splitlines()]
    return UserError("\n".join(lines), hint=hint)


def ways_on() -> str:
    """What to do where models and data sets of a study cannot be had here."""
    return (
        f"To go on, while the cache is {constants.HF_HUB_CACHE}:\n"
        "  raypeft fetch STUDY    where there is a network; bring that cache here, and let HF_HOME name its parent\n"
        "  RAYPEFT_DATA=FOLDER    for data sets as files in FOLDER/<dataset>/\n"
        "  folder: …              instead of hub: for an entry under catalogue: in the study\n"
        "  --model, --dataset     for a part of the study"
    )


def revisions(commits: Mapping[Need, str]) -> dict[str, dict[str, str]]:
    """Commits as a manifest holds them, by `models` and `datasets` and by name."""
    return {
        f"{kind}s": {need.name: commit for need, commit in commits.items() if need.kind == kind}
        for kind in ("model", "dataset")
    }


def cached(need: Need) -> str | None:
    """The commit of a need where the cache has all of it; the hub is not asked."""
    commit = cached_commit(need.repo, need.kind, need.revision)
    return commit if commit is not None and _here(need, commit) else None


def _files(entry: DatasetEntry) -> tuple[str, ...]:
    return () if entry.configuration else tuple(map(entry.file, SPLITS))


def _look_up(need: Need) -> str | Wanted:
    if commit := cached(need):
        return commit
    listing = access(need.repo, need.kind, need.revision)
    whole = model_files(listing, code=need.code) if need.kind == "model" else listing.sizes
    files = list(need.files or whole)
    require(listing, files, str(need))
    return Wanted(listing, files, missing_bytes(listing, files))


def _here(need: Need, commit: str) -> bool:
    if need.kind == "model":
        return cached_snapshot(need.repo, commit) is not None
    if not need.files:
        return cached_dataset(need.repo, commit) is not None
    return all(cached_file(need.repo, path, revision=commit, kind=need.kind) for path in need.files)
