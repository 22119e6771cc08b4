"""Groups as JSON lines: what a run folder keeps of every rollout, and what reports read."""

from collections.abc import Mapping, Sequence
from typing import Any

from vlmrl.geometry import Box, Clip, Frame, Point, Span
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
            return {"type": "boxes", "items": [{"label": item.label, **answer_record(item.box)} for item in items]}
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
            return Boxes(tuple(LabelledBox(str(item["label"]), _box(item, frames)) for item in value["items"]))
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
        "answer": answer_record(rollout.answer),
        "scores": {name: score_record(score) for name, score in rollout.scores.items()},
        "reward": rollout.reward,
        "advantage": rollout.advantage,
        "source": rollout.source.value,
    }


def group_record(step: int, group: Group, fingerprints: list[str] | None) -> dict[str, Any]:
    """One line of rollouts/ or evals/; `fingerprints` name the group's pictures in images/ if they are kept."""
    sample = group.sample
    return {
        "step": step,
        "group": group.id,
        "sample": {
            "id": sample.id,
            "question": sample.question,
            "mode": sample.mode.value,
            "tags": dict(sample.tags),
            "images": fingerprints or [None] * len(sample.images),
            "sizes": [[r.original.width, r.original.height] for r in sample.records],
            "clips": [clip.duration for clip in sample.clips],
            "model_sizes": [[r.model.width, r.model.height] for r in sample.records if r.model],
            "gold": answer_record(sample.gold),
        },
        "prompt": group.prompt.text,
        "rollouts": [rollout_record(rollout) for rollout in group.rollouts],
    }
