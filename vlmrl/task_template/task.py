"""Click the largest of three circles. Change the rows, the question and what earns; the rest can stay."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from PIL import Image, ImageDraw

from vlmrl.geometry import Box, ImageRecord, Point, Size, Unit
from vlmrl.loading.boxes import PIXEL_CORNERS, target_box
from vlmrl.loading.fields import number_list, require_keys, text_field
from vlmrl.loading.pictures import PictureFinder
from vlmrl.loading.row_files import data_files, read_rows
from vlmrl.rewards import boxes
from vlmrl.synthetic.drawn_rows import DrawnRows, split_of
from vlmrl.synthetic.shapes import COLOURS, Edges, draw_shape
from vlmrl.task import Split, Task, metric, reward
from vlmrl.types import Rollout, Sample

SIDE, CELL = 128, 32
DIAMETERS = (14, 20, 28)
QUESTION = "click the largest circle"


class NewTask(Task):
    """Click the largest of three circles."""

    formats: ClassVar[Mapping[str, str]] = {
        "new_task": 'one JSON object per line: {"image": "a.png", "question": "...", "bbox": [x1, y1, x2, y2]}, pixels',
    }

    def load(self, path: Path) -> Sequence[Sample]:
        """Your own rows: what `--data PATH` names. Leave this method out if there are none."""
        samples, pictures = [], PictureFinder(("images",))
        for file in map(read_rows, data_files(path)):
            for index, row in enumerate(file.rows):
                where = f"{file.path} row {index}"
                require_keys(row, {"image", "question", "bbox"}, (), "new_task", where)
                picture = pictures.find(file.path, text_field(row, "image", where), f"{where}, field image")
                record = ImageRecord(0, pictures.size(picture, f"{where}, field image"))
                numbers = number_list(row["bbox"], 4, f"{where}, field bbox")
                gold = target_box(numbers, PIXEL_CORNERS, record, "new_task", f"{where}, field bbox")
                question = text_field(row, "question", where)
                samples.append(Sample(f"{file.path.stem}-{index}", (picture,), (record,), question, gold))
        return samples

    def synthetic(self, split: Split, rows: int, seed: int) -> Sequence[Sample]:
        """Drawn rows: what is trained on without `--data`. Leave this method out if `load` is enough."""
        return DrawnRows(split, rows, seed, draw, self._row)

    def _row(self, circles: "Circles", id_: str) -> Sample:
        record = ImageRecord(0, Size(SIDE, SIDE))
        return Sample(id_, (circles.image,), (record,), QUESTION, Box(*circles.largest, record.frame(Unit.ORIGINAL)))

    @reward(weight=1.0)
    def on_target(self, answer: Point, sample: Sample, rollout: Rollout) -> float:
        """1 if the click is in the circle's box."""
        return boxes.point_in_box(answer, _target(sample))

    @reward(weight=0.2)
    def closeness(self, answer: Point, sample: Sample, rollout: Rollout) -> float:
        """Falls with the square of the click's distance from the circle's centre."""
        return boxes.closeness(answer, _target(sample))

    @metric
    def hit(self, answer: Point, sample: Sample, rollout: Rollout) -> float:
        """The score that is reported: the click is in the circle's box."""
        return boxes.point_in_box(answer, _target(sample))


def _target(sample: Sample) -> Box:
    if not isinstance(sample.gold, Box):
        raise TypeError(f"row {sample.id}: the target is a box, not {sample.gold}")
    return sample.gold


@dataclass(frozen=True)
class Circles:
    """A drawn picture and the box of its largest circle: left, top, right, bottom, the last two exclusive."""

    image: Image.Image
    largest: Edges

    @property
    def split(self) -> Split:
        return split_of(self.image)


def draw(seed: int) -> Circles:
    """A picture is a function of its seed: three circles, each in a cell of its own."""
    rng = random.Random(seed)
    image = Image.new("RGB", (SIDE, SIDE), (245, 245, 245))
    cells = rng.sample([(x, y) for x in range(0, SIDE, CELL) for y in range(0, SIDE, CELL)], len(DIAMETERS))
    for (x, y), diameter in zip(cells, DIAMETERS, strict=True):
        left, top = x + rng.randint(0, CELL - diameter), y + rng.randint(0, CELL - diameter)
        colour = COLOURS[rng.choice(list(COLOURS))]
        draw_shape(ImageDraw.Draw(image), "circle", (left, top, left + diameter - 1, top + diameter - 1), colour)
    return Circles(image, (left, top, left + diameter, top + diameter))
