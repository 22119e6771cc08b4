"""The published forms of video data, and how a row of each is read."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vlmrl.errors import UserError
from vlmrl.loading.fields import id_field, json_text, number_list, shown, text_field
from vlmrl.loading.schemas import Schema
from vlmrl.types import Row

ROWS = ("json", "parquet")
Seconds = tuple[float, float]

QUESTION = 'When does "{}" happen in the video?'
"""Annotation files of temporal grounding hold sentences; this makes a question of one."""
SOLUTION = re.compile(r"\s*<answer>(.*)</answer>\s*", re.DOTALL)
OPTION = re.compile(r"\s*\(?([A-Z])[.:)]\s*(.*\S)\s*", re.DOTALL)
KINDS = {
    "multiple choice": "choice",
    "numerical": "number",
    "regression": "regression",
    "OCR": "ocr",
    "free-form": "text",
}
"""Video-R1's `problem_type` -> the kind of row."""


@dataclass(frozen=True)
class Entry:
    """What a row of any schema says, before its video is looked for."""

    media: str
    """Name of the video or picture."""
    question: str
    spans: tuple[Seconds, ...] = ()
    answer: str = ""
    """A letter, a number or a text, for rows without spans."""
    kind: str = "span"
    """span, spans, choice, number, regression, ocr or text."""
    options: tuple[str, ...] = ()
    window: tuple[float, float | None] = (0.0, None)
    """The part of the file that is shown, and that the spans count from."""
    seconds: float | None = None
    """Length of the clip, where the row states it."""
    is_picture: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    id: str | None = None
    """The row's own id, where its data set gives one."""


@dataclass(frozen=True, kw_only=True)
class VideoSchema(Schema):
    """A published form of rows about videos."""

    entry: Callable[[Row, str], Entry]
    """Reads a row; the text names file and row. Raises UserError."""


def _sentence(row: Row, key: str, where: str) -> str:
    return QUESTION.format(text_field(row, key, where).strip().removesuffix("."))


def _times(value: Any, where: str) -> Seconds:
    start, end = number_list(value, 2, where)
    return start, end


def _length(row: Row, where: str) -> float:
    return number_list([row["duration"]], 1, f"{where}, field duration")[0]


def _clip(start: Any, end: Any, where: str) -> tuple[float, float | None]:
    """A part of a file; both ends may be null."""
    if start is None and end is None:
        return 0.0, None
    low, high = number_list([0.0 if start is None else start, end], 2, where)
    if not 0 <= low < high:
        raise UserError(f"{where}: the clip from {low:g} s to {high:g} s has no length; correct it or drop the row")
    return low, high


def _moment(row: Row, where: str) -> Entry:
    return Entry(
        media=text_field(row, "video", where),
        question=_sentence(row, "sentence", where),
        spans=(_times(row["timestamp"], f"{where}, field timestamp"),),
        seconds=_length(row, where) if "duration" in row else None,
    )


def _charades_hub(row: Row, where: str) -> Entry:
    place = f"{where}, field timestamp"
    times = json_text(row["timestamp"], place) if isinstance(row["timestamp"], str) else row["timestamp"]
    return Entry(text_field(row, "video", where), _sentence(row, "caption", where), (_times(times, place),))


def _time_r1(row: Row, where: str) -> Entry:
    window = _clip(row.get("video_start"), row.get("video_end"), f"{where}, fields video_start, video_end")
    moment = _moment(row, where)
    return Entry(moment.media, moment.question, moment.spans, window=window, seconds=moment.seconds)


def _tvgbench(row: Row, where: str) -> Entry:
    answer = text_field(row, "answer", where)
    parts = re.fullmatch(r"([0-9.]+)-([0-9.]+)", answer.strip())
    if parts is None:
        raise UserError(f'{where}, field answer: must be two times like "13.4-28.1", not {shown(answer)}')
    return Entry(
        media=text_field(row, "path", where),
        question=_sentence(row, "question", where),
        spans=((float(parts[1]), float(parts[2])),),
        window=_clip(row["start"], row["end"], f"{where}, fields start, end"),
        seconds=_length(row, where),
        tags={"type": text_field(row, "qsemtype", where)},
    )


def _qvhighlights(row: Row, where: str) -> Entry:
    return Entry(
        media=text_field(row, "vid", where),
        question=_sentence(row, "query", where),
        spans=_spans(row["relevant_windows"], f"{where}, field relevant_windows"),
        kind="spans",
        seconds=_length(row, where),
        id=id_field(row, "qid", where),
    )


def _video_r1(row: Row, where: str) -> Entry:
    problem, kind = text_field(row, "problem", where), KINDS.get(row["problem_type"])
    if kind is None:
        raise UserError(
            f"{where}, field problem_type: must be {', '.join(KINDS)}, not {shown(row['problem_type'])}; drop the row"
        )
    if row["data_type"] not in ("video", "image"):
        raise UserError(f"{where}, field data_type: must be video or image, not {shown(row['data_type'])}")
    solution = SOLUTION.fullmatch(text_field(row, "solution", where))
    if solution is None:
        raise UserError(f"{where}, field solution: must be <answer>...</answer>, not {shown(row['solution'])}")
    return Entry(
        media=text_field(row, "path", where),
        question=problem,
        answer=solution[1].strip(),
        kind=kind,
        options=_lettered(row["options"], f"{where}, field options") if kind == "choice" else (),
        is_picture=row["data_type"] == "image",
    )


SIMPLE_TARGETS = ({"span"}, {"spans"}, {"answer"}, {"answer", "options"}, {"answer", "kind"})
"""Keys of the answer that one's own rows may have together."""


def _simple(row: Row, where: str) -> Entry:
    given = {"span", "spans", "answer", "options", "kind"} & set(row)
    if given not in SIMPLE_TARGETS:
        raise UserError(
            f"{where}: must have span, spans, answer, answer and options, or answer and kind, not "
            f"{' and '.join(sorted(given)) or 'none of them'}"
        )
    window = _clip(row.get("start"), row.get("end"), f"{where}, fields start, end")
    media, question = text_field(row, "video", where), text_field(row, "question", where)
    if "span" in row:
        return Entry(media, question, (_times(row["span"], f"{where}, field span"),), window=window)
    if "spans" in row:
        return Entry(media, question, _spans(row["spans"], f"{where}, field spans"), kind="spans", window=window)
    answer, kind = text_field(row, "answer", where).strip(), row.get("kind", "text")
    if "options" in row:
        options = _texts(row["options"], f"{where}, field options")
        return Entry(media, question, answer=answer, kind="choice", options=options, window=window)
    if kind not in KINDS.values() or kind == "choice":
        raise UserError(f"{where}, field kind: must be number, regression, ocr or text, not {shown(kind)}")
    return Entry(media, question, answer=answer, kind=kind, window=window)


def _spans(value: Any, where: str) -> tuple[Seconds, ...]:
    if not isinstance(value, list) or not value:
        raise UserError(f"{where}: must be a list of [start, end], at least one, not {shown(value)}")
    return tuple(_times(item, where) for item in value)


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
        raise UserError(f"{where}: must be a list of texts, not {shown(value)}")
    return tuple(item.strip() for item in value)


def _lettered(value: Any, where: str) -> tuple[str, ...]:
    """Options that bring their letters: ["A. a dog", "B. a cat"]."""
    found: Sequence[Any] = [OPTION.fullmatch(text) for text in _texts(value, where)]
    if not all(found) or [match[1] for match in found] != [chr(ord("A") + i) for i in range(len(found))]:
        raise UserError(f'{where}: must be lettered in order ("A. ...", "B. ..."), not {shown(value)}')
    return tuple(match[2] for match in found)


CHARADES = VideoSchema(
    name="charades-txt",
    description="Charades-STA as published: lines `video start end##sentence`, seconds",
    containers=("lines",),
    required=frozenset({"video", "timestamp", "sentence"}),
    entry=_moment,
)
CHARADES_HUB = VideoSchema(
    name="charades-hub",
    description="lmms-lab/charades_sta: a span in seconds, as a list or as its text",
    containers=ROWS,
    required=frozenset({"video", "caption", "timestamp"}),
    entry=_charades_hub,
)
CAPTIONS = VideoSchema(
    name="captions",
    description="ActivityNet Captions, and Charades-STA in that form: {video: {duration, timestamps, sentences}}",
    containers=("videos",),
    required=frozenset({"video", "duration", "timestamp", "sentence"}),
    entry=_moment,
)
QVHIGHLIGHTS = VideoSchema(
    name="qvhighlights",
    description="QVHighlights' highlight_{train,val}_release.jsonl: several windows in seconds",
    containers=ROWS,
    required=frozenset({"qid", "query", "duration", "vid", "relevant_windows"}),
    optional=frozenset({"relevant_clip_ids", "saliency_scores"}),
    entry=_qvhighlights,
)
TIME_R1 = VideoSchema(
    name="time-r1",
    description="Time-R1's training file: a span in seconds of the clip video_start..video_end",
    containers=ROWS,
    required=frozenset({"video", "duration", "timestamp", "sentence"}),
    optional=frozenset({"qid", "video_start", "video_end", "difficulty", "pred"}),
    entry=_time_r1,
)
TVGBENCH = VideoSchema(
    name="tvgbench",
    description='TVGBench: an answer "13.4-28.1" in seconds of the clip start..end',
    containers=ROWS,
    required=frozenset({"path", "question", "answer", "start", "end", "duration", "qsemtype"}),
    optional=frozenset({"question_type", "source", "dataset_name", "bins"}),
    entry=_tvgbench,
)
VIDEO_R1 = VideoSchema(
    name="video-r1",
    description="Video-R1: multiple-choice and open questions about videos and pictures, <answer>...</answer>",
    containers=ROWS,
    required=frozenset({"problem_id", "problem", "data_type", "problem_type", "options", "solution", "path"}),
    optional=frozenset({"process", "data_source"}),
    entry=_video_r1,
)
SIMPLE = VideoSchema(
    name="simple",
    description='your own: {"video": "a.mp4", "question": "..."} and "span": [start, end] or "spans": [[start, end], '
    '...] in seconds, or "answer": "a dog" (with "options": ["a dog", "a cat"] a letter; "kind": "number")',
    containers=ROWS,
    required=frozenset({"video", "question"}),
    optional=frozenset({"span", "spans", "answer", "options", "kind", "start", "end", "id", "mode", "tags"}),
    entry=_simple,
)
SCHEMAS = (CHARADES, CHARADES_HUB, CAPTIONS, QVHIGHLIGHTS, TIME_R1, TVGBENCH, VIDEO_R1, SIMPLE)
