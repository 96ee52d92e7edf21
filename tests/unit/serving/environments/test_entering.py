from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from modelyard_serving import mlmodel
from modelyard_serving.environments.building import Environment
from modelyard_serving.environments.entering import ENTERED, Place, enter, place
from modelyard_serving.environments.requirements import Difference
from modelyard_serving.errors import Reason, StartupError

MODEL = mlmodel.parse({"flavors": {"python_function": {"loader_module": "mlflow.sklearn"}, "sklearn": {}}})
MISSING = Difference("absent==1", None, needed=True)
OTHER = Difference("scikit-learn==1.5.2", "1.9.1", needed=True)
SLIGHT = Difference("scikit-learn==1.9.0", "1.9.1", needed=False)
PYTHON = Difference("python==3.9", "3.12.1", needed=True, curable=False)
HERE, OWN = Place.HERE, Place.OWN


@pytest.mark.parametrize(
    ("found", "auto", "image", "model"),
    [
        ([], HERE, HERE, HERE),
        ([SLIGHT], HERE, HERE, OWN),
        ([OTHER], OWN, HERE, OWN),
        ([MISSING], OWN, "absent==1, the image has none", OWN),
        ([OTHER, MISSING, SLIGHT], OWN, "absent==1", OWN),
        ([PYTHON], "python==3.9", HERE, "python==3.9"),
        ([PYTHON, OTHER], "python==3.9", HERE, "python==3.9"),
    ],
)
def test_where_a_model_is_served(found: Sequence[Difference], auto: Any, image: Any, model: Any) -> None:
    for mode, expected in {"auto": auto, "image": image, "model": model}.items():
        assert place(found, mode, entered=True) is HERE
        if isinstance(expected, Place):
            assert place(found, mode, entered=False) is expected
        else:
            with pytest.raises(StartupError) as raised:
                place(found, mode, entered=False)
            assert raised.value.reason is Reason.REQUIREMENTS_DIFFER
            assert expected in raised.value.message


class Executed(Exception):
    """In place of the end of this process."""


def execute(path: str, arguments: list[str], env: dict[str, str]) -> None:
    raise Executed(path, arguments, env)


def differing(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "requirements.txt").write_text("no-such-package==1.0\n")
    return directory


def test_a_model_that_the_image_does_for_stays(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\n")
    enter(tmp_path, MODEL, "auto", tmp_path / "environments", env={}, execute=execute)
    assert not (tmp_path / "environments").exists()


def test_the_process_is_replaced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory, root = differing(tmp_path / "model"), tmp_path / "environments"
    monkeypatch.setattr("modelyard_serving.environments.entering.build", lambda *_: Environment(root / "made"))
    with pytest.raises(Executed) as raised:
        enter(directory, MODEL, "auto", root, env={"A": "1"}, execute=execute)
    path, arguments, env = raised.value.args
    assert path == str(root / "made" / "bin" / "python")
    assert arguments == [path, "-m", "modelyard_serving"]
    assert env == {"A": "1", ENTERED: "made"}
    enter(directory, MODEL, "auto", root, env=env, execute=execute)


def test_a_failure_says_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise StartupError(Reason.ENVIRONMENT_FAILED, "installing its packages failed: no such version")

    monkeypatch.setattr("modelyard_serving.environments.entering.build", fail)
    with pytest.raises(StartupError) as raised:
        enter(differing(tmp_path), MODEL, "auto", tmp_path / "environments", env={}, execute=execute)
    assert raised.value.reason is Reason.ENVIRONMENT_FAILED
    assert raised.value.message == (
        "the model's own environment cannot be made: installing its packages failed: no such version."
        " It is needed for: no-such-package==1.0, the image has none"
    )


@pytest.mark.parametrize("reason", [Reason.ENVIRONMENT_FAILED, Reason.DIGEST_MISMATCH])
def test_a_prepared_environment_goes_first(reason: Reason, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is of no use is built anew; what is not what was prepared ends it all."""
    directory, root = differing(tmp_path / "model"), tmp_path / "environments"
    made = "modelyard_serving.environments.entering"
    monkeypatch.setattr(f"{made}.unpack", lambda archive, digest, _: Environment(root / f"{archive.name} {digest}"))
    monkeypatch.setattr(f"{made}.build", lambda *_: Environment(root / "built"))
    archive = (lambda: tmp_path / "archive", "sha256:1")
    with pytest.raises(Executed) as raised:
        enter(directory, MODEL, "auto", root, archive=archive, env={}, execute=execute)
    assert raised.value.args[2][ENTERED] == "archive sha256:1"

    def unusable(*_: Any) -> Any:
        raise StartupError(reason, "is for another Python")

    monkeypatch.setattr(f"{made}.unpack", unusable)
    expected = StartupError if reason is Reason.DIGEST_MISMATCH else Executed
    with pytest.raises(expected) as ended:
        enter(directory, MODEL, "auto", root, archive=archive, env={}, execute=execute)
    if expected is Executed:
        assert ended.value.args[2][ENTERED] == "built"


def test_a_failed_installation_is_one_line(tmp_path: Path) -> None:
    """Without a network: uv finds no such package in an empty directory."""
    directory = differing(tmp_path / "model")
    (directory / "requirements.txt").write_text(f"--no-index\n--find-links {tmp_path}\nno-such-package==1.0\n")
    with pytest.raises(StartupError) as raised:
        enter(directory, MODEL, "auto", tmp_path / "environments", env={}, execute=execute)
    assert raised.value.reason is Reason.ENVIRONMENT_FAILED
    assert "no-such-package" in raised.value.message
    assert "Traceback" not in raised.value.message
    assert raised.value.message.endswith("It is needed for: no-such-package==1.0, the image has none")
    assert not [path for path in (tmp_path / "environments").iterdir() if path.suffix != ".lock"]
