"""COCO's twelve figures over rows together, by pycocotools, with bootstrap intervals over pictures.

Every picture is matched once. A resample draws pictures and accumulates what is known of them, with the arithmetic of
COCOeval.accumulate on arrays, so that a hundred resamples of thousands of pictures take seconds. An interval is the
figure and 1.96 standard deviations of the resamples: their quantiles would lie too high, as the precision envelope of
fewer different pictures is larger.
"""

import contextlib
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlmrl.evaluation.statistics import Z_95, Estimate
from vlmrl.rewards.coco import AREAS, MAX_DETECTIONS, Picture, Target, coco_evaluation, targets_of
from vlmrl.rewards.matching import NO_BOXES
from vlmrl.task import ScoredRow
from vlmrl.types import Boxes, Sample

RESAMPLES = 100
SETS_MAX_DETECTIONS = (100, 300, 1000)
"""Boxes per picture and class that the Qwen team's ODinW script looks at (evaluation/ODinW-13 of QwenLM/Qwen3-VL)."""
SIZES = tuple(AREAS)[1:]
AP_LIMIT = 100
"""Boxes per picture and class behind `ap`, whatever the limits of the other figures are: COCOeval.summarize's."""


@dataclass(frozen=True)
class CocoTruth:
    """What a COCO file says of a picture: exactly what the official evaluation reads."""

    image_id: int | str
    categories: Mapping[str, int]
    """Name -> id; one object for all pictures of a file."""
    targets: tuple[Target, ...]
    """With the area of the outline, and with objects narrower than a pixel, of which no answer is expected."""


def coco_estimates(rows: Sequence[ScoredRow], resamples: int = RESAMPLES) -> dict[str, Estimate]:
    """The figures of COCOeval.summarize: ap, ap50, ap75, ap_small, ..., ar1, ar10, ar100, ar_small, ...

    An answer that did not parse has no boxes. The pictures of a COCO file are in the order of their ids, as pycocotools
    sorts them; others, and those of several files, are in the order of `rows`, with the area of the box for that of the
    object. Rows with a tag `set` (ODinW) are evaluated set by set, with the limits `SETS_MAX_DETECTIONS`; a figure is
    then the unweighted mean over the sets that have it, and resamples are drawn within sets. Empty if no row has a gold
    box.
    """
    sets: dict[str, list[ScoredRow]] = defaultdict(list)
    for row in rows:
        sets[row[0].tags.get("set", "")].append(row)
    limits = {name: SETS_MAX_DETECTIONS if name else MAX_DETECTIONS for name in sets}
    evaluations = [coco_evaluation(*_pictures(part), AREAS, limits[name]) for name, part in sets.items()]
    found = _mean([_summary(evaluation) for evaluation in evaluations])
    parts = [_Matched(evaluation) for evaluation in evaluations]
    random = np.random.default_rng(0)
    drawn: dict[str, list[float]] = defaultdict(list)
    for _ in range(resamples):
        for name, value in _mean([part.resampled(random) for part in parts]).items():
            drawn[name].append(value)
    estimates = {}
    for name, value in found.items():
        half = Z_95 * float(np.std(drawn[name])) if name in drawn else 0.0
        estimates[name] = Estimate(value, max(value - half, 0.0), min(value + half, 1.0), len(rows))
    return estimates


def _pictures(rows: Sequence[ScoredRow]) -> tuple[list[Picture], Mapping[str, int]]:
    answers = [answer if isinstance(answer, Boxes) else NO_BOXES for _, answer in rows]
    truths = [truth for sample, _ in rows if isinstance(truth := sample.extra.get("coco"), CocoTruth)]
    one_file = len({id(truth.categories) for truth in truths}) == 1
    if one_file and len(truths) == len(rows):
        pairs = sorted(zip(truths, answers, strict=True), key=lambda pair: pair[0].image_id)
        return [Picture(answer, truth.targets) for truth, answer in pairs], truths[0].categories
    labels = sorted({item.label for sample, _ in rows for item in gold_boxes(sample).items})
    categories = {label: k for k, label in enumerate(labels, start=1)}
    return [
        Picture(answer, targets_of(gold_boxes(sample), ignored_boxes(sample), categories))
        for (sample, _), answer in zip(rows, answers, strict=True)
    ], categories


def gold_boxes(sample: Sample) -> Boxes:
    if not isinstance(sample.gold, Boxes):
        raise TypeError(f"row {sample.id}: the target of detection is a list of boxes, not {sample.gold}")
    return sample.gold


def ignored_boxes(sample: Sample) -> Boxes:
    ignored = sample.extra.get("ignored", NO_BOXES)
    if not isinstance(ignored, Boxes):
        raise TypeError(f"row {sample.id}: ignored regions are a list of boxes, not {ignored}")
    return ignored


def _names(max_detections: Sequence[int]) -> list[str]:
    """Names in the order of COCOeval.summarize."""
    return [
        "ap", "ap50", "ap75", *(f"ap_{size}" for size in SIZES),
        *(f"ar{most}" for most in max_detections), *(f"ar_{size}" for size in SIZES),
    ]  # fmt: skip


def _summary(evaluation: Any) -> dict[str, float]:
    """The twelve figures as pycocotools computes them, without those that have no gold box (there -1)."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
        evaluation.summarize()
    names = _names(evaluation.params.maxDets)
    return {name: float(value) for name, value in zip(names, evaluation.stats, strict=True) if value > -1}


def _mean(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for part in parts for name in part)
    having = {name: [part[name] for part in parts if name in part] for name in names}
    return {name: sum(values) / len(values) for name, values in having.items()}


@dataclass(frozen=True)
class _ClassMatches:
    """How the boxes of one class in one range of areas were matched, picture after picture."""

    starts_I: np.ndarray
    """Index of each picture's first box; I counts pictures, D boxes, T IoU thresholds."""
    lengths_I: np.ndarray
    ranks_D: np.ndarray
    """Place of a box among its picture's."""
    scores_D: np.ndarray
    right_TD: np.ndarray
    wrong_TD: np.ndarray
    gold_I: np.ndarray
    """Number of gold boxes to be found."""
    ranked: bool
    """Whether all scores are equal, so that the order of pictures and boxes ranks them."""


class _Matched:
    """The matches of an evaluation, ready to be accumulated over any choice of its pictures."""

    def __init__(self, evaluation: Any) -> None:
        params = evaluation.params
        self.recalls, self.thresholds, self.limits = params.recThrs, params.iouThrs, list(params.maxDets)
        self.count = len(params.imgIds)
        self._grids: dict[int, np.ndarray] = {}
        places = iter(range(0, len(evaluation.evalImgs), self.count))
        self.classes: dict[str, list[_ClassMatches]] = {area: [] for area in params.areaRngLbl}
        for _ in params.catIds:
            for area in params.areaRngLbl:
                place = next(places)
                matches = _class_matches(evaluation.evalImgs[place : place + self.count], len(self.thresholds))
                if matches is not None:
                    self.classes[area].append(matches)

    def resampled(self, random: np.random.Generator) -> dict[str, float]:
        """The figures over as many pictures, drawn with replacement."""
        return self.figures(np.bincount(random.integers(self.count, size=self.count), minlength=self.count))

    def figures(self, times_I: np.ndarray) -> dict[str, float]:
        """The figures over pictures that count so many times each."""
        last = self.limits[-1]
        found: dict[str, float] = {}
        curves = {area: self._curves(area, times_I, last) for area in AREAS}
        for area, (precisions_KT, _) in curves.items():
            if len(precisions_KT):
                found["ap" if area == "all" else f"ap_{area}"] = precisions_KT.mean()
        precisions_KT, _ = curves["all"]
        if len(precisions_KT):
            if last > AP_LIMIT:
                found["ap"] = self._curves("all", times_I, AP_LIMIT)[0].mean()
            found["ap50"] = precisions_KT[:, np.isclose(self.thresholds, 0.5)].mean()
            found["ap75"] = precisions_KT[:, np.isclose(self.thresholds, 0.75)].mean()
        for most in self.limits:
            recalls_KT = curves["all"][1] if most == last else self._recalls(times_I, most)
            if len(recalls_KT):
                found[f"ar{most}"] = recalls_KT.mean()
        for area in SIZES:
            if len(curves[area][1]):
                found[f"ar_{area}"] = curves[area][1].mean()
        return {name: float(value) for name, value in found.items()}

    def _curves(self, area: str, times_I: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Average precision and final recall per class (rows) and threshold; classes without gold are left out."""
        precisions, recalls = [], []
        for matches in self.classes[area]:
            gold = int(matches.gold_I @ times_I)
            if gold == 0:
                continue
            picked = _picked(matches, times_I, most)
            right_TD, wrong_TD = matches.right_TD[:, picked], matches.wrong_TD[:, picked]
            precisions.append(_average_precision(right_TD, wrong_TD, self._grid(gold)))
            recalls.append(right_TD.sum(axis=1) / gold)
        return np.array(precisions), np.array(recalls)

    def _grid(self, gold: int) -> np.ndarray:
        """Points of the recall grid that are first reached by the n-th of `gold` boxes, n from 1."""
        if gold not in self._grids:
            reached = np.searchsorted(np.arange(1, gold + 1) / gold, self.recalls, side="left")
            self._grids[gold] = np.bincount(reached, minlength=gold)
        return self._grids[gold]

    def _recalls(self, times_I: np.ndarray, most: int) -> np.ndarray:
        recalls = []
        for matches in self.classes["all"]:
            gold = int(matches.gold_I @ times_I)
            if gold:
                recalls.append(matches.right_TD[:, _picked(matches, times_I, most)].sum(axis=1) / gold)
        return np.array(recalls)


def _class_matches(pictures: Sequence[Mapping[str, Any] | None], thresholds: int) -> _ClassMatches | None:
    """From COCOeval's results per picture, None for pictures without boxes of the class; None without any gold box."""
    gold_I = np.array([0 if p is None else np.count_nonzero(np.asarray(p["gtIgnore"]) == 0) for p in pictures])
    if not gold_I.any():
        return None
    known = [p for p in pictures if p is not None]
    lengths_I = np.array([0 if p is None else len(p["dtScores"]) for p in pictures])
    none = np.zeros((thresholds, 0))
    matched = np.concatenate([none, *(p["dtMatches"] for p in known)], axis=1).astype(bool)
    ignored = np.concatenate([none, *(p["dtIgnore"] for p in known)], axis=1).astype(bool)
    scores_D = np.concatenate([np.zeros(0), *(p["dtScores"] for p in known)])
    return _ClassMatches(
        starts_I=lengths_I.cumsum() - lengths_I,
        lengths_I=lengths_I,
        ranks_D=np.concatenate([np.zeros(0, int), *map(np.arange, lengths_I)]),
        scores_D=scores_D,
        right_TD=matched & ~ignored,
        wrong_TD=~matched & ~ignored,
        gold_I=gold_I,
        ranked=len(np.unique(scores_D)) < 2,
    )


def _picked(matches: _ClassMatches, times_I: np.ndarray, most: int) -> np.ndarray:
    """Indices of the boxes of the drawn pictures, a picture's repetitions one after another, by falling score."""
    drawn = np.repeat(np.arange(len(times_I)), times_I)
    lengths = matches.lengths_I[drawn]
    picked = np.repeat(matches.starts_I[drawn] - (lengths.cumsum() - lengths), lengths) + np.arange(lengths.sum())
    picked = picked[matches.ranks_D[picked] < most]
    return picked if matches.ranked else picked[np.argsort(-matches.scores_D[picked], kind="mergesort")]


def _average_precision(right_TD: np.ndarray, wrong_TD: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Mean over the recall grid of the precision envelope, per threshold.

    Recall grows with right boxes only: the n-th one stands for the grid points up to its recall and above the last
    one's.
    """
    right, wrong = right_TD.cumsum(axis=1), wrong_TD.cumsum(axis=1)
    precisions = right / (right + wrong + np.spacing(1))
    envelopes = np.maximum.accumulate(precisions[:, ::-1], axis=1)[:, ::-1]
    points = np.where(right_TD, grid[np.maximum(right, 1) - 1], 0)
    return (envelopes * points).sum(axis=1) / grid.sum()
