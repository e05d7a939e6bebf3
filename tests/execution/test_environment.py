"""The environment that a study's processes inherit."""

import os
from pathlib import Path

import pytest
import ray

from raypeft.execution import environment
from raypeft.execution.environment import closed, omit_gpus
from raypeft.execution.importing import ROOT, without_working_directory


@pytest.fixture(autouse=True)
def another_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No token of the user's, and none made before."""
    environment._token.cache_clear()
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


def inside(folder: Path, address: str | None = None, variables: tuple[str, ...] = ()) -> dict[str, str]:
    with closed(address, folder, variables):
        return dict(os.environ)


@pytest.mark.parametrize(
    ("name", "stays"),
    [
        ("PATH", True),
        ("CUDA_VISIBLE_DEVICES", True),
        ("HF_HOME", True),
        ("RAY_memory_usage_threshold", True),
        ("TOKENIZERS_PARALLELISM", True),
        ("AWS_SECRET_ACCESS_KEY", False),
        ("HF_TOKEN", False),
        ("HUGGINGFACE_API_KEY", False),
        ("https_proxy", False),
        ("WANDB_API_KEY", False),
        ("ANYTHING_ELSE", False),
        ("PYTHONSTARTUP", False),
        ("PYTHONINSPECT", False),
        ("RAY_ADDRESS", False),
        ("RAY_AUTH_MODE", False),
        ("RAY_REDIS_PASSWORD", False),
        ("RAY_RUNTIME_ENV_HOOK", False),
        ("RAY_JOB_CONFIG_JSON_ENV_VAR", False),
    ],
)
def test_only_what_is_needed_is_passed_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, stays: bool
) -> None:
    monkeypatch.setenv(name, "value")
    assert (inside(tmp_path).get(name) == "value") == stays


def test_a_password_in_an_address_is_not_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://user:password@mirror.example")
    assert "HF_ENDPOINT" not in inside(tmp_path)


def test_what_a_study_names_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SMOLLM2", "/models/smollm2")
    assert inside(tmp_path, variables=("SMOLLM2",))["SMOLLM2"] == "/models/smollm2"


def test_ray_is_closed_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")
    found = inside(tmp_path)
    assert "RAY_AUTH_MODE" not in found  # then Ray's own default is a token
    assert found["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert found["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "token")
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600 and len((tmp_path / "token").read_text()) == 64


def test_a_cluster_that_the_user_joins_is_reached_by_his_own_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_TLS_CA_CERT"):
        monkeypatch.setenv(name, "his")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")  # Tune passes it on, and Ray logs it
    found = inside(tmp_path, "10.0.0.1:6379")
    assert {found.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_TLS_CA_CERT")} == {"his"}
    assert "AWS_SECRET_ACCESS_KEY" not in found and "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in found
    assert not (tmp_path / "token").exists()


@pytest.mark.parametrize("fails", [False, True])
def test_it_is_put_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails: bool) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    before = dict(os.environ)
    tokens = set()
    for folder in (tmp_path / "first", tmp_path / "second"):
        folder.mkdir()
        try:
            with closed(None, folder, ()):
                os.environ["SET_BY_A_LIBRARY"] = "1"
                tokens.add(Path(os.environ["RAY_AUTH_TOKEN_PATH"]).read_text())
                if fails:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
        assert dict(os.environ) == before
    assert len(tokens) == 1  # Ray reads it once a process


def test_the_users_token_stays_his(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("of-the-user\n")
    assert "RAY_AUTH_TOKEN" not in inside(tmp_path)
    assert (tmp_path / "token").read_text() == "of-the-user"


def test_nothing_is_imported_from_the_working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    entries = ["", ".", str(tmp_path), f"{tmp_path}/", str(tmp_path / "link"), "lib", "/usr/lib/python"]
    assert without_working_directory(entries) == [str(tmp_path / "lib"), "/usr/lib/python"]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(entries))
    found = inside(tmp_path)
    assert found["PYTHONPATH"] == f"{tmp_path / 'lib'}:/usr/lib/python" and found["PYTHONSAFEPATH"] == "1"
    monkeypatch.setenv("PYTHONPATH", "")
    assert "PYTHONPATH" not in inside(tmp_path)


def test_the_package_itself_is_found_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert without_working_directory(["", ROOT]) == ["", ROOT]


@pytest.mark.parametrize(("reserved", "seen"), [(1, "0"), (0.5, "0"), (0, "")])
def test_an_actor_sees_the_gpu_that_it_has_reserved_and_no_other(ray_session: None, reserved: float, seen: str) -> None:
    """Ray's own part is to show the reserved one; without a reservation it leaves all of a machine's GPUs in sight."""

    @ray.remote(num_cpus=0, num_gpus=reserved)
    class Worker:
        def devices(self) -> str:
            if not reserved:
                os.environ["CUDA_VISIBLE_DEVICES"] = "0,1"
            omit_gpus()
            return os.environ["CUDA_VISIBLE_DEVICES"]

    worker = Worker.remote()  # type: ignore[attr-defined]
    assert ray.get(worker.devices.remote()) == seen
    ray.kill(worker)


def test_outside_of_ray_nothing_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    omit_gpus()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
