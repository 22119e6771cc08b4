"""What is drawn of a row: its pictures with gold and answers, its clips as time lines, or what its scripts draw."""

from collections.abc import Sequence

from vlmrl.report import charts
from vlmrl.report.charts import ChartStudio
from vlmrl.report.logged import Log, LoggedGroup, LoggedRollout
from vlmrl.report.markup import Html, element
from vlmrl.report.numbers import ranges
from vlmrl.report.overlay import Target, drawing, shapes
from vlmrl.report.pictures import PictureLibrary
from vlmrl.report.rollouts import written
from vlmrl.report.sampling import SHORT, cut
from vlmrl.report.timeline import spans_of, timeline
from vlmrl.types import Code, Unparsed


class Illustrator:
    """Draws the rows of one log. Pictures go into the library as they are needed."""

    def __init__(self, log: Log, library: PictureLibrary, studio: ChartStudio) -> None:
        self.log, self.library, self.studio = log, library, studio

    def drawings(
        self, group: LoggedGroup, rollouts: Sequence[LoggedRollout], *, numbered: bool, max_height: int
    ) -> Html | None:
        """Everything that can be drawn of the row; None for a row of text alone."""
        self._take(group)
        if isinstance(group.gold, Code):
            return charts.side_by_side(group, rollouts, self.studio, self.library, numbered=numbered)
        target = Target(group.gold, group.target)
        drawn = [
            drawing(
                record,
                name if name and self.library.has(name) else None,
                target,
                rollouts,
                numbered=numbered,
                max_height=max_height,
            )
            for record, name in zip(group.records, group.pictures, strict=True)
        ]
        for video in group.videos:
            shown = bool(video.frames) and all(map(self.library.has, video.frames))
            size = self.library.size(video.frames[0]) if shown else None
            drawn.append(timeline(video, size, target, rollouts, numbered=numbered))
        elsewhere = _not_drawn(rollouts) if numbered else None
        return element("div", *drawn, elsewhere, class_="drawings") if drawn or elsewhere else None

    def names(self, group: LoggedGroup, rollouts: Sequence[LoggedRollout]) -> frozenset[str]:
        """The library's pictures that `drawings` shows."""
        return frozenset((*group.media, *charts.charts(group, rollouts, self.studio)))

    def draw_charts(self, groups: Sequence[LoggedGroup], most: int) -> None:
        """Runs at most so many scripts of the groups' answers."""
        scripts = (charts.script_of(group, rollout) for group in groups for rollout in group.rollouts)
        self.studio.draw([script for script in scripts if script is not None], most)

    def _take(self, group: LoggedGroup) -> None:
        for name in group.media:
            self.library.add(name, self.log.picture(name))


def _not_drawn(rollouts: Sequence[LoggedRollout]) -> Html | None:
    """Answers that have no place to be drawn at, equal ones together; None if every answer has one."""
    numbers: dict[str, list[int]] = {}
    for number, rollout in enumerate(rollouts, start=1):
        answer = rollout.answer
        if isinstance(answer, Unparsed):
            numbers.setdefault("no answer", []).append(number)
        elif not shapes(answer) and not spans_of(answer):
            numbers.setdefault(cut(written(answer), SHORT), []).append(number)
    if not numbers:
        return None
    said = "; ".join(f"{what} ({ranges(who)})" for what, who in numbers.items())
    return element("p", f"Without a place: {said}", class_="note")
