"""Average precision of single pictures; that of many is tested in tests/tasks/test_detection_figures.py."""

import pytest

from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.rewards.average_precision import average_precision, od_length, voc_average_precision
from vlmrl.types import Boxes, LabelledBox

FRAME = ImageRecord(0, Size(640, 480)).frame(Unit.ORIGINAL)
Item = tuple[str, float, float, float, float]


def boxes(*items: Item) -> Boxes:
    return Boxes(tuple(LabelledBox(label, Box(*corners, FRAME)) for label, *corners in items))


A, B = ("cat", 0, 0, 100, 100), ("cat", 200, 0, 300, 100)
MISS, DOG = ("cat", 400, 300, 500, 400), ("dog", 400, 0, 500, 100)


def test_boxes_must_be_in_original_pixels() -> None:
    thousandths = ImageRecord(0, Size(640, 480)).frame(Unit.NORM1000)
    answer = Boxes((LabelledBox("cat", Box(0, 0, 100, 100, thousandths)),))
    with pytest.raises(ValueError, match="original pixels"):
        average_precision(answer, boxes(A))


def steps(*pairs: tuple[float, float]) -> float:
    """COCO's mean over recalls 0, 0.01, ..., 1 of precisions that hold up to a recall: (recall, precision), ..."""
    total = 0.0
    for i in range(101):
        total += next((precision for recall, precision in pairs if i / 100 <= recall + 1e-9), 0.0)
    return total / 101


@pytest.mark.parametrize(
    ("predicted", "coco", "voc", "length"),
    [
        ([A, B], 1, 1, 1),
        ([A], steps((0.5, 1)), 1 / 2, 1),
        ([A, MISS, B], steps((0.5, 1), (1, 2 / 3)), (1 + 2 / 3) / 2, 2 / 3),
        ([MISS, A, B], 2 / 3, 2 / 3, 2 / 3),  # the envelope holds the precision that follows
        ([A, B, MISS, MISS, MISS], 1, 1, 2 / 5),  # boxes after the good ones are free in AP
        ([A, A, A, B], steps((0.5, 1), (1, 2 / 4)), (1 + 2 / 4) / 2, 2 / 4),
        ([A, B, DOG], 1 / 2, 1 / 2, 2 / 3),  # a class that is not there has AP 0
        ([DOG], 0, 0, 1),
        ([], 0, 0, 1),
    ],
)
def test_one_picture(predicted: list[Item], coco: float, voc: float, length: float) -> None:
    answer, gold = boxes(*predicted), boxes(A, B)
    assert average_precision(answer, gold) == pytest.approx(coco)
    assert voc_average_precision(answer, gold) == pytest.approx(voc)
    assert od_length(answer, gold) == pytest.approx(coco * length)


def test_coco_averages_over_thresholds_and_voc_takes_one() -> None:
    overlap = ("cat", 0, 0, 72, 100)  # IoU 0.72 reaches 0.50, 0.55, 0.60, 0.65 and 0.70
    assert average_precision(boxes(overlap), boxes(A)) == pytest.approx(5 / 10)
    assert voc_average_precision(boxes(overlap), boxes(A)) == 1
    assert voc_average_precision(boxes(("cat", 0, 0, 50, 100)), boxes(A)) == 1  # the threshold itself is a hit
    assert voc_average_precision(boxes(("cat", 0, 0, 49, 100)), boxes(A)) == 0


def test_the_mean_over_classes() -> None:
    gold = boxes(A, B, DOG)
    assert average_precision(boxes(A, B), gold) == pytest.approx(1 / 2)
    assert voc_average_precision(boxes(A, B), gold) == pytest.approx(1 / 2)


def test_listing_everything_is_free_in_ap_and_not_in_od_length() -> None:
    """VLM-R1's hack: AP near 1 with many boxes after the good ones."""
    gold = boxes(A)
    spam = boxes(A, *(("cat", x, 300, x + 50, 400) for x in range(0, 560, 80)))
    assert average_precision(spam, gold) == pytest.approx(1)
    assert od_length(spam, gold) == pytest.approx(1 / 8)
