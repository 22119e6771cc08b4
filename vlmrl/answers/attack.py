"""Completions that try to earn without answering."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Attack:
    """A completion that must not pay, which `vlmrl check` tries on the user's own rows."""

    name: str
    text: str
    guess: bool = False
    """A well-formed answer that does not look: right now and then, it must earn less than gold on average. Any other
    attack must earn nothing at all."""
    blind: bool = False
    """Made without the gold answer: what it scores is what can be had without looking at the picture."""
