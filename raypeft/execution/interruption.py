"""Being told to stop: Ctrl-C, SIGTERM from a scheduler, SIGHUP from a terminal that closes, or a full disk."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from raypeft.errors import UserError
from raypeft.execution.processes import kill, started_here

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CODE = 130
GRACE_SECONDS = 12.0
LIMIT_SECONDS = 25.0
SAME_SECONDS = 0.5
SHOW_CURSOR = b"\x1b[?25h\n"


class Abrupt(KeyboardInterrupt):
    """Interrupted, and Ray was killed: the process should leave without Python's own end, which would wait for it."""


class Interruption:
    """Handles signals for as long as a study runs; a context manager.

    The first signal raises KeyboardInterrupt, or inside `gracefully` is only noted in `asked`, for whoever runs there
    to stop by himself. A second one ends the process at once, as does a first one that has not led to its end after
    `LIMIT_SECONDS`: whatever is recorded by then is on disk. Processes started from here are killed with it.

    Attributes:
        asked: the signal, or the fault, that a stop was asked for because of.
        abrupt: whether Ray was killed, so that the process has to leave without Python's own end, which would wait
            for it.

    Args:
        say: shows a line.
        clean: removes what must not be left behind when the process ends at once.
    """

    def __init__(self, say: Callable[[str], None], clean: Callable[[], None]) -> None:
        self.say = say
        self.clean = clean
        self.asked: str | None = None
        self.fault: UserError | None = None
        self.abrupt = False
        self._graceful = False
        self._time = 0.0
        self._limit: threading.Timer | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        self._before = {number: signal.getsignal(number) for number in SIGNALS}
        self.install()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._limit is not None:
            self._limit.cancel()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def install(self) -> None:
        """Take the signals, again after a library has taken them; not those that the parent had ignored (`nohup`)."""
        for number in SIGNALS:
            if self._before[number] is not signal.SIG_IGN:
                signal.signal(number, self._received)

    @contextmanager
    def gracefully(self) -> Iterator[None]:
        """Within, a first signal is only noted."""
        self.install()
        self._graceful = True
        try:
            yield
        finally:
            self._graceful = False

    @property
    def seconds(self) -> float:
        """Since the first signal."""
        return time.monotonic() - self._time

    def ask(self, why: str) -> None:
        """Note that a stop is asked for; only the first reason counts."""
        if self.asked is None:
            self.asked = why
            self._time = time.monotonic()

    def pause(self, fault: UserError) -> None:
        """Ask for a stop because of a fault that the user can mend."""
        if self.asked is None:
            self.fault = fault
            self.ask(fault.what)
            self.say(f"Stopping: {fault.what}")

    def raise_pause(self) -> None:
        """Raise the fault that the stop was asked for because of, if that is why."""
        if self.fault is not None:
            raise self.fault

    def end_at_once(self, why: str = "") -> NoReturn:
        """Kill every process started from here, clean up and leave, from whatever thread."""
        kill(started_here())
        with suppress(Exception):
            self.clean()
        text = f"{why}Stopped at once. The same command goes on from the last checkpoints.\n"
        with suppress(OSError):
            # Not by `say`, which another thread may be in the middle of; it may also have hidden the cursor.
            os.write(1, (SHOW_CURSOR if os.isatty(1) else b"") + text.encode())
        os._exit(CODE)

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self._limit is not None:
            # A terminal that closes, and some schedulers, send more than one signal for one wish.
            if self.seconds > SAME_SECONDS:
                self.end_at_once()
            return
        self.ask(signal.Signals(number).name)
        self._limit = threading.Timer(LIMIT_SECONDS, self.end_at_once)
        self._limit.daemon = True
        self._limit.start()
        if number == signal.SIGHUP:
            _leave_terminal()
        self.say(f"{self.asked}: stopping. The last checkpoints are written; once more stops at once.")
        if not self._graceful:
            raise KeyboardInterrupt


def _leave_terminal() -> None:
    """Send further output nowhere, where it went to the terminal that is gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        if os.isatty(stream):
            os.dup2(nowhere, stream)
    os.close(nowhere)
