"""How much of a score is not vision: the same model on pictures that say nothing, and guesses that look at none."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from PIL import Image

from vlmrl.answers.convention import Convention
from vlmrl.geometry import Size
from vlmrl.media.pictures import open_picture, split_key
from vlmrl.media.videos import open_video
from vlmrl.task import Task
from vlmrl.types import Sample, Video, VideoFile

AUDIT_ROWS = 1000
"""At most so many rows, the first ones, are audited."""
GREY = (128, 128, 128)
SHUFFLE_SEED = 0

Sight = Literal["blind", "shuffled"]


class AlteredRows(Sequence[Sample]):
    """Rows with other pictures of the same sizes, so that questions, gold answers and prompts stay as they are.

    blind: every picture and frame is grey. shuffled: every row shows another row's pictures, stretched to its own
    sizes; none shows the same file, unless more than half of the rows share it.
    """

    def __init__(self, sight: Sight, rows: Sequence[Sample]) -> None:
        self.sight, self.rows = sight, rows
        self._donor = _donors(rows) if sight == "shuffled" else {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: Any) -> Any:
        row, donor = self.rows[i], self.rows[self._donor[i]] if self.sight == "shuffled" else None
        images = tuple(_picture(record.original, donor, place) for place, record in enumerate(row.records))
        videos = tuple(_video(video, row, donor, place) for place, video in enumerate(row.videos))
        return replace(row, images=images, videos=videos)


def _donors(rows: Sequence[Sample]) -> dict[int, int]:
    """Whose pictures each row shows. Rows of one file stand side by side, and each takes those of the row that is as
    far on as the largest such group is large: no farther than needed to be in another one."""
    by_file: dict[object, list[int]] = {}
    for place in random.Random(SHUFFLE_SEED).sample(range(len(rows)), len(rows)):
        key = split_key(rows[place].media[0])
        # a picture in memory is drawn anew whenever its row is asked for: its key says nothing
        by_file.setdefault(("row", place) if isinstance(key, int) else key, []).append(place)
    places = [place for group in by_file.values() for place in group]
    shift = max(map(len, by_file.values()))
    return dict(zip(places, [*places[shift:], *places[:shift]], strict=True))


def _picture(size: Size, donor: Sample | None, place: int) -> Image.Image:
    if donor is None or not donor.images:
        return Image.new("RGB", (size.width, size.height), GREY)
    source = donor.images[place % len(donor.images)]
    return open_picture(source, f"row {donor.id}, image {place}").resize((size.width, size.height))


def _video(video: Video | VideoFile, row: Sample, donor: Sample | None, place: int) -> Video:
    own = open_video(video, f"row {row.id}, video {place}")
    if donor is None or not donor.videos:
        frames = tuple(Image.new("RGB", frame.size, GREY) for frame in own.frames)
    else:
        other = open_video(donor.videos[place % len(donor.videos)], f"row {donor.id}, video {place}").frames
        picked = [other[i * len(other) // len(own.frames)] for i in range(len(own.frames))]
        frames = tuple(frame.resize(own.frames[0].size) for frame in picked)
    return Video(frames, own.seconds)


def guesses(task: Task, rows: Sequence[Sample], convention: Convention) -> dict[str, list[str]]:
    """Completions that look at no picture, one per row: the task's blind attacks (the picture's centre, the whole
    picture, the format alone, ...), and the gold answer that is right most often, given to every row."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for attack in task.attacks(row, convention):
            if attack.blind:
                found.setdefault(attack.name, []).append(attack.text)
    found = {name: texts for name, texts in found.items() if len(texts) == len(rows)}
    commonest, times = Counter(task.render(row, convention) for row in rows).most_common(1)[0]
    if times > 1:
        found["the commonest gold answer"] = [commonest] * len(rows)
    return found
