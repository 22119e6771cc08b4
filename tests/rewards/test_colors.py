"""CIEDE2000 against the published test data, and the similarity made of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.rewards.colors import ciede2000, color_similarity, lab

# Sharma, Wu, Dalal (2005): The CIEDE2000 color-difference formula, table 1.
PUBLISHED = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, 3.1571, -77.2803), (50, 0, -82.7485), 2.8615),
    ((50, 2.8361, -74.0200), (50, 0, -82.7485), 3.4412),
    ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((50, 2.5, 0), (61, -5, 29), 22.8977),
    ((50, 2.5, 0), (50, 3.1736, 0.5854), 1.0000),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
]
COLORS = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


@pytest.mark.parametrize(("first", "second", "difference"), PUBLISHED)
def test_published_differences(first, second, difference):
    assert ciede2000(first, second) == pytest.approx(difference, abs=1e-4)
    assert ciede2000(second, first) == pytest.approx(difference, abs=1e-4)


def test_lab_of_known_colours():
    # The values of the sRGB primaries under D65 that colour tables print.
    assert lab("#ffffff") == pytest.approx((100, 0, 0), abs=0.02)
    assert lab("#000000") == pytest.approx((0, 0, 0), abs=1e-9)
    assert lab("#ff0000") == pytest.approx((53.24, 80.09, 67.20), abs=0.02)
    assert lab("#0000ff") == pytest.approx((32.30, 79.19, -107.86), abs=0.02)


@given(COLORS, COLORS)
def test_similarity_is_symmetric_and_bounded(first, second):
    similarity = color_similarity(first, second)
    assert similarity == pytest.approx(color_similarity(second, first), abs=1e-9)
    assert 0 <= similarity <= 1
    assert color_similarity(first, first) == 1


def test_colormaps_are_equal_or_not():
    assert color_similarity("viridis", "viridis") == 1
    assert color_similarity("viridis", "plasma") == 0
    assert color_similarity("viridis", "#440154") == 0
