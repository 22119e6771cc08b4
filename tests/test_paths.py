"""Shipped files are found in a checkout and in an installed package."""

from pathlib import Path

import pytest

from vlmrl import paths


def test_a_checkout_uses_its_own_folders() -> None:
    checkout = Path(paths.__file__).resolve().parents[1]
    assert paths.tasks_dir() == checkout / "tasks"
    assert paths.configs_dir() == checkout / "configs"
    assert paths.data_cards_dir() == checkout / "data"
    assert paths.tiny_model_dir() == checkout / "vlmrl" / "models" / "tiny"


def test_an_installed_package_uses_what_lies_inside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "vlmrl"
    (package / "_tasks").mkdir(parents=True)
    (package / "_configs").mkdir()
    (package / "_data_cards").mkdir()
    (tmp_path / "site-packages" / "tasks").mkdir()  # another package's
    monkeypatch.setattr(paths, "PACKAGE", package)
    assert paths.tasks_dir() == package / "_tasks"
    assert paths.configs_dir() == package / "_configs"
    assert paths.data_cards_dir() == package / "_data_cards"
