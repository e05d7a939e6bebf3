"""What a model folder holds, as one hash; needs no torch."""

import hashlib
from functools import lru_cache
from pathlib import Path

# They say something of a model, and change nothing in what it computes.
BESIDE = ("readme", "license", "licence", "notice", "use_policy")
BESIDE_KINDS = frozenset({".md", ".pdf", ".png", ".jpg", ".jpeg", ".gif", ".svg"})


def content_of(folder: Path) -> str:
    """SHA-256 over names and contents of a model folder's files: weights, configuration, tokenizer, code.

    Where the folder lies, hidden files and what only describes the model do not count. Large weights take a second or
    so a gigabyte, once a process as long as size and time of the file stay.
    """
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.is_file() and _counts(path)):
        found = file.stat()
        digest.update(f"{file.name}\n{_file_hash(str(file.resolve()), found.st_size, found.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


def _counts(file: Path) -> bool:
    name = file.name.lower()
    return not name.startswith((".", *BESIDE)) and file.suffix.lower() not in BESIDE_KINDS


@lru_cache(maxsize=4096)
def _file_hash(path: str, size: int, changed: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
