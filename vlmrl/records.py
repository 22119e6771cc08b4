"""Groups as JSON lines: what a run folder keeps of every rollout, and what reports read."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from typing import Any

from vlmrl.geometry import Box, Clip, Frame, Point, Span
from vlmrl.media.kept import KeptMedia
from vlmrl.types import (
    Action,
    Answer,
    Boxes,
    Choice,
    Code,
    Group,
    LabelledBox,
    Points,
    Refusal,
    Rollout,
    Score,
    Spans,
    Text,
    Unparsed,
)


def answer_record(answer: Answer | Unparsed) -> dict[str, Any]:
    """An answer in original pixels and seconds, or the reason why there is none."""
    match answer:
        case Point(x, y, frame):
            return {"type": "point", "image": frame.image, "coordinates": [x, y]}
        case Box(x1, y1, x2, y2, frame):
            return {"type": "box", "image": frame.image, "coordinates": [x1, y1, x2, y2]}
        case Boxes(items):
            return {"type": "boxes", "items": [_labelled_record(item) for item in items]}
        case Points(items):
            return {"type": "points", "items": [answer_record(item) for item in items]}
        case Refusal():
            return {"type": "refusal"}
        case Span(start, end, clip):
            return {"type": "span", "video": clip.video, "seconds": [start, end]}
        case Spans(items):
            return {"type": "spans", "items": [answer_record(item) for item in items]}
        case Action(kind, point, text, direction):
            place = point and answer_record(point)
            return {"type": "action", "kind": kind, "point": place, "text": text, "direction": direction}
        case Choice(letter):
            return {"type": "choice", "letter": letter}
        case Text(text):
            return {"type": "text", "text": text}
        case Code(source):
            return {"type": "code", "source": source}
        case Unparsed(reason):
            return {"unparsed": reason}


def recorded_answer(value: Mapping[str, Any], frames: Sequence[Frame], clips: Sequence[Clip]) -> Answer | Unparsed:
    """The answer that `answer_record` wrote, of a row with these pictures' original frames and these clips.

    Raises ValueError, KeyError or TypeError for a record that is not whole.
    """
    if "unparsed" in value:
        return Unparsed(str(value["unparsed"]))
    match value["type"]:
        case "point":
            return _point(value, frames)
        case "box":
            return _box(value, frames)
        case "boxes":
            return Boxes(
                tuple(
                    LabelledBox(str(item["label"]), _box(item, frames), item.get("confidence"))
                    for item in value["items"]
                )
            )
        case "points":
            return Points(tuple(_point(item, frames) for item in value["items"]))
        case "refusal":
            return Refusal()
        case "span":
            return _span(value, clips)
        case "spans":
            return Spans(tuple(_span(item, clips) for item in value["items"]))
        case "action":
            place = value["point"] and _point(value["point"], frames)
            return Action(str(value["kind"]), place, value["text"], value["direction"])
        case "choice":
            return Choice(str(value["letter"]))
        case "text":
            return Text(str(value["text"]))
        case "code":
            return Code(str(value["source"]))
    raise ValueError(f"unknown answer type {value['type']!r}")


def _labelled_record(item: LabelledBox) -> dict[str, Any]:
    confidence = {} if item.confidence is None else {"confidence": item.confidence}
    return {"label": item.label, **confidence, **answer_record(item.box)}


def _point(value: Mapping[str, Any], frames: Sequence[Frame]) -> Point:
    x, y = map(float, value["coordinates"])
    return Point(x, y, frames[value["image"]])


def _box(value: Mapping[str, Any], frames: Sequence[Frame]) -> Box:
    x1, y1, x2, y2 = map(float, value["coordinates"])
    return Box(x1, y1, x2, y2, frames[value["image"]])


def _span(value: Mapping[str, Any], clips: Sequence[Clip]) -> Span:
    start, end = map(float, value["seconds"])
    return Span(start, end, clips[value["video"]])


def score_record(score: Score) -> dict[str, Any]:
    if score.error is not None:
        return {"error": score.error}
    return {"unscorable": score.unscorable} if score.value is None else {"value": score.value}


def rollout_record(rollout: Rollout) -> dict[str, Any]:
    return {
        "text": rollout.text,
        "token_ids": rollout.token_ids_T,
        "logprobs": rollout.logprobs_T,
        "finish": rollout.finish.value,
        "entropy": rollout.entropy,
        "answer": answer_record(rollout.answer),
        "scores": {name: score_record(score) for name, score in rollout.scores.items()},
        "reward": rollout.reward,
        "advantage": rollout.advantage,
        "source": rollout.source.value,
    }


def group_record(step: int, group: Group, media: KeptMedia | None) -> dict[str, Any]:
    """One line of rollouts/ or evals/; `media` names the group's pictures and key frames if they are kept."""
    sample = group.sample
    return {
        "step": step,
        "group": group.id,
        "sample": {
            "id": sample.id,
            "task": sample.task,
            "question": sample.question,
            "mode": sample.mode.value,
            "tags": dict(sample.tags),
            "images": list(media.images) if media else [None] * len(sample.images),
            "videos": [asdict(video) for video in media.videos] if media else [None] * len(sample.videos),
            "sizes": [[r.original.width, r.original.height] for r in sample.records],
            "clips": [clip.duration for clip in sample.clips],
            "asked_image": sample.asked_image,
            "model_sizes": [[r.model.width, r.model.height] for r in sample.records if r.model],
            "gold": answer_record(sample.gold),
            "extra": extra_record(sample.extra),
        },
        "prompt": group.prompt.text,
        "rollouts": [rollout_record(rollout) for rollout in group.rollouts],
    }


def extra_record(extra: Mapping[str, Any]) -> dict[str, Any]:
    """What of `Sample.extra` can be written: plain values, answers, and dataclasses and enumerations made of them.

    Anything else, a decoded picture for one, is left out.
    """
    return {name: value for name, content in extra.items() if (value := _written(content)) is not _UNWRITABLE}


_UNWRITABLE = object()
RECORDED_PACKAGES = ("vlmrl.", "vlmrl_tasks.")
"""Where the classes of recorded values may come from: reading a record imports nothing else."""


def _written(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Enum):
        return {"type": "enum", "class": _class_name(value), "name": value.name}
    if isinstance(value, Answer):
        return answer_record(value)
    if isinstance(value, Mapping):
        named = {str(name): _written(entry) for name, entry in value.items()}
        return _UNWRITABLE if _UNWRITABLE in named.values() else {"type": "mapping", "entries": named}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        items = [_written(item) for item in value]
        return _UNWRITABLE if _UNWRITABLE in items else items
    if is_dataclass(value) and _class_name(value).startswith(RECORDED_PACKAGES):
        held = {field.name: _written(getattr(value, field.name)) for field in fields(value) if field.init}
        return (
            _UNWRITABLE
            if _UNWRITABLE in held.values()
            else {
                "type": "dataclass",
                "class": _class_name(value),
                "fields": held,
            }
        )
    return _UNWRITABLE


def recorded_extra(extra: Mapping[str, Any], frames: Sequence[Frame], clips: Sequence[Clip]) -> dict[str, Any]:
    """The values that `extra_record` wrote, lists as tuples.

    The classes of a task's own values are found if the task has been loaded. Raises ValueError, KeyError, TypeError,
    AttributeError or ImportError for a record that is not whole or whose class is not there any more.
    """

    def read(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(map(read, value))
        if not isinstance(value, Mapping):
            return value
        match value["type"]:
            case "enum":
                return _class_of(value["class"], Enum)[value["name"]]
            case "mapping":
                return {name: read(entry) for name, entry in value["entries"].items()}
            case "dataclass":
                held = {name: read(entry) for name, entry in value["fields"].items()}
                return _dataclass_of(value["class"])(**held)
        return recorded_answer(value, frames, clips)

    return {name: read(value) for name, value in extra.items()}


def _class_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _dataclass_of(name: str) -> type[Any]:
    found = _class_of(name, object)
    if not is_dataclass(found):
        raise TypeError(f"{name} is no dataclass")
    return found


def _class_of(name: str, base: type[Any]) -> type[Any]:
    if not name.startswith(RECORDED_PACKAGES):
        raise ValueError(f"{name} is not a class of {' or '.join(RECORDED_PACKAGES)}")
    module, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(module), attribute)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise TypeError(f"{name} is no {base.__name__}")
    return found
