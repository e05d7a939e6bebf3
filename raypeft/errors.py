"""The error a user can mend, kept apart from faults of the program."""


class UserError(Exception):
    """A user's mistake: shown as one message without a traceback, exit code 2.

    Args:
        what: what is wrong, one sentence or a list of problems, one a line.
        where: the file and key, command or path concerned.
        hint: what to do about it.
    """

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.what = what
        self.where = where
        self.hint = hint
        super().__init__(what, where, hint)

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n{self.hint}" if self.hint else head
