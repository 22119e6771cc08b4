"""The sandbox on other systems: as an ordinary user, in a container, and where something essential is missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vlmrl.errors import UserError
from vlmrl.sandbox import Sandbox
from vlmrl.sandbox.protection import NAMESPACES

CHECKOUT = Path(__file__).resolve().parents[2]
ELSEWHERE = Path(__file__).with_name("elsewhere.py")


def elsewhere(how: str, *command: str) -> subprocess.CompletedProcess[str]:
    if how == "ordinary-user" and os.geteuid() != 0:
        pytest.skip("the whole suite already runs as an ordinary user")
    done = subprocess.run(
        [sys.executable, str(ELSEWHERE), how, sys.executable, *command],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if how == "ordinary-user" and "become_ordinary()" in done.stderr:
        pytest.skip("this system does not let root become an ordinary user of a user namespace")
    return done


STATES = """
from vlmrl.sandbox import Sandbox
from tests.sandbox.charts import BAR_CHART
import sys
with Sandbox(workers=1, weak=sys.argv[1:] == ["weak"]) as sandbox:
    print(*(protection for protection in sandbox.protections() if not protection.enforced), sep="\\n")
    print(sandbox.run([BAR_CHART])[0].status)
"""


def test_everything_essential_is_enforced_here(sandbox: Sandbox) -> None:
    for protection in sandbox.protections():
        assert protection.enforced or protection.name == NAMESPACES, protection


def test_namespaces_are_not_essential() -> None:
    done = elsewhere("without-namespaces", "-c", STATES)
    assert done.stdout.startswith(NAMESPACES + ": NOT enforced"), done
    assert done.stdout.endswith("Status.OK\n")


def test_an_ordinary_user_needs_nothing() -> None:
    done = elsewhere("ordinary-user", "-c", STATES)
    assert done.stdout.splitlines()[-1] == "Status.OK", done


@pytest.mark.parametrize(
    ("how", "layer", "promise"),
    [
        ("without-landlock", "file rules (Landlock)", "no reading outside"),
        ("without-seccomp", "system call filter (seccomp)", "no network"),
    ],
)
def test_a_missing_layer_refuses_unless_the_risk_is_accepted(how: str, layer: str, promise: str) -> None:
    refused = elsewhere(how, "-c", STATES)
    assert refused.returncode != 0
    assert "UserError" in refused.stderr
    assert "cannot confine chart code" in refused.stderr
    assert layer in refused.stderr
    accepted = elsewhere(how, "-c", STATES, "weak")
    assert accepted.stdout.splitlines()[-1] == "Status.OK", accepted
    assert f"{promise}: NOT enforced (tried, and it worked)" in accepted.stdout
    assert "WITHOUT full protection" in accepted.stderr


def test_other_operating_systems_get_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UserError, match="needs Linux"):
        Sandbox()


def test_other_operating_systems_can_import_it() -> None:
    program = "import sys\nsys.modules['resource'] = None\nimport ctypes\ndel ctypes.CDLL\nimport vlmrl.sandbox"
    subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, check=True)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ordinary-user", "without-namespaces"])
def test_every_attack_again(how: str) -> None:
    attacks = Path(__file__).with_name("test_attacks.py")
    done = elsewhere(how, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(attacks))
    assert done.returncode == 0, done.stdout[-5000:]
