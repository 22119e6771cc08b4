"""Each published form of video data, on made-up rows, and a clear message for each thing that can be wrong."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.media.clips import steady, write_clip
from vlmrl.checks.run import check
from vlmrl.config import Config, DataConfig, TaskConfig
from vlmrl.errors import UserError
from vlmrl.geometry import Span
from vlmrl.media.videos import open_video
from vlmrl.registry import find_task
from vlmrl.types import Choice, PromptMode, Sample, Spans, Text, VideoFile

FOLDER = find_task("video_temporal")
SAMPLES = FOLDER.path / "samples"
BENCHMARKS = {benchmark.name: benchmark for benchmark in FOLDER.submodule("benchmarks").BENCHMARKS}


def load(path: Path, **options: Any) -> list[Sample]:
    return list(FOLDER.create(options).load(path))


def times(sample: Sample) -> list[tuple[float, float]]:
    spans = sample.gold.items if isinstance(sample.gold, Spans) else (sample.gold,)
    assert all(isinstance(span, Span) and span.clip == sample.clips[0] for span in spans)
    return [(span.start, span.end) for span in spans]


PUBLISHED = {
    "charades-txt": {"charades_sta_test-0": ([(2, 5)], 8), "charades_sta_test-1": ([(4, 8.9)], 8)},
    "charades-hub": {
        "test-00000-of-00001-0": ([(2, 5)], 8),
        "test-00000-of-00001-1": ([(4, 8.8984375)], 8),  # stored in half precision
    },
    "captions": {"val_2-0": ([(3, 9)], 12), "val_2-1": ([(2, 5)], 8), "val_2-2": ([(4, 8)], 8)},
    "qvhighlights": {"1": ([(2, 4), (8, 10)], 12)},
    "time-r1": {"train-0": ([(2, 5)], 8), "train-1": ([(1, 7)], 8)},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_forms_of_temporal_grounding(name: str) -> None:
    samples = {sample.id: sample for sample in load(SAMPLES / name)}
    assert {id_: (times(sample), sample.clips[0].duration) for id_, sample in samples.items()} == PUBLISHED[name]
    for sample in samples.values():
        assert sample.question.startswith('When does "')
        assert not sample.question.endswith('." happen in the video?')
        video = open_video(sample.videos[0], sample.id)
        assert video.seconds[-1] < sample.clips[0].duration


def test_spans_count_from_the_start_of_the_part_that_is_shown() -> None:
    part = load(SAMPLES / "time-r1")[1]
    video = part.videos[0]
    assert isinstance(video, VideoFile)
    assert (video.start, video.end) == (2.0, 10.0)
    frames = open_video(video, "r")  # the green ball is there from 3 to 9 seconds of the file
    green = [s for s, frame in zip(frames.seconds, frames.frames, strict=True) if frame.getpixel((19, 23))[0] < 100]
    assert min(green) == pytest.approx(1, abs=0.5)
    assert max(green) == pytest.approx(7, abs=0.8)


def test_video_r1() -> None:
    choice, number, regression, sign, free = load(SAMPLES / "video-r1", mode="think")
    assert choice.gold == Choice("B")
    assert choice.question == "Which ball appears first?\nA. blue\nB. red\nC. green"
    assert [row.gold for row in (number, regression, sign)] == [Text("2"), Text("6"), Text("OPEN")]
    assert free.gold == Text("A green ball appears and disappears.")
    assert [row.tags["kind"] for row in (choice, number, regression, sign, free)] == [
        "choice",
        "number",
        "regression",
        "ocr",
        "text",
    ]
    assert sign.images
    assert not sign.videos
    assert all(row.mode is PromptMode.THINK for row in (choice, sign))


def test_the_simple_form_holds_all_kinds() -> None:
    rows = load(SAMPLES / "simple")
    assert [row.tags["kind"] for row in rows] == ["span", "span", "spans", "choice", "number", "text"]
    assert times(rows[0]) == [(2, 5)]
    part = rows[1]
    assert (part.id, part.mode, part.clips[0].duration) == ("window", PromptMode.THINK, 8)
    assert part.tags == {"kind": "span", "source": "drawn"}
    assert rows[3].question == "Which ball is visible last?\nA. the red one\nB. the blue one"


def test_limits_reach_every_clip() -> None:
    for row in load(SAMPLES / "simple", fps=1.0, max_frames=4, max_video_pixels=4000):
        video = row.videos[0]
        assert isinstance(video, VideoFile)
        assert (video.fps, video.max_frames, video.max_pixels) == (1.0, 4, 4000)
        frames = open_video(video, row.id).frames
        assert len(frames) <= 4
        assert len(frames) * frames[0].width * frames[0].height <= 4000


@pytest.mark.parametrize(
    ("benchmark", "folder", "rows"),
    [
        ("charades-sta", "charades-txt", 2),
        ("charades-sta", "charades-hub", 2),
        ("charades-sta", "captions", 3),
        ("activitynet-captions", "captions", 3),
        ("qvhighlights", "qvhighlights", 1),
        ("tvgbench", "tvgbench", 2),
    ],
)
def test_benchmarks_keep_all_their_rows(benchmark: str, folder: str, rows: int) -> None:
    samples = BENCHMARKS[benchmark].load(SAMPLES / folder)
    assert len(samples) == rows
    assert all(set(BENCHMARKS[benchmark].cells) <= set(sample.tags) for sample in samples)


def test_benchmarks_read_no_other_form() -> None:
    with pytest.raises(UserError, match="is in the schema time-r1, which is not read here"):
        BENCHMARKS["tvgbench"].load(SAMPLES / "time-r1")


def test_a_benchmarks_window_without_length_stays_and_a_training_row_is_refused() -> None:
    kept = BENCHMARKS["tvgbench"].load(SAMPLES / "tvgbench")[1]
    assert times(kept) == [(1.5, 1.5)]
    with pytest.raises(UserError, match=r"tvgbench\.json row 1.*has no length.*skip_unusable"):
        load(SAMPLES / "tvgbench")


def test_unusable_rows_can_be_left_out_and_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        rows = load(SAMPLES / "tvgbench", skip_unusable=True)
    assert [row.id for row in rows] == ["tvgbench-0"]
    assert "1 rows with unusable spans are left out" in caplog.text
    assert "row 1" in caplog.text


@pytest.fixture
def data(tmp_path: Path) -> Path:
    shutil.copytree(SAMPLES / "videos", tmp_path / "videos")
    return tmp_path


def simple(folder: Path, **changes: Any) -> Path:
    row = {"video": "3DEMO.mp4", "question": "When?", "span": [2, 5], **changes}
    row = {key: value for key, value in row.items() if value is not None}
    (folder / "rows.jsonl").write_text(json.dumps(row))
    return folder / "rows.jsonl"


CHOICE = {"span": None, "options": ["a", "b"]}
OPEN = {"span": None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"video": "gone.mp4"}, r"row 0: video 'gone\.mp4' not found; looked for gone\.mp4 in the folders videos/"),
        ({"span": [5, 2]}, "span 5..2 s has no length"),
        ({"span": [3, 3]}, "span 3..3 s has no length"),
        ({"span": [8, 9]}, r"does not start in its clip of 8 s"),
        ({"span": [4, 10.5]}, "ends more than 2 s after its clip of 8 s"),
        ({"span": [-1, 3]}, "does not start in its clip"),
        ({"span": [2]}, "field span: must be a list of 2 finite numbers"),
        ({"span": ["2", "5"]}, "field span"),
        ({"span": [2, 1e400]}, "field span"),
        ({"span": None, "spans": []}, "field spans: must be a list"),
        ({"span": None, "spans": [[2, 3], [2, 3]]}, "given twice"),
        ({"span": None, "spans": [[i / 10, 7] for i in range(41)]}, "41 spans"),
        ({"question": " "}, "field question"),
        ({"start": 5, "end": 2}, "has no length"),
        ({"mode": "loud"}, "field mode"),
        ({"tags": ["a"]}, "field tags"),
        ({"colour": "red"}, "colour"),
        ({"span": None}, "must have span, spans, answer, .*, not none of them"),
        ({"answer": "a"}, "must have span, .*, not answer and span"),
        ({"kind": "number"}, "not kind and span"),
        ({**CHOICE, "answer": "C"}, "letter of one of its 2 options"),
        ({**CHOICE, "answer": "a"}, "letter of one of its 2 options"),
        ({**CHOICE, "options": ["a"], "answer": "A"}, "letter of one of its 1 options"),
        ({**CHOICE, "options": "ab", "answer": "A"}, "field options"),
        ({**OPEN, "answer": "three", "kind": "number"}, "must be one number"),
        ({**OPEN, "answer": "..."}, "has no words"),
        ({**OPEN, "answer": "3", "kind": "maths"}, "field kind"),
    ],
)
def test_bad_rows_are_named(data: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        load(simple(data, **changes))
    assert "rows.jsonl" in str(raised.value)


def test_a_span_that_ends_shortly_after_its_clip_is_kept_as_published(data: Path) -> None:
    assert times(load(simple(data, span=[4, 9.5]))[0]) == [(4, 9.5)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "3DEMO 2.0 5.0 a red ball", r"a\.txt line 1: expected `video start end##sentence`"),
        ("a.txt", "3DEMO 2.0.1 5.0##a red ball", "2.0.1"),
        ("a.txt", "\n", "holds no rows"),
        ("a.json", '{"3DEMO": {"duration": 8, "timestamps": [[2, 5]]}}', "expected an object with duration"),
        ("a.json", '{"3DEMO": {"duration": 8, "timestamps": [[2, 5]], "sentences": []}}', "lists of one length"),
        ("a.json", '{"3DEMO": ', "not JSON"),
        ("a.json", '{"3DEMO": {"duration": 0, "timestamps": [[2, 5]], "sentences": ["a"]}}', "lasts 0 s"),
        ("a.jsonl", '{"vid": "3DEMO", "query": "a", "qid": 1, "duration": 8}', "nearest: qvhighlights"),
        ("a.jsonl", '{"clip": "3DEMO"}', "no known schema"),
    ],
)
def test_bad_files_are_named(data: Path, name: str, text: str, message: str) -> None:
    (data / name).write_text(text)
    with pytest.raises(UserError, match=message):
        load(data / name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"problem_type": "math"}, "field problem_type"),
        ({"data_type": "audio"}, "field data_type"),
        ({"solution": "B"}, "field solution: must be <answer>"),
        ({"options": ["A. a", "C. b"]}, "lettered in order"),
        ({"options": ["a", "b"]}, "lettered in order"),
    ],
)
def test_bad_rows_of_video_r1(data: Path, changes: dict[str, Any], message: str) -> None:
    rows = json.loads((SAMPLES / "video-r1" / "Video-R1-demo.json").read_text())
    (data / "rows.json").write_text(json.dumps([{**rows[0], **changes}]))
    with pytest.raises(UserError, match=message):
        load(data / "rows.json")


def test_a_bad_answer_of_tvgbench(data: Path) -> None:
    rows = json.loads((SAMPLES / "tvgbench" / "tvgbench.json").read_text())
    (data / "rows.json").write_text(json.dumps([{**rows[0], "answer": "2.0--5.0"}]))
    with pytest.raises(UserError, match="field answer: must be two times"):
        load(data / "rows.json")


def problems(train: Path, held_out: Path | None = None) -> list[str]:
    data = DataConfig(train=str(train), held_out=held_out and str(held_out))
    return check(Config(task=TaskConfig(name="video_temporal"), data=data)).problems


def test_sound_rows_pass_the_check(data: Path) -> None:
    assert problems(simple(data)) == []


def test_the_check_decodes_every_video(data: Path) -> None:
    video = write_clip(data / "videos" / "3DEMO.mp4", steady(8), noise=True)
    train = simple(data)
    assert problems(train) == []
    content = bytearray(video.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 5000] = bytes(reversed(content[middle : middle + 5000]))
    video.write_bytes(content)
    video = video.rename(video.with_name("damaged.mp4"))
    train = simple(data, video="damaged.mp4")
    found = problems(train)
    assert found
    assert "row rows-0, video 0: video" in found[0]
    assert "damaged.mp4 cannot be decoded" in found[0]


def test_the_check_finds_videos_of_another_length(data: Path) -> None:
    (data / "rows.json").write_text(
        json.dumps({"3DEMO": {"duration": 30.0, "timestamps": [[2, 5]], "sentences": ["a ball"]}})
    )
    found = problems(data / "rows.json")
    assert len(found) == 1
    assert "the row says that the clip lasts 30 s, but it lasts 8 s" in found[0]


def test_the_check_finds_a_video_on_both_sides_whatever_its_name(data: Path) -> None:
    train = simple(data)
    other = data / "other"
    (other / "videos").mkdir(parents=True)
    shutil.copy(data / "videos" / "3DEMO.mp4", other / "videos" / "renamed.mp4")
    found = problems(train, simple(other, video="renamed.mp4", id="held"))
    assert found == ["row held: its video is held out and is also that of training row rows-0"]


def test_late_spans_are_noted(data: Path) -> None:
    train = simple(data, span=[4, 9.5])
    report = check(Config(task=TaskConfig(name="video_temporal"), data=DataConfig(train=str(train))))
    assert report.ok
    assert report.notes == ["1 spans end up to 2 s after their clip; they are scored as published"]
