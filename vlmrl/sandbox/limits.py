"""What a script may use up."""

from dataclasses import dataclass, fields

MAX_FACTS_BYTES = 2 << 20
"""Length of the facts of one figure, as JSON."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for one script. Exceeding one ends that script and nothing else.

    Raises:
        ValueError: if a bound is not positive.
    """

    wall_seconds: float = 10.0
    """From the fork to the result. Beyond: `timeout`."""
    cpu_seconds: int = 5
    """Processor time; the kernel counts it in whole seconds. Beyond: `timeout`."""
    memory_bytes: int = 1 << 30
    """Address space on top of what the warm worker already maps. Beyond: a `MemoryError` in the script."""
    file_bytes: int = 8 << 20
    """Length of one file. Beyond: an `OSError` in the script."""
    scratch_bytes: int = 32 << 20
    """Disk space of the scratch folder, looked at 20 times a second. Beyond: `killed`."""
    scratch_files: int = 256
    """Files and folders in the scratch folder. Beyond: `killed`."""
    open_files: int = 32
    """File descriptors open at once. Beyond: an `OSError` in the script."""
    source_bytes: int = 100_000
    """Length of a script in UTF-8. Beyond: `refused`."""
    pixels: int = 1_000_000
    """Area of the picture. A larger figure is drawn at a lower resolution."""
    dpi: int = 100
    """Resolution of the picture; what the script asks for is ignored, so that pictures compare."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"Limits.{field.name} is {getattr(self, field.name)}: it must be above 0")

    @property
    def result_bytes(self) -> int:
        """The most that a script's process may hand back: facts and picture, three bytes per pixel."""
        return MAX_FACTS_BYTES + 3 * self.pixels
