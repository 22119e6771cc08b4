"""Folders as only an attacker fills them are measured and removed."""

import os
from pathlib import Path

import pytest

from vlmrl.sandbox import scratch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "scratch"
    made.mkdir()
    return made


def nest(folder: Path, depth: int) -> None:
    """Deeper than any path may be long."""
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(folder)
        for _ in range(depth):
            os.mkdir("d" * 100)
            os.chdir("d" * 100)
        Path("file").touch()
    finally:
        os.fchdir(here)
        os.close(here)


def test_an_empty_folder(folder: Path) -> None:
    assert not scratch.exceeds(folder, 1, 1)
    scratch.remove(folder)
    assert not folder.exists()


def test_bytes_and_entries_are_counted_below_too(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "file").write_bytes(bytes(100_000))
    assert not scratch.exceeds(folder, 1 << 20, 3)
    assert scratch.exceeds(folder, 50_000, 3)
    assert scratch.exceeds(folder, 1 << 20, 2)


def test_very_deep_folders(folder: Path) -> None:
    nest(folder, 500)
    assert scratch.exceeds(folder, 1 << 30, 1_000_000)
    scratch.remove(folder)
    assert not folder.exists()


def test_many_branches(folder: Path) -> None:
    for branch in range(20):
        (folder / f"{branch}" / "a" / "b").mkdir(parents=True)
        (folder / f"{branch}" / "a" / "file").touch()
        (folder / f"{branch}" / "a" / "b" / "a").mkdir()
    scratch.remove(folder)
    assert not folder.exists()


def test_permissions_and_odd_names(folder: Path) -> None:
    for name in (b"\xff\xfe", b"-rf", b"a\nb", b"moved-1"):
        os.mkdir(os.fsencode(folder) + b"/" + name, 0o700)
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name + b"/file")).touch()
        os.chmod(os.fsencode(folder) + b"/" + name, 0)
    scratch.remove(folder)
    assert not folder.exists()


def test_links_are_removed_and_not_followed(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (folder / "link").symlink_to(kept)
    assert not scratch.exceeds(folder, 1 << 20, 1)
    scratch.remove(folder)
    assert (kept / "file").exists()
