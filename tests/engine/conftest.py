"""Random checkpoints, one of each family."""

from pathlib import Path

import pytest

from tests.random_models import save_random_model


class Checkpoints(dict[str, Path]):
    """Family -> checkpoint folder, written when it is first asked for."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        super().__init__()
        self.factory = factory

    def __missing__(self, family: str) -> Path:
        self[family] = save_random_model(family, self.factory.mktemp(family))
        return self[family]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    return Checkpoints(tmp_path_factory)
