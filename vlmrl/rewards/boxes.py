"""Rewards for a point or a box that should lie on a target box.

All take typed answers, so the frames of answer and target are known: an answer in another frame of the same picture is
converted, one on another picture raises FrameError. Results are in [0, 1] where nothing else is said. IoU is `Box.iou`.
"""

from math import exp, hypot, sqrt

from vlmrl.geometry import Box, Point

FULL_IOU = 0.7
"""IoU from which InfiGUI-R1 pays a box in full (arXiv 2504.14239, section on rewards)."""
CORNER_TOLERANCE = 10 / 840
"""VisionReasoner's 10 pixels (vision_reasoner.py). It squashes every picture to 840 x 840, so this is a share of each
side, which means the same on a picture of any size."""
GAUSSIAN_SPREAD = 0.5
"""GUI-G2's alpha: the standard deviation of a box's Gaussian as a share of the box's side. The paper's ablation table
names its settings differently; 0.5 is what its text and gaussian_grpo.py have."""


def click_point(answer: Point | Box) -> Point:
    """Where an answer clicks: the point itself, or the centre of a box.

    Source: SeeClick, pretrain/screenspot_test.py, and every ScreenSpot scorer since.
    """
    return answer.center if isinstance(answer, Box) else answer


def point_in_box(answer: Point | Box, target: Box) -> float:
    """1 if the click lies in the target, edges included, else 0.

    Source: SeeClick (left <= x <= right and top <= y <= bottom), ScreenSpot-Pro. GUI-R1 excludes the edges.
    """
    return float(target.contains(click_point(answer).to(target.frame)))


def point_strictly_in_box(answer: Point | Box, target: Box) -> float:
    """1 if the click lies inside the target and not on an edge, else 0.

    Source: GUI-R1 (r1gui.py), for targets that are boxes.
    """
    click = click_point(answer).to(target.frame)
    return float(target.x1 < click.x < target.x2 and target.y1 < click.y < target.y2)


def closeness(answer: Point | Box, target: Box) -> float:
    """1 - (d / d_max)^2: 1 at the target's centre, 0 in the corner of the picture that is farthest from it.

    d is the distance from the click to the target's centre and d_max that of the farthest corner, both measured in
    fractions of the picture's width and height, so that the value does not depend on the picture's size or aspect.
    Source: SE-GUI (arXiv 2505.12370), the dense term of its point reward, without the cut of its code
    (`inside_and_close`). Clicks farther away than that corner earn 0.
    """
    distance, farthest = _distances(answer, target)
    return max(0.0, 1 - (distance / farthest) ** 2)


def inside_and_close(answer: Point | Box, target: Box) -> float:
    """[click in the target, edges included] + [d <= 1] (1 - (d / d_max)^2), in [0, 2]; d and d_max as in `closeness`.

    Source: SE-GUI's point reward as in its code (qwen_module.py), where the dense term is cut to 0 beyond d = 1, one
    side of the picture.
    """
    distance, _ = _distances(answer, target)
    return point_in_box(answer, target) + (closeness(answer, target) if distance <= 1 else 0.0)


def gaussian_point(answer: Point | Box, target: Box) -> float:
    """exp(-((dx / sx)^2 + (dy / sy)^2) / 2): a Gaussian over the target, 1 at its centre.

    dx, dy lead from the target's centre to the click; sx, sy are half the target's width and height. A corner of the
    target earns exp(-1). A target without area has no Gaussian and raises ZeroDivisionError; loaders refuse such.
    Source: GUI-G2 (arXiv 2507.15846), gaussian_grpo.py, without its rounding to three decimals.
    """
    click, center = click_point(answer).to(target.frame), target.center
    across = (click.x - center.x) / (GAUSSIAN_SPREAD * target.width)
    down = (click.y - center.y) / (GAUSSIAN_SPREAD * target.height)
    return exp(-(across**2 + down**2) / 2)


def gaussian_coverage(predicted: Box, target: Box) -> float:
    """exp(-D), D the Bhattacharyya distance of the Gaussians of both boxes: 1 for the target itself, 0 without area.

    Each box is a Gaussian about its centre with standard deviations of half its sides. Per axis, with s^2 the mean of
    the two variances, exp(-D) is sqrt(s_p s_t / s^2) exp(-d^2 / (8 s^2)); the axes multiply.
    Source: GUI-G2 (arXiv 2507.15846), gaussian_grpo.py.
    """
    predicted = predicted.to(target.frame)
    across = _overlap_of_gaussians(predicted.width, target.width, predicted.center.x - target.center.x)
    return across * _overlap_of_gaussians(predicted.height, target.height, predicted.center.y - target.center.y)


def squared_iou(predicted: Box, target: Box) -> float:
    """IoU^2. Source: Perception-R1's released grounding reward (rewards.py); its paper says IoU."""
    return predicted.to(target.frame).iou(target) ** 2


def iou_reaches(predicted: Box, target: Box, threshold: float) -> float:
    """1 if IoU >= threshold, else 0.

    Source: the metric of RefCOCO with 0.5; Seg-Zero and VisionReasoner (vision_reasoner.py) reward IoU > 0.5.
    """
    return float(predicted.to(target.frame).iou(target) >= threshold)


def staged_iou(predicted: Box, target: Box, low: float, high: float) -> float:
    """0 for IoU < low, 1 for IoU >= high, IoU itself between.

    Source: Vision-R1 of the Griffon team (arXiv 2503.18013), f of its dual rewards: 0.5 and 0.75 in the first phase,
    0.75 and 0.9 in the second. The paper applies it to IoU, visionr1_qwen.py to GIoU; here it is IoU.
    """
    iou = predicted.to(target.frame).iou(target)
    if iou < low:
        return 0.0
    return 1.0 if iou >= high else iou


def capped_iou(predicted: Box, target: Box) -> float:
    """min(1, IoU / 0.7). Source: InfiGUI-R1 (arXiv 2504.14239), its box reward."""
    return min(1.0, predicted.to(target.frame).iou(target) / FULL_IOU)


def corners_near(predicted: Box, target: Box) -> float:
    """1 if the four edges are off by less than 10/840 of the picture's side on average, else 0.

    Source: VisionReasoner (arXiv 2505.12081), vision_reasoner.py: mean absolute difference of the corners below 10 px.
    """
    return float(sum(_edge_gaps(predicted.to(target.frame), target)) / 4 < CORNER_TOLERANCE)


def giou(predicted: Box, target: Box) -> float:
    """Generalised IoU in [-1, 1]: IoU - (hull - union) / hull, the hull being the smallest box around both.

    It is IoU minus the share of the hull that neither box covers, so boxes that do not overlap still differ: the
    farther apart, the nearer to -1. A hull without area, around two dots, makes it -1.
    Source: Rezatofighi et al. (arXiv 1902.09630); Visual-RFT's grpo_lisa.py rewards GIoU + 1.
    """
    predicted = predicted.to(target.frame)
    intersection = predicted.intersection_area(target)
    union = predicted.area + target.area - intersection
    width = max(predicted.x2, target.x2) - min(predicted.x1, target.x1)
    height = max(predicted.y2, target.y2) - min(predicted.y1, target.y1)
    hull = width * height
    # A union of 0 in a hull with an area is two boxes without area; their IoU is 0 as in Box.iou.
    overlap = intersection / union if union > 0 else 0.0
    # Rounding can put the union an ulp above the hull of nested boxes, and the result above 1.
    return overlap - max(0.0, hull - union) / hull if hull > 0 else -1.0


def edge_agreement(predicted: Box, target: Box) -> float:
    """4 / sum(1 / s_k): the harmonic mean of how close each of the four edges is to the target's.

    s_k = 1 - |difference of edge k| / side of the picture along it. An edge off by a whole side or more makes it 0,
    where the formula would divide by zero or turn negative.
    Source: GUI-G1 (arXiv 2505.15810), the box size reward in grpo_rec.py, before its weight of 0.125.
    """
    agreements = [1 - gap for gap in _edge_gaps(predicted.to(target.frame), target)]
    if min(agreements) <= 0:
        return 0.0
    return 4 / sum(1 / agreement for agreement in agreements)


def _distances(answer: Point | Box, target: Box) -> tuple[float, float]:
    """From the target's centre to the click and to the picture's farthest corner, in fractions of width and height."""
    click, center = click_point(answer).to(target.frame), target.center
    width, height = target.frame.width, target.frame.height
    distance = hypot((click.x - center.x) / width, (click.y - center.y) / height)
    farthest = hypot(max(center.x, width - center.x) / width, max(center.y, height - center.y) / height)
    return distance, farthest


def _overlap_of_gaussians(side: float, target_side: float, shift: float) -> float:
    """The Bhattacharyya coefficient of two Gaussians on one axis."""
    spread, target_spread = GAUSSIAN_SPREAD * side, GAUSSIAN_SPREAD * target_side
    variance = (spread**2 + target_spread**2) / 2
    return min(1.0, sqrt(spread * target_spread / variance)) * exp(-(shift**2) / (8 * variance))


def _edge_gaps(predicted: Box, target: Box) -> tuple[float, float, float, float]:
    """How far each edge is from the target's, in fractions of the picture's side along it."""
    width, height = target.frame.width, target.frame.height
    return (
        abs(predicted.x1 - target.x1) / width,
        abs(predicted.y1 - target.y1) / height,
        abs(predicted.x2 - target.x2) / width,
        abs(predicted.y2 - target.y2) / height,
    )
