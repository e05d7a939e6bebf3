"""Versions of other packages that would give wrong results, refused before anything is computed."""

import importlib.metadata
from dataclasses import dataclass

from packaging.specifiers import SpecifierSet

from raypeft.errors import UserError


@dataclass(frozen=True)
class Guard:
    """Versions of a package that work, and what the others do.

    Attributes:
        package: its name on the package index.
        works: version specifiers.
        reason: why others are refused.
    """

    package: str
    works: str
    reason: str

    @property
    def installed(self) -> str | None:
        """The installed version, from the package's metadata alone."""
        return installed(self.package)

    @property
    def passes(self) -> bool:
        """Whether the installed version works."""
        return self.installed is not None and SpecifierSet(self.works).contains(self.installed, prereleases=True)

    def __str__(self) -> str:
        found = f"{self.installed} is installed" if self.installed else "is not installed"
        return f"{self.package} {found}, and {self.works} works: {self.reason}"


GUARDS = (
    Guard(
        "transformers",
        ">=5.5,<5.24",
        "5.24 renamed the cache under which virtual tokens are handed to generation, so that text from prompt and "
        "prefix tuning is wrong without any error",
    ),
    Guard("tree-sitter-python", ">=0.21,<0.22", "with any other grammar codebleu fails at every call"),
    Guard("codebleu", "==0.7.0", "its scores are corrected for what this version gets wrong"),
)


def installed(package: str) -> str | None:
    """The installed version of a package; none where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_versions() -> None:
    """Look at the metadata of the packages whose versions matter; imports none of them.

    Raises:
        UserError: a version that does not work, each with the reason.
    """
    if refused := [guard for guard in GUARDS if not guard.passes]:
        packages = " ".join(f"'{guard.package}{guard.works}'" for guard in refused)
        raise UserError(
            "".join(f"\n  {guard}" for guard in refused), where="installed packages", hint=f"pip install {packages}"
        )
