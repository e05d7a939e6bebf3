"""Files of one hub repository: what it holds, which of them a model needs, and fetching them into the cache."""

import glob
import json
import os
import re
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import constants, errors
from huggingface_hub.utils import logging as hub_logging
from huggingface_hub.utils.tqdm import tqdm

from raypeft.hub.faults import AGAIN, HubError, Kind, explained, page

if "HF_HUB_VERBOSITY" not in os.environ:
    hub_logging.set_verbosity_error()

CONFIG = "config.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
# In transformers' order of preference: a file of all weights, or an index of shards.
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
WEIGHT_SUFFIXES = (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json")
TELL_EVERY = 20.0
_SMALL = re.compile(r"[^/]+\.(json|txt|model|jinja|tiktoken)|additional_chat_templates/[^/]+\.jinja")
_CODE = re.compile(r"[^/]+\.py")


@dataclass(frozen=True)
class Listing:
    """A repository that the hub lets us read.

    Attributes:
        revision: branch, tag or commit that was asked for; none is the main branch.
        commit: the commit it stood for.
        sizes: of its files, in bytes.
    """

    kind: Kind
    repo: str
    revision: str | None
    commit: str
    sizes: Mapping[str, int]

    def __str__(self) -> str:
        return f"{self.kind} {self.repo}"


def access(repo: str, kind: Kind = "model", revision: str | None = None) -> Listing:
    """Ask the hub what a repository holds and whether its files may be read; two requests, no retries.

    Raises:
        HubError: missing, gated, refused, or the hub cannot be reached in time.
    """
    wait = constants.HF_HUB_ETAG_TIMEOUT
    with explained(kind, repo):
        api = huggingface_hub.HfApi()
        info_of = api.model_info if kind == "model" else api.dataset_info
        info = info_of(repo, revision=revision, timeout=wait, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        if sizes:
            # A gated repository shows its listing to everyone, its files not.
            probe = CONFIG if CONFIG in sizes else min(sizes)
            url = huggingface_hub.hf_hub_url(repo, probe, repo_type=kind, revision=info.sha)
            huggingface_hub.get_hf_file_metadata(url, timeout=wait)
    return Listing(kind, repo, revision, str(info.sha), sizes)


def cached_commit(repo: str, kind: Kind = "model", revision: str | None = None) -> str | None:
    """The commit that a revision stands for in the cache."""
    try:
        with explained(kind, repo):
            api = huggingface_hub.HfApi()
            return api.resolve_revision(repo, repo_type=kind, revision=revision, local_files_only=True).resolved
    except HubError as error:
        if isinstance(error.__cause__, errors.RevisionResolutionError):
            return None
        raise


def cached_file(repo: str, path: str, *, revision: str | None = None, kind: Kind = "model") -> Path | None:
    """A file in the cache."""
    with explained(kind, repo):
        found = huggingface_hub.try_to_load_from_cache(repo, path, revision=revision, repo_type=kind)
    return Path(found) if isinstance(found, str) else None


def cached_snapshot(repo: str, revision: str | None = None) -> Path | None:
    """Folder of a model in the cache, where it has all that transformers needs."""
    config = cached_file(repo, CONFIG, revision=revision)
    return config.parent if config is not None and _complete(config.parent) else None


def cached_dataset(repo: str, commit: str) -> Path | None:
    """Folder of a data set in the cache, where it has all of it."""
    try:
        huggingface_hub.get_cached_repo_tree(repo, repo_type="dataset", revision=commit)
        folder = huggingface_hub.snapshot_download(repo, repo_type="dataset", revision=commit, local_files_only=True)
    except (errors.CachedRepoTreeNotFoundError, errors.LocalEntryNotFoundError):
        return None
    return Path(folder)


def dataset_snapshot(repo: str, *, revision: str | None = None) -> Path:
    """Folder with all of a data set, from the cache or else from the hub.

    Raises:
        HubError: it is in neither.
    """
    commit = cached_commit(repo, "dataset", revision)
    if commit is not None and (folder := cached_dataset(repo, commit)) is not None:
        return folder
    listing = access(repo, "dataset", revision)
    return download(listing, list(listing.sizes))


def hub_file(repo: str, path: str, *, revision: str | None = None, kind: Kind = "model") -> Path:
    """One file of a repository, from the cache or else from the hub.

    Raises:
        HubError: it is in neither.
    """
    return (
        cached_file(repo, path, revision=revision, kind=kind) or download(access(repo, kind, revision), [path]) / path
    )


def model_snapshot(repo: str, *, revision: str | None = None, code: bool = False) -> Path:
    """Folder with the files of a model that transformers needs, from the cache or else from the hub.

    Args:
        repo: the hub repository.
        revision: branch, tag or commit.
        code: whether Python files that the model brings along are needed too.

    Raises:
        HubError: it is in neither, or holds no model.
    """
    cached = cached_snapshot(repo, revision)
    if cached is not None:
        return cached
    listing = access(repo, "model", revision)
    return download(listing, model_files(listing, code=code))


def model_files(listing: Listing, *, code: bool = False) -> list[str]:
    """Files of a model that transformers needs: weights in one format, configuration and tokenizer.

    Raises:
        HubError: the repository holds no model with its tokenizer.
    """
    names = listing.sizes.keys()
    weights = next((name for name in WEIGHTS if name in names), None)
    wanting = [] if CONFIG in names else [CONFIG]
    wanting += [] if any(name in names for name in TOKENIZERS) else ["a tokenizer"]
    wanting += [] if weights is not None else ["weights as safetensors or pytorch_model.bin"]
    if wanting or weights is None:
        what = f"holds no model for transformers: {', '.join(wanting)} is not there"
        raise HubError(what, cause="unusable", where=str(listing))
    small = sorted(name for name in names if _SMALL.fullmatch(name) or (code and _CODE.fullmatch(name)))
    small = [name for name in small if name not in WEIGHTS and name != CONFIG]
    if not weights.endswith(".index.json"):
        return [CONFIG, *small, weights]
    start, suffix, *_ = weights.split(".")
    shard = re.compile(rf"{start}-\d+-of-\d+\.{suffix}")
    return [CONFIG, *small, weights, *sorted(name for name in names if shard.fullmatch(name))]


def missing_bytes(listing: Listing, files: Iterable[str]) -> int:
    """Bytes of the files that are not in the cache."""
    return sum(
        listing.sizes.get(path, 0)
        for path in files
        if cached_file(listing.repo, path, revision=listing.commit, kind=listing.kind) is None
    )


def require(listing: Listing, files: Iterable[str], where: str | None = None) -> None:
    """Refuse a repository that lacks files.

    Raises:
        HubError: it does; said of the repository, or of `where`.
    """
    if absent := [path for path in files if path not in listing.sizes]:
        hint = f"Its files: {page(listing.kind, listing.repo)}/tree/main"
        raise HubError(f"has no file {', '.join(absent)}", cause="missing", where=where or str(listing), hint=hint)


def download(listing: Listing, files: Collection[str], tell: Callable[[int], None] = lambda done: None) -> Path:
    """Fetch files into the cache, many at a time; those that are there already cost no request.

    An interruption ends it with the next piece of each file that comes.

    Args:
        listing: of the repository.
        files: their paths in it.
        tell: is told now and then of the bytes that have come.

    Returns:
        The folder that holds the files.

    Raises:
        HubError: a file cannot be had; those that have come are kept.
    """
    require(listing, files)
    weights = [path for path in files if path.endswith(WEIGHT_SUFFIXES)]
    small = [path for path in files if path not in weights]
    folder, revision = Path(), listing.revision
    # Weights come last: a model whose download was interrupted is known by their absence.
    for part in filter(None, (small, weights)):
        with explained(listing.kind, listing.repo, part[0] if len(part) == 1 else None):
            folder = _snapshot(listing, revision, part, tell)
            if not all((folder / path).is_file() for path in part):
                raise HubError("the connection was cut off", cause="cut", where=str(listing), hint=AGAIN)
        revision = folder.name
    return folder


def _snapshot(listing: Listing, revision: str | None, files: Sequence[str], tell: Callable[[int], None]) -> Path:
    stop = threading.Event()
    bars: list[Any] = []

    class Bar(tqdm):
        """huggingface_hub's own, in terminals alone, which also counts bytes where it is not shown."""

        def __init__(self, *arguments: Any, **further: Any) -> None:
            super().__init__(*arguments, **{"disable": None, **further})
            self.count = 0.0
            if further.get("unit") == "B":
                bars.append(self)

        def update(self, n: float | None = 1) -> bool | None:
            if stop.is_set():
                raise KeyboardInterrupt
            self.count += n or 0
            return super().update(n)

    with ThreadPoolExecutor(1) as thread:
        fetching = thread.submit(
            huggingface_hub.snapshot_download,
            listing.repo,
            repo_type=listing.kind,
            revision=revision,
            allow_patterns=[glob.escape(path) for path in files],
            etag_timeout=constants.HF_HUB_ETAG_TIMEOUT,
            tqdm_class=Bar,
        )
        try:
            while wait([fetching], TELL_EVERY).not_done:
                tell(int(max((bar.count for bar in bars), default=0)))
        except BaseException:
            stop.set()
            raise
        return Path(fetching.result())


def _complete(folder: Path) -> bool:
    if not any((folder / name).is_file() for name in TOKENIZERS):
        return False
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None or weights.suffix != ".json":
        return weights is not None
    try:
        shards = set(json.loads(weights.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError):
        return False
    return all((folder / shard).is_file() for shard in shards)
