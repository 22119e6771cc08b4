"""Runs untrusted plotting scripts in bounded processes and reads back what they drew. See `docs/sandbox.md`."""

from vlmrl.sandbox.figure import Axes, Element, Figure, Grid, Text
from vlmrl.sandbox.limits import Limits
from vlmrl.sandbox.protection import Protection
from vlmrl.sandbox.runner import Outcome, Sandbox, Status

__all__ = ["Axes", "Element", "Figure", "Grid", "Limits", "Outcome", "Protection", "Sandbox", "Status", "Text"]
