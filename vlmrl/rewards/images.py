"""Similarity of two pictures of charts, without a model's weights."""

from typing import Any

import numpy as np
from PIL import Image as PIL
from scipy.ndimage import gaussian_filter

SIDE = 256
"""Longer side (pixels) of the canvas both pictures are compared on: the text of a figure of usual size is still a
texture of its own there, and a comparison takes milliseconds."""
SIGMA, TRUNCATE = 1.5, 3.5
"""The 11 x 11 Gaussian window of Wang et al. 2004 (SSIM)."""
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""Their constants for values of 0..255."""
OCTAVES = (1, 2, 4, 8)
"""Factors by which both pictures are reduced, as in multi-scale SSIM (Wang et al. 2003): a thin line that is a few
pixels off covers nothing of the right one at full size and most of it at an eighth."""


def image_similarity(answer: PIL.Image, gold: PIL.Image) -> float:
    """1 for equal pictures, 0 for a blank canvas, or anything no better than one.

    Both are scaled to the gold picture's proportions, longer side `SIDE`. The value is the mean over the octaves of
    (structure + ink_overlap(answer, gold)) / 2, with structure = max(0, (SSIM(answer, gold) - SSIM(blank, gold)) /
    (1 - SSIM(blank, gold))) and blank a canvas of gold's background colour. Charts are mostly background: plain SSIM
    pays a white picture more than a line drawn a little too high.
    """
    scale = SIDE / max(gold.size)
    size = (max(1, round(gold.width * scale)), max(1, round(gold.height * scale)))
    mine, target = (picture.convert("RGB").resize(size, PIL.Resampling.BOX) for picture in (answer, gold))
    scores = [_similarity(*(np.asarray(whole.reduce(factor)) for whole in (mine, target))) for factor in OCTAVES]
    return sum(scores) / len(scores)


def _similarity(mine: Any, target: Any) -> float:
    if np.array_equal(mine, target):
        return 1.0
    floor = ssim(np.broadcast_to(_background(target), target.shape), target)
    structure = max(0.0, (ssim(mine, target) - floor) / (1 - floor)) if floor < 1 else 0.0
    return (structure + ink_overlap(mine, target)) / 2


def ssim(first: Any, second: Any) -> float:
    """Mean structural similarity (Wang et al. 2004) of two height x width x channels arrays of levels 0..255, each
    channel by itself. In [-1, 1]."""
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)

    def mean(values: Any) -> Any:
        return gaussian_filter(values, SIGMA, truncate=TRUNCATE, axes=(0, 1))

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    similar = (2 * mx * my + C1) * (2 * cov + C2) / ((mx * mx + my * my + C1) * (vx + vy + C2))
    return float(similar.mean())


def ink_overlap(first: Any, second: Any) -> float:
    """Intersection over union of what is not background, in two arrays of one size; 1 if neither has any.

    A pixel's ink is the largest difference of its channels from the border's most frequent colour; sum of the smaller
    inks over sum of the larger.
    """
    a, b = _ink(first), _ink(second)
    union = np.maximum(a, b).sum()
    return float(np.minimum(a, b).sum() / union) if union else 1.0


def _background(picture: Any) -> Any:
    """The most frequent colour of the border."""
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    colors, counts = np.unique(border, axis=0, return_counts=True)
    return colors[counts.argmax()]


def _ink(picture: Any) -> Any:
    return np.abs(picture.astype(np.int16) - _background(picture)).max(axis=2)
