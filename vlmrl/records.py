"""Groups as JSON lines: what a run folder keeps of every rollout, and what reports read."""

from typing import Any

from vlmrl.geometry import Box, Point
from vlmrl.types import Answer, Group, Rollout, Score, Unparsed


def answer_record(answer: Answer | Unparsed) -> dict[str, Any]:
    """An answer in original pixels, or the reason why there is none."""
    match answer:
        case Point(x, y, frame):
            return {"type": "point", "image": frame.image, "coordinates": [x, y]}
        case Box(x1, y1, x2, y2, frame):
            return {"type": "box", "image": frame.image, "coordinates": [x1, y1, x2, y2]}
        case Unparsed(reason):
            return {"unparsed": reason}


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
            "model_sizes": [[r.model.width, r.model.height] for r in sample.records if r.model],
            "gold": answer_record(sample.gold),
        },
        "prompt": group.prompt.text,
        "rollouts": [rollout_record(rollout) for rollout in group.rollouts],
    }
