"""What the sandbox says about itself."""

from dataclasses import dataclass

NAMESPACES = "namespaces of its own"
OPTIONAL = frozenset({NAMESPACES})
"""Protections whose absence leaves every promise standing."""


@dataclass(frozen=True, slots=True)
class Protection:
    """One thing the sandbox can enforce: whether it does here, and if not, why."""

    name: str
    enforced: bool
    why_not: str = ""

    def __str__(self) -> str:
        return self.name if self.enforced else f"{self.name}: NOT enforced ({self.why_not})"
