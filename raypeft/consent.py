"""Consent to running code that a model brings along: given on this machine, never by a run folder."""

from raypeft.errors import UserError
from raypeft.run import Run
from raypeft.spec.plan import Cell


def check_consent(run: Run, cell: Cell, *, given: bool) -> None:
    """Refuse to load the model of a run's cell where it brings code along that nobody here has agreed to.

    A run folder may be somebody else's: that its study lets the code run does not count.

    Raises:
        UserError: the study lets the model's code run, and consent is not given.
    """
    if run.plan.resolved.models[cell.model].trust_remote_code and not given:
        raise UserError(
            f"the run's study lets code run that the model {cell.model} brings along (trust_remote_code)",
            where=str(run.folder),
            hint="Read that code; --trust-remote-code lets it run here.",
        )
