"""Changes of the scalar reward before advantages are taken."""

from torch import Tensor


def soft_overlong(lengths_BG: Tensor, limit: int, buffer: int) -> Tensor:
    """What DAPO (arXiv 2503.14476, eq. 13) adds to the reward of a long completion, in [-1, 0].

    0 up to limit - buffer tokens, then falling linearly to -1 at the limit.
    """
    return ((limit - buffer - lengths_BG) / buffer).clamp(-1, 0)
