"""Logged groups as typed values, read from JSON lines that may be cut, damaged or still being written."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite, nan
from pathlib import Path
from typing import Any

from vlmrl.geometry import Box, Clip, Frame, ImageRecord, Size, Unit
from vlmrl.records import recorded_answer
from vlmrl.types import Answer, Finish, PromptMode, Score, Unparsed

Json = dict[str, Any]

PICTURE_NAME = re.compile(r"[0-9A-Za-z_-]+")


@dataclass(frozen=True)
class LoggedRollout:
    """A completion as it was logged; the answer is in original pixels and seconds."""

    text: str
    tokens: int
    finish: Finish
    answer: Answer | Unparsed
    scores: Mapping[str, Score]
    reward: float
    """NaN where none was logged; so is the advantage."""
    advantage: float
    source: str = "sampled"
    """Where it comes from, if the policy did not sample it on the row's own prompt: hinted, replayed, expert."""


@dataclass(frozen=True)
class LoggedVideo:
    """A clip and the names of its key frames; no frames where none were kept."""

    clip: Clip
    frames: tuple[str, ...] = ()
    seconds: tuple[float, ...] = ()
    """When each key frame is shown, from the clip's start."""
    shown: int = 0
    """How many frames the model was shown."""


@dataclass(frozen=True)
class LoggedGroup:
    """A line of rollouts/, of evals/ or of a file of answers: one row, the prompt, and everything that was answered."""

    step: int
    id: str
    sample_id: str
    task: str
    """Its task in a run of several; else empty."""
    question: str
    mode: PromptMode
    tags: Mapping[str, str]
    pictures: tuple[str | None, ...]
    """A name per record; None for a picture that was not kept."""
    records: tuple[ImageRecord, ...]
    videos: tuple[LoggedVideo, ...]
    gold: Answer
    target: Box | None
    """The box that a gold action's place may lie in."""
    preamble: str
    """Code that runs before an answered script."""
    prompt: str
    rollouts: tuple[LoggedRollout, ...]
    metrics: Mapping[str, float]
    """Metric values of an evaluated row's single rollout; empty for a training group."""
    error: str
    """Traceback of the scorer that failed on an evaluated row; else empty."""

    @property
    def media(self) -> tuple[str, ...]:
        """Names of all pictures and key frames that were kept."""
        frames = [name for video in self.videos for name in video.frames]
        return (*(name for name in self.pictures if name), *frames)

    @property
    def kept(self) -> bool:
        """Whether everything that the model saw was kept."""
        return all(self.pictures) and all(video.frames for video in self.videos)


class Log:
    """JSON lines and pictures below one folder.

    Lines that are cut or damaged are left out and counted in `damaged` (file name -> lines), so that a page about the
    rest can say so.
    """

    def __init__(self, path: Path, images: Path) -> None:
        self.path = path
        self._images = images
        self.damaged: Counter[str] = Counter()

    def lines(self, file: Path) -> Iterator[Json]:
        """The objects of a file; none if it is not there."""
        self.damaged.pop(self._name(file), None)
        if not file.is_file():
            return
        with file.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if not line.strip():
                    continue
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError):
                    value = None
                if isinstance(value, dict):
                    yield value
                else:
                    self.damaged[self._name(file)] += 1

    def groups(self, file: Path) -> list[LoggedGroup]:
        """The groups of a file, in its order."""
        groups = []
        for line in self.lines(file):
            try:
                groups.append(logged_group(line))
            except (KeyError, IndexError, TypeError, ValueError, AttributeError):
                self.damaged[self._name(file)] += 1
        return groups

    def picture(self, name: str) -> Path | None:
        """The file of a picture or key frame, or None if it is not there. Links out of the folder are not followed."""
        if not PICTURE_NAME.fullmatch(name):
            return None
        files = (self._image_folder / f"{name}{suffix}" for suffix in (".png", ".jpg"))
        return next((file for file in files if file.is_file() and file.resolve().parent == self._image_folder), None)

    @cached_property
    def _image_folder(self) -> Path:
        return self._images.resolve()

    def _name(self, file: Path) -> str:
        return file.relative_to(self.path).as_posix()


def number(record: Mapping[str, Any], *keys: str) -> float | None:
    """A finite number by its nested keys; None if it is missing, null, NaN or no number."""
    value: Any = record
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)


def logged_group(line: Json) -> LoggedGroup:
    """The group of one line. Raises KeyError, IndexError, TypeError, ValueError or AttributeError for a broken one."""
    sample = line["sample"]
    model_sizes = sample.get("model_sizes") or [None] * len(sample["sizes"])
    records = tuple(
        ImageRecord(index, Size(*size), Size(*model_size) if model_size else None)
        for index, (size, model_size) in enumerate(zip(sample["sizes"], model_sizes, strict=True))
    )
    frames = [record.frame(Unit.ORIGINAL) for record in records]
    clips = [Clip(index, duration) for index, duration in enumerate(sample.get("clips", ()))]
    gold = recorded_answer(sample["gold"], frames, clips)
    if isinstance(gold, Unparsed):
        raise ValueError("the gold answer is no answer")
    extra = sample.get("extra", {})
    target = recorded_answer(extra["target"], frames, clips) if extra.get("target") else None
    videos = sample.get("videos") or [None] * len(clips)
    return LoggedGroup(
        step=int(line["step"]),
        id=str(line["group"]),
        sample_id=str(sample["id"]),
        task=str(sample.get("task", "")),
        question=str(sample["question"]),
        mode=PromptMode(sample.get("mode", "direct")),
        tags={str(key): str(value) for key, value in sample.get("tags", {}).items()},
        pictures=tuple(
            name if isinstance(name, str) else None for _, name in zip(records, sample["images"], strict=True)
        ),
        records=records,
        videos=tuple(_video(clip, video) for clip, video in zip(clips, videos, strict=True)),
        gold=gold,
        target=target if isinstance(target, Box) else None,
        preamble=str(extra.get("preamble", "")),
        prompt=str(line.get("prompt", "")),
        rollouts=tuple(_rollout(rollout, frames, clips) for rollout in line["rollouts"]),
        metrics={str(name): float(value) for name, value in line.get("metrics", {}).items()},
        error=str(line.get("error", "")),
    )


def _video(clip: Clip, video: Json | None) -> LoggedVideo:
    if video is None:
        return LoggedVideo(clip)
    frames, seconds = map(str, video["frames"]), map(float, video["seconds"])
    pairs = [(name, second) for name, second in zip(frames, seconds, strict=True) if isfinite(second)]
    return LoggedVideo(clip, tuple(n for n, _ in pairs), tuple(s for _, s in pairs), int(video["shown"]))


def _rollout(line: Json, frames: list[Frame], clips: list[Clip]) -> LoggedRollout:
    return LoggedRollout(
        text=str(line["text"]),
        tokens=len(line.get("token_ids", ())),
        finish=Finish(line["finish"]),
        answer=recorded_answer(line["answer"], frames, clips),
        scores={str(name): Score(**score) for name, score in line.get("scores", {}).items()},
        reward=_float(line.get("reward")),
        advantage=_float(line.get("advantage")),
        source=str(line.get("source", "sampled")),
    )


def _float(value: float | None) -> float:
    return nan if value is None else float(value)
