"""What `vlmrl doctor` says of a machine where all works, and of one where something does not."""

import json
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vlmrl import doctor
from vlmrl.cli.main import main
from vlmrl.doctor import Diagnosis, Finding, diagnose
from vlmrl.engine.kernels import Reference
from vlmrl.sandbox.protection import NAMESPACES, Protection


def only(monkeypatch: pytest.MonkeyPatch, room: str) -> None:
    monkeypatch.setattr(doctor, "ROOMS", {room: doctor.ROOMS[room]})


def named(found: Diagnosis, name: str) -> Finding:
    (finding,) = (finding for finding in found.findings if finding.name == name)
    return finding


def test_everything_is_tried_and_written_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json", str(tmp_path / "doctor.json")]) == 0
    found = json.loads((tmp_path / "doctor.json").read_text())
    assert found["ok"]
    rooms = {finding["room"] for finding in found["findings"]}
    assert rooms == {"packages", "devices", "attention", "sampling", "videos", "sandbox"}
    assert all(finding["fix"] for finding in found["findings"] if finding["state"] == "broken")
    shown = capsys.readouterr().out
    assert "CpuFlash" in shown
    assert shown.rstrip().endswith("vlmrl trains here")


class Wrong(Reference):
    """A kernel whose output is not the attention's."""

    def forward(self, *args: Any) -> Any:
        out, lse = super().forward(*args)
        return out * 1.01, lse


def test_a_wrong_kernel_is_broken_and_fails_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "attention")
    monkeypatch.setattr(doctor, "kernel_for", lambda q, v: Wrong())
    finding = named(diagnose(), "cpu, float32")
    assert finding.state == "broken"
    assert "off by" in finding.detail
    assert "engine.kind=naive" in finding.fix
    assert main(["doctor"]) == 2


@pytest.mark.parametrize(("module", "reader"), [("av", "PyAV"), ("decord", "decord (optional)")])
def test_a_missing_reader_is_no_fault(module: str, reader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "videos")
    monkeypatch.setitem(sys.modules, module, None)
    found = diagnose()
    assert named(found, reader).state == "missing"
    assert named(found, reader).fix == "pip install 'vlmrl[video]'"
    assert found.ok


def test_packages_that_are_missing_or_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "packages")
    needs = ["numpy>=2.0", "rich>=99", "nonesuch>=1", "av>=14; extra == 'video'", "nothing; extra == 'train'"]

    def version(name: str) -> str:
        if name in ("nonesuch", "nothing"):
            raise PackageNotFoundError(name)
        return "15.0"

    monkeypatch.setattr(doctor, "requires", lambda name: needs)
    monkeypatch.setattr(doctor, "version", version)
    found = diagnose()
    assert named(found, "numpy").state == named(found, "av").state == "works"
    assert (named(found, "rich").state, named(found, "rich").fix) == ("broken", "pip install 'rich>=99'")
    assert (named(found, "nonesuch").state, named(found, "nonesuch").needed) == ("missing", True)
    assert (named(found, "nothing").state, named(found, "nothing").fix) == ("missing", "pip install 'vlmrl[train]'")
    assert not found.ok


def test_a_gpu_build_without_a_gpu_points_at_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "devices")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    found = diagnose()
    assert "nvidia-smi" in named(found, "gpu").fix
    assert found.ok


def test_protections_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "sandbox")
    listed = [Protection(NAMESPACES, False, "not granted"), Protection("no network", False, "no seccomp")]
    real = doctor.Sandbox
    monkeypatch.setattr(real, "protections", lambda self: listed)
    found = diagnose()
    assert (named(found, NAMESPACES).state, named(found, NAMESPACES).fix) == ("missing", "")
    assert named(found, "no network").state == "broken"
    assert named(found, "a script that draws").state == "works"
    assert not found.ok


def test_whatever_a_library_raises_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "sampling")
    monkeypatch.setattr(doctor, "load_policy", lambda *args, **keywords: SimpleNamespace())
    (finding,) = diagnose().findings
    assert finding.state == "broken"
    assert finding.detail.startswith("AttributeError")
