"""Whether the folders that a study names are there."""

from raypeft.errors import UserError
from raypeft.spec.loading import listed
from raypeft.spec.resolve import ResolvedStudy


def missing_folders(resolved: ResolvedStudy, where: str) -> UserError | None:
    """One error with every folder of models and data sets that is not there, or names a variable that is not set.

    Args:
        resolved: the study.
        where: its file.
    """
    errors: list[UserError] = []
    for kind, entries in (("models", resolved.models), ("datasets", resolved.datasets)):
        for name, entry in entries.items():
            try:
                entry.path(f"catalogue.{kind}.{name}.folder")
            except UserError as error:
                errors.append(error)
    if not errors:
        return None
    hints = dict.fromkeys(line for error in errors for line in (error.hint or "").splitlines())
    return listed([f"{error.where}: {error.what}" for error in errors], where, "\n".join([*hints][:10]))
