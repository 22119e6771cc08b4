"""Picture similarity: golden numbers from the formulas, and pictures that must not pay."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from vlmrl.rewards.images import C1, image_similarity, ink_overlap, ssim


def bars(*heights, color="blue", size=(320, 240), background="white"):
    picture = Image.new("RGB", size, background)
    canvas = ImageDraw.Draw(picture)
    width, height = size
    step = width / len(heights)
    for index, share in enumerate(heights):
        left = step * index + step / 4
        canvas.rectangle((left, height * (1 - share), left + step / 2, height), fill=color)
    return picture


GOLD = bars(0.4, 0.9, 0.6)


def test_ssim_of_flat_pictures():
    # Without variance the formula is (2 a b + C1) / (a^2 + b^2 + C1).
    a, b = 100.0, 150.0
    flat = [np.full((32, 32, 3), level) for level in (a, b)]
    assert ssim(*flat) == pytest.approx((2 * a * b + C1) / (a * a + b * b + C1))


def test_ssim_of_equal_and_inverted_noise():
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3)).astype(float)
    assert ssim(noise, noise) == pytest.approx(1)
    assert ssim(noise, 255 - noise) < -0.5  # the covariance keeps its sign


def test_ink_overlap_by_hand():
    first, second = np.full((10, 10, 3), 255, np.uint8), np.full((10, 10, 3), 255, np.uint8)
    first[2:4, 2:6] = 0
    second[2:4, 4:8] = 0
    assert ink_overlap(first, second) == pytest.approx(4 / 12)
    second[2:4, 4:8] = 105  # 150 of 255 levels of ink: 4 pixels of it shared
    assert ink_overlap(first, second) == pytest.approx(4 * 150 / (8 * 255 + 4 * 150))


def test_an_equal_picture_scores_one():
    assert image_similarity(GOLD, GOLD) == 1
    assert image_similarity(GOLD.copy(), GOLD) == 1


@pytest.mark.parametrize(
    "picture",
    [
        Image.new("RGB", GOLD.size, "white"),
        Image.new("RGB", GOLD.size, "black"),
        Image.new("RGB", GOLD.size, "gray"),
        Image.new("RGB", (10, 10), "white"),
    ],
    ids=["white", "black", "gray", "tiny"],
)
def test_blank_canvases_score_nothing(picture):
    assert image_similarity(picture, GOLD) == 0


def test_pictures_that_only_look_busy_score_less_than_a_wrong_chart():
    wrong = image_similarity(bars(0.9, 0.4, 0.6), GOLD)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8))
    assert image_similarity(noise, GOLD) < wrong
    assert image_similarity(ImageOps.invert(GOLD), GOLD) < wrong
    full = bars(1, 1, 1)
    assert image_similarity(full, GOLD) < image_similarity(bars(0.5, 0.9, 0.6), GOLD)


def test_similarity_falls_with_the_error():
    scores = [image_similarity(bars(0.4, 0.9, height), GOLD) for height in (0.6, 0.65, 0.7, 0.8, 0.9)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 1
    assert scores[-1] < 0.9


def test_colours_count():
    assert image_similarity(bars(0.4, 0.9, 0.6, color="yellow"), GOLD) < 0.9


def test_size_does_not_count():
    assert image_similarity(bars(0.4, 0.9, 0.6, size=(640, 480)), GOLD) > 0.95


def test_a_blank_gold_picture():
    blank = Image.new("RGB", (64, 48), "white")
    assert image_similarity(blank, blank) == 1
    assert 0 <= image_similarity(GOLD, blank) < 0.2
