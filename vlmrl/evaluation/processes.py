"""Several processes on one evaluation, started by `accelerate launch` or torchrun."""

import os
from datetime import timedelta

from accelerate import PartialState

PATIENCE = timedelta(days=7)
"""How long a process that is done waits for the others."""


class Processes:
    """This process's place among those that were started together; alone if none were."""

    def __init__(self, device: str) -> None:
        several = int(os.environ.get("WORLD_SIZE", "1")) > 1
        self._state = PartialState(cpu=device == "cpu", timeout=PATIENCE) if several else None
        self.rank = self._state.process_index if self._state else 0
        self.count = self._state.num_processes if self._state else 1
        self.device = str(self._state.device) if self._state else device

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        """Returns when every process has come here."""
        if self._state:
            self._state.wait_for_everyone()

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *error: object) -> None:
        if self._state:
            self._state.destroy_process_group()
