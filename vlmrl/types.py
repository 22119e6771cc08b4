"""The whole data flow on one page: a Sample becomes a Prompt, a Prompt a Group of Rollouts, a Rollout gets Scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmrl.geometry import Box, Clip, ImageRecord, Point, Span

if TYPE_CHECKING:
    from PIL import Image as PIL
    from torch import Tensor


@dataclass(frozen=True)
class LabelledBox:
    """A detected object."""

    label: str
    box: Box
    confidence: float | None = None
    """From 0 to 1, where the model was asked for it."""


@dataclass(frozen=True)
class Boxes:
    """All objects that were asked for, in the order they were named; none is an answer too."""

    items: tuple[LabelledBox, ...]


@dataclass(frozen=True)
class Points:
    """Several candidates for one place, the likeliest first."""

    items: tuple[Point, ...]


@dataclass(frozen=True)
class Refusal:
    """What is asked for is not in the picture."""


@dataclass(frozen=True)
class Spans:
    """Several parts of one clip, in the order they were named."""

    items: tuple[Span, ...]


@dataclass(frozen=True)
class Action:
    """One step on a device, of a kind that the row's action space declares."""

    kind: str
    """click, long_press, type, scroll, open_app, press_key, wait, finish, ..."""
    point: Point | None = None
    """Where, for kinds that have a place."""
    text: str | None = None
    """What to type, which app to open, which key to press, or what to answer, for kinds that have a text."""
    direction: str | None = None
    """up, down, left or right, for kinds that have a direction."""


@dataclass(frozen=True)
class Choice:
    """One option of a multiple-choice question."""

    letter: str


@dataclass(frozen=True)
class Text:
    """A free answer."""

    text: str


@dataclass(frozen=True)
class Code:
    """A script that answers. It is text: nothing but `vlmrl.sandbox` may run it."""

    source: str


Answer = Point | Points | Box | Boxes | Refusal | Span | Spans | Action | Choice | Text | Code
"""A typed answer. Rewards and metrics only ever see answers in original pixels and in seconds."""


class PromptMode(Enum):
    """How a row wants to be answered."""

    DIRECT = "direct"
    """The completion is the answer."""
    THINK = "think"
    """The completion is <think>...</think><answer>...</answer>; only the answer block counts."""


@dataclass(frozen=True)
class Video:
    """The decoded frames of a clip that the model is shown, in time order."""

    frames: tuple[PIL.Image, ...]
    """At least two, all of one size."""
    seconds: tuple[float, ...]
    """When each frame is shown, counted from the start of the clip."""

    def __post_init__(self) -> None:
        if len(self.frames) < 2:
            raise ValueError(
                f"a video needs two frames or more, not {len(self.frames)}; give a single one as a picture"
            )
        if len(self.frames) != len(self.seconds):
            raise ValueError(f"{len(self.frames)} frames but {len(self.seconds)} timestamps; give each frame its own")
        if any(later <= earlier for earlier, later in zip(self.seconds, self.seconds[1:], strict=False)):
            raise ValueError("timestamps must rise from frame to frame; sort the frames by time")

    @property
    def frame_interval(self) -> float:
        """Mean time between two frames in seconds."""
        return (self.seconds[-1] - self.seconds[0]) / (len(self.seconds) - 1)


@dataclass(frozen=True)
class VideoFile:
    """A clip of a video file, decoded by `vlmrl.media.videos.open_video` whenever a prompt is made of it.

    The same fields always give the same frames, so sampling, update and evaluation see the same clip. Raises ValueError
    for a clip without length or a limit that leaves no frames.
    """

    path: Path
    start: float = 0.0
    """Where the clip starts, in seconds from the file's first frame."""
    end: float | None = None
    """Where the clip ends; None is the end of the file."""
    fps: float = 2.0
    """Frames per second that are looked at, unless a limit leaves fewer; 2 in Qwen-VL, Video-R1 and Time-R1."""
    max_frames: int = 224
    """Most frames of the clip: as many as fit into `max_pixels` at 12,544 pixels each, as MUSEG's least."""
    max_pixels: int = 3584 * 28 * 28
    """Most pixels of all frames together: the budget of VideoChat-R1 and Time-R1."""
    shuffle: int | None = None
    """Seed by which the frames change places while their times stay; None keeps them in order."""

    def __post_init__(self) -> None:
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise ValueError(f"a clip from {self.start} s to {self.end} s has no length")
        if self.fps <= 0 or self.max_frames < 2 or self.max_pixels < 1:
            raise ValueError("a clip needs fps above 0, two frames or more, and pixels")


@dataclass(frozen=True)
class Sample:
    """One row of a data set: pictures, a question, and what a right answer is."""

    id: str
    """Unique in its data set; messages about a bad row name it."""
    images: tuple[Path | bytes | PIL.Image, ...]
    """Pictures in the order the prompt shows them: files, encoded files' content, or pictures already decoded."""
    records: tuple[ImageRecord, ...]
    """One record per picture, with its stored size."""
    question: str
    """What the person asks, without any answer format."""
    gold: Answer
    """The target in original pixels."""
    mode: PromptMode = PromptMode.DIRECT
    tags: Mapping[str, str] = field(default_factory=dict)
    """What a metric is broken down by, e.g. platform=web, kind=icon."""
    videos: tuple[Video | VideoFile, ...] = ()
    """Shown after the pictures: decoded ones, or files that are decoded when the prompt is made."""
    clips: tuple[Clip, ...] = ()
    """One time axis per video."""
    asked_image: int = 0
    """Index of the picture that an answer's coordinates belong to, where the prompt shows several."""
    task: str = ""
    """Name of the row's task in a run of several tasks, where it is also the first part of the id; else empty."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What the task's own answers, rewards and metrics need besides the gold answer, e.g. the options of a question.
    `reasoning` holds the thoughts that a supervised warm-up puts before the answer."""

    @property
    def asked(self) -> ImageRecord:
        """The picture that an answer's coordinates belong to."""
        return self.records[self.asked_image]

    @property
    def media(self) -> tuple[Path | bytes | PIL.Image | Video | VideoFile, ...]:
        """Pictures, then videos."""
        return (*self.images, *self.videos)


@dataclass(frozen=True, eq=False)
class Prompt:
    """A sample as the model receives it: the result of the one processor call."""

    sample: Sample
    """The row, its records completed with the model sizes."""
    text: str
    """The rendered chat prompt, before image placeholders are expanded."""
    token_ids_P: Tensor
    """int64, expanded image placeholders included. P counts prompt tokens here."""
    vision: Mapping[str, Tensor]
    """Further model inputs of this prompt alone (pixel_values, token types, ...), named by its family."""


class Finish(Enum):
    """Why sampling of a completion stopped."""

    STOP = "stop"
    """The model ended its turn."""
    LENGTH = "length"
    """The limit of completion tokens was reached: the completion is truncated."""


@dataclass(frozen=True)
class Unparsed:
    """A completion that is not an answer in the declared format."""

    reason: str


@dataclass(frozen=True)
class Score:
    """One reward component of one rollout: a value, or why there is none, or the fault that stopped it."""

    value: float | None = None
    unscorable: str | None = None
    """Why the question cannot be answered for this rollout; it leaves the component's mean."""
    error: str | None = None
    """Traceback of an exception in the reward's own code; counted, shown, and fatal above a rate."""


class Source(Enum):
    """Where a rollout comes from."""

    SAMPLED = "sampled"
    """The policy, on the plain prompt."""
    HINTED = "hinted"
    """The policy, on a prompt with a hint."""
    REPLAYED = "replayed"
    """An earlier step."""
    EXPERT = "expert"
    """Not the policy: the row's own solution."""


@dataclass
class Rollout:
    """One sampled completion of a prompt."""

    token_ids_T: list[int]
    """Sampled tokens, the end-of-turn token included when the model ended its turn."""
    logprobs_T: list[float]
    """Log-probability of each token under the distribution it was sampled from."""
    entropy: float
    """Mean entropy (nats) of those distributions."""
    text: str
    """Decoded completion without the end-of-turn token."""
    finish: Finish
    answer: Answer | Unparsed
    """The parsed answer in original pixels."""
    scores: dict[str, Score] = field(default_factory=dict)
    """Outcome per reward component."""
    reward: float = 0.0
    """Weighted sum of the component values."""
    accuracy: float = 0.0
    """The task's headline metric, in training."""
    advantage: float = 0.0
    """Mean over its tokens."""
    source: Source = Source.SAMPLED
    prompt: Prompt | None = None
    """What its log-probs condition on in the loss, where that is not its group's prompt."""
    old_logprobs_T: list[float] | None = None
    """Log-probs of the weights that sampled it, for a rollout of an earlier step; None takes the present weights'."""
    parent: int | None = None
    """Which member of the group it shares its first tokens with; None for a rollout of its own."""
    shared_tokens: int = 0
    """How many of its tokens it shares with its parent."""

    @property
    def truncated(self) -> bool:
        return self.finish is Finish.LENGTH


@dataclass
class Group:
    """The G rollouts of one prompt."""

    id: str
    """Unique per sampled group, so that groups are never told apart by their text."""
    prompt: Prompt
    rollouts: list[Rollout]
    contrast: list[Rollout] = field(default_factory=list)
    """Answers to another view of the row: scored, compared with the group, and never trained on."""

    @property
    def sample(self) -> Sample:
        return self.prompt.sample


Row = Mapping[str, Any]
"""A record as it stands in a data file."""
