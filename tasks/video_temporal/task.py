"""Video questions: when something happens, which option is right, and open questions."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from vlmrl.answers.answer_type import AnswerType
from vlmrl.answers.choice import CHOICE, letters, listed_options
from vlmrl.answers.span import SPAN, SPANS, gold_spans
from vlmrl.answers.text import NUMBER_ANSWER, TEXT, as_number
from vlmrl.errors import UserError
from vlmrl.geometry import Clip, Span
from vlmrl.rewards import numbers, spans, texts
from vlmrl.synthetic.drawn_rows import DrawnRows
from vlmrl.task import Split, Task, metric, reward
from vlmrl.types import Answer, Choice, PromptMode, Rollout, Sample, Score, Spans, Text, Video, VideoFile

from .loaders import Misfits, Reading, load_rows
from .schemas import SCHEMAS
from .synthetic import DrawnClip, draw_clip

NO_SPAN = Score(unscorable="the row asks for no time span")
SEVERAL = Score(unscorable="the row asks for several spans, and this reward compares one with one")
NO_QUESTION = Score(unscorable="the row asks for time spans")
CHOICE_SHARE = 0.2
"""Share of the drawn rows that are multiple-choice questions."""
SCATTER = 1
"""Scattered span answers have each end off by up to this many seconds."""
SCATTERED_CHOICES = 0.4
"""Share of the scattered choices that are replaced by another option."""


@dataclass
class VideoTemporal(Task):
    """Answer when something happens in a video, or a multiple-choice or open question about it."""

    mode: Literal["direct", "think"] = "direct"
    """Prompt mode of rows that state none: answer at once, or think first."""
    fps: float = VideoFile.fps
    """Frames per second of a video that the model is shown, unless a limit below leaves fewer."""
    max_frames: int = VideoFile.max_frames
    """Most frames of a clip."""
    max_video_pixels: int = VideoFile.max_pixels
    """Most pixels of all frames of a clip together; frames are shrunk to it."""
    threshold: float = 0.5
    """tIoU from which the reward `threshold` pays."""
    skip_unusable: bool = False
    """Leave out rows whose span has no length or does not fit its clip, and say how many, instead of stopping."""

    formats: ClassVar[Mapping[str, str]] = {schema.name: schema.description for schema in SCHEMAS}

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise UserError(f"task.options.threshold={self.threshold:g}: must be above 0 and at most 1")
        try:
            self._clip = VideoFile(Path(), 0.0, None, self.fps, self.max_frames, self.max_video_pixels)
        except ValueError as error:
            raise UserError(f"task.options.fps, max_frames, max_video_pixels: {error}") from error

    def load(self, path: Path) -> Sequence[Sample]:
        misfits = Misfits.LEFT_OUT if self.skip_unusable else Misfits.REFUSED
        return load_rows(path, Reading(self._clip, PromptMode(self.mode), misfits))

    def synthetic(self, split: Split, rows: int, seed: int) -> Sequence[Sample]:
        return DrawnRows(split, rows, seed, draw_clip, self._row)

    def _row(self, drawn: DrawnClip, id_: str) -> Sample:
        rng = random.Random(f"question {drawn.seed}")
        clip = Clip(0, float(len(drawn.frames)))
        sample = Sample(
            id=id_,
            images=(),
            records=(),
            question="",
            gold=Choice("A"),
            mode=PromptMode(self.mode),
            videos=(Video(drawn.frames, tuple(float(second) for second in range(len(drawn.frames)))),),
            clips=(clip,),
        )
        if rng.random() < CHOICE_SHARE:
            shown = rng.sample(drawn.appearances, 2)
            options = tuple(shape.name for shape in shown)
            right = min(range(2), key=lambda i: shown[i].start)
            return replace(
                sample,
                question=f"which shape appears first?\n{listed_options(options)}",
                gold=Choice("AB"[right]),
                tags={"kind": "choice"},
                extra={"kind": "choice", "options": options},
            )
        target = rng.choice(drawn.appearances)
        return replace(
            sample,
            question=rng.choice(("when is the {} visible?", "when can you see the {}?")).format(target.name),
            gold=Span(float(target.start), float(target.end), clip),
            tags={"kind": "span"},
            extra={"kind": "span"},
        )

    def scattered(self, sample: Sample, rng: random.Random) -> Answer:
        """An imprecise answer near gold, for the embedded model's last warm-up stage; a text is gold itself."""
        match sample.gold:
            case Span():
                return _scattered(sample.gold, rng)
            case Spans(items):
                return Spans(tuple(dict.fromkeys(_scattered(span, rng) for span in items)))
            case Choice(letter) if rng.random() < SCATTERED_CHOICES:
                return Choice(rng.choice([other for other in letters(sample) if other != letter]))
        return sample.gold

    def answers_with(self, sample: Sample) -> AnswerType:
        match sample.gold:
            case Span():
                return SPAN
            case Spans():
                return SPANS
            case Choice():
                return CHOICE
            case Text():
                return NUMBER_ANSWER if sample.extra["kind"] in ("number", "regression") else TEXT
        raise TypeError(f"row {sample.id}: no answer of video_temporal is like {sample.gold}")

    @reward(weight=1.0)
    def tiou(self, answer: Answer, sample: Sample, rollout: Rollout) -> float | Score:
        """Temporal IoU; of several spans, that of the best one-to-one matching over the larger number of spans."""
        if not isinstance(answer, Span | Spans):
            return NO_SPAN
        return spans.matched_tiou(gold_spans(answer), gold_spans(sample.gold))

    @reward(weight=1.0)
    def accuracy(self, answer: Answer, sample: Sample, rollout: Rollout) -> float | Score:
        """Video-R1's reward of the row's kind of question."""
        return NO_QUESTION if isinstance(answer, Span | Spans) else _accuracy(answer, sample, "reward")

    @reward(weight=0.1)
    def format(self, answer: Answer, sample: Sample, rollout: Rollout) -> float:
        """1 for an answer in the requested format; only those reach a reward."""
        return 1.0

    @reward(weight=0.0)
    def distance_tiou(self, answer: Answer, sample: Sample, rollout: Rollout) -> float | Score:
        """Time-R1's tIoU, multiplied by how near start and end are to the target's."""
        if not isinstance(answer, Span) or not isinstance(sample.gold, Span):
            return SEVERAL if isinstance(answer, Spans) else NO_SPAN
        return spans.distance_tiou(answer, sample.gold)

    @reward(weight=0.0)
    def set_iou(self, answer: Answer, sample: Sample, rollout: Rollout) -> float | Score:
        """VideoChat-R1's IoU of all seconds named."""
        if not isinstance(answer, Span | Spans):
            return NO_SPAN
        return spans.set_iou(gold_spans(answer), gold_spans(sample.gold))

    @reward(weight=0.0)
    def reaches_threshold(self, answer: Answer, sample: Sample, rollout: Rollout) -> float | Score:
        """1 if `tiou` is `task.options.threshold` or more."""
        if not isinstance(answer, Span | Spans):
            return NO_SPAN
        return float(spans.matched_tiou(gold_spans(answer), gold_spans(sample.gold)) >= self.threshold)

    @metric
    def correct(self, answer: Answer, sample: Sample, rollout: Rollout) -> float:
        """R1@0.5 of span rows; of choices the accuracy, of open questions the score that Video-R1 evaluates with."""
        return self._recall(answer, sample, 0.5)

    @metric
    def r1_at_03(self, answer: Answer, sample: Sample, rollout: Rollout) -> float:
        """1 if the span (the first one named) has a tIoU of 0.3 or more; rows without spans count as in `correct`."""
        return self._recall(answer, sample, 0.3)

    @metric
    def r1_at_07(self, answer: Answer, sample: Sample, rollout: Rollout) -> float:
        """As `r1_at_03`, from 0.7 on."""
        return self._recall(answer, sample, 0.7)

    @metric
    def miou(self, answer: Answer, sample: Sample, rollout: Rollout) -> float:
        """tIoU of the span (the first one named); rows without spans count as in `correct`."""
        return self._first_tiou(answer, sample)

    @metric
    def matched(self, answer: Answer, sample: Sample, rollout: Rollout) -> float:
        """tIoU of all spans matched one to one, as in `tiou`; rows without spans count as in `correct`."""
        if not isinstance(answer, Span | Spans):
            return _accuracy(answer, sample, "metric")
        return spans.matched_tiou(gold_spans(answer), gold_spans(sample.gold))

    def _recall(self, answer: Answer, sample: Sample, threshold: float) -> float:
        if not isinstance(answer, Span | Spans):
            return _accuracy(answer, sample, "metric")
        return float(self._first_tiou(answer, sample) >= threshold)

    @staticmethod
    def _first_tiou(answer: Answer, sample: Sample) -> float:
        if not isinstance(answer, Span | Spans):
            return _accuracy(answer, sample, "metric")
        return spans.best_tiou(gold_spans(answer)[0], gold_spans(sample.gold))


def _accuracy(answer: Answer, sample: Sample, use: Literal["reward", "metric"]) -> float:
    """How right the answer of a row without spans is; reward and metric differ for regression rows only."""
    gold = sample.gold
    if isinstance(gold, Choice):
        return float(answer == gold)
    if not isinstance(answer, Text) or not isinstance(gold, Text):
        raise TypeError(f"row {sample.id}: cannot compare {answer} with {gold}")
    kind = sample.extra["kind"]
    if kind == "ocr":
        return texts.word_accuracy(answer.text, gold.text)
    if kind == "text":
        return texts.rouge_mean(answer.text, gold.text)
    given, wanted = as_number(answer.text), as_number(gold.text)
    if given is None or wanted is None:
        raise TypeError(f"row {sample.id}: {answer} and {gold} must be numbers")
    if kind == "number":
        return numbers.equal_to_cents(given, wanted)
    return (numbers.relative_agreement if use == "reward" else numbers.mean_relative_accuracy)(given, wanted)


def _scattered(span: Span, rng: random.Random) -> Span:
    """Both ends moved by whole seconds, at least a second apart and inside the clip where it is that long."""
    last = span.clip.duration
    start = min(max(span.start + rng.randint(-SCATTER, SCATTER), 0.0), max(last - 1, 0.0))
    end = min(max(span.end + rng.randint(-SCATTER, SCATTER), start + 1), max(last, start + 1))
    return Span(start, end, span.clip)
