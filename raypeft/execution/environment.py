"""The environment of a study's processes: what they need of this one's, and how Ray and Tune are to behave in it."""

import functools
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from raypeft.execution.importing import without_working_directory
from raypeft.output.text import discreet, printable

DEFAULTS = {
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "10",
    "RAY_task_oom_retries": "0",  # without end by default; raypeft.sweep.faults deals with it
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # raypeft.execution.interruption takes all signals
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative folders of a study hold in workers too
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # raypeft.sweep.tensorboard takes TBX's place
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # one line says it; Tune keeps the rest in error.txt
    "RAY_AIR_NEW_OUTPUT": "0",  # our own progress display is the only one
}
FIXED = {
    "PYTHONSAFEPATH": "1",
    "PYTHONIOENCODING": "utf-8:replace",
}
WORKING_DIRECTORY = "RAYPEFT_WORKING_DIRECTORY"
TOKEN, TOKEN_FILE = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
# By Ray's words for Windows and macOS, where it listens on loopback alone. It reads this when it is imported.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
SOCKETS = 70  # characters of a folder for temporary files in which Python's own sockets have room

_NEEDED = re.compile(
    r"""PATH|HOME|USER|LOGNAME|SHELL|PWD|LANG|LANGUAGE|LC_\w+|TZ|TERM|COLUMNS|LINES|NO_COLOR|FORCE_COLOR|TMPDIR|TMP|TEMP
    |XDG_\w+|LD_LIBRARY_PATH|LD_PRELOAD|GLIBC_TUNABLES|MALLOC_\w+|THP_MEM_ALLOC_ENABLE|VIRTUAL_ENV|CONDA_\w+
    |CC|CXX|CPATH|C_INCLUDE_PATH|LIBRARY_PATH|\w+_VISIBLE_(DEVICES|MODULES)
    |PYTHON(HOME|HASHSEED|NOUSERSITE|USERBASE|DONTWRITEBYTECODE|PYCACHEPREFIX)
    |(CUDA|CUDNN|CUBLAS|NVIDIA|NCCL|ROCR|HIP|HSA|OMP|GOMP|KMP|MKL|OPENBLAS|GOTO|BLIS|NUMEXPR|VECLIB|DNNL|ONEDNN)_\w+
    |(TORCH|TORCHINDUCTOR|PYTORCH|ATEN|TRITON|BNB|HF|HUGGINGFACE|TRANSFORMERS|TOKENIZERS|SAFETENSORS|ACCELERATE)_\w+
    |(RAYPEFT|RAY|TUNE)_\w+""",
    re.VERBOSE,
)
_SECRET = re.compile(r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|PASS|CREDENTIALS?|KEY|KEYS)(_|$)")
# What would have a Ray of the study's own join another, open itself, or run something else.
_STEERING = re.compile(r"RAY_(ADDRESS$|(AUTH|REDIS|JOB|RUNTIME_ENV|CLIENT|PROMETHEUS|GRAFANA)_)")


@contextmanager
def closed(address: str | None, folder: Path, variables: Iterable[str]) -> Iterator[None]:
    """Have only what is needed in this process's environment, which those of Ray inherit, and put it back afterwards.

    A Ray that is started here listens on loopback alone and asks for its token, whatever the environment says.

    Args:
        address: of the cluster to join, none where Ray is started here.
        folder: the study's temporary folder, whose parts on the way are this user's alone.
        variables: names of those that the study itself names.
    """
    before = dict(os.environ)
    needed = {name: value for name, value in before.items() if name in set(variables) or _needed(name, value, address)}
    needed = {**DEFAULTS, **needed, **FIXED, WORKING_DIRECTORY: os.getcwd()}
    if path := without_working_directory(before.get("PYTHONPATH", "").split(os.pathsep)):
        needed["PYTHONPATH"] = os.pathsep.join(path)
    if address is None:
        (folder / "token").touch(mode=0o600)
        (folder / "token").write_text(_token(), encoding="ascii")
        needed |= {TOKEN_FILE: str(folder / "token"), **LOOPBACK}
    with suppress(FileNotFoundError):
        if len(tempfile.gettempdir()) > SOCKETS:
            needed["TMPDIR"] = str(folder)
    _replace(needed)
    try:
        yield
    finally:
        _replace(before)


def enter_working_directory() -> None:
    """Go, in a worker, where the study was started, since its relative folders are meant from there."""
    with suppress(KeyError, OSError):
        os.chdir(os.environ[WORKING_DIRECTORY])


def omit_gpus() -> None:
    """Keep a Ray actor that has reserved no GPU from seeing any; to be called before CUDA is first asked for anything.

    Ray shows all GPUs of a machine to whoever has reserved none, so that trials of a study with
    `resources.gpus_per_trial: 0` would all share the first one.
    """
    import ray

    if ray.is_initialized() and ray.get_runtime_context().get_actor_id() and not ray.get_gpu_ids():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def _needed(name: str, value: str, address: str | None) -> bool:
    if address is not None and name.startswith("RAY_"):
        return True
    is_secret = _SECRET.search(name.upper()) or discreet(value) != printable(value)
    return bool(_NEEDED.fullmatch(name)) and not (_STEERING.match(name) or is_secret)


@functools.cache
def _token() -> str:
    """The user's token for Ray, or one for this process: Ray keeps the first that it reads in a process."""
    if token := os.environ.get(TOKEN, "").strip():
        return token
    for path in (os.environ.get(TOKEN_FILE), Path.home() / ".ray" / "auth_token"):
        with suppress(OSError, ValueError):
            if path and (token := Path(path).read_text(encoding="ascii").strip()):
                return token
    return secrets.token_hex(32)


def _replace(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
