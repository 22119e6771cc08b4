"""What answered plotting scripts draw, beside the picture they were to draw: run in the sandbox as a page is made."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from vlmrl.errors import UserError
from vlmrl.report.logged import LoggedGroup, LoggedRollout
from vlmrl.report.markup import Html, element
from vlmrl.report.numbers import ranges
from vlmrl.report.pictures import PictureLibrary, shown
from vlmrl.sandbox import Outcome, Sandbox
from vlmrl.types import Code

MAX_SIDE = 224
"""Of a chart on the page, in page pixels."""
MAX_ENLARGEMENT = 3.0
WORKERS = 2


@dataclass(frozen=True)
class Drawn:
    """A script's chart in the library, or why there is none."""

    picture: str = ""
    problem: str = ""


class ChartStudio:
    """Draws scripts, each once, in a sandbox that is started when the first one comes and ends with `close`.

    Where the sandbox cannot run (no Linux, no matplotlib, no confinement) every script's problem says so.
    """

    def __init__(self, library: PictureLibrary) -> None:
        self._library = library
        self._drawn: dict[str, Drawn] = {}
        self._sandbox: Sandbox | None = None
        self._unusable = ""

    def close(self) -> None:
        """Ends the sandbox. Harmless when repeated."""
        if self._sandbox:
            self._sandbox.close()
            self._sandbox = None

    def draw(self, scripts: Sequence[str], most: int) -> None:
        """Draws those not drawn yet, at most so many."""
        waiting = [script for script in dict.fromkeys(scripts) if script not in self._drawn][:most]
        if not waiting:
            return
        for script, outcome in zip(waiting, self._run(waiting), strict=True):
            self._drawn[script] = outcome if isinstance(outcome, Drawn) else self._kept(script, outcome)

    def of(self, script: str) -> Drawn:
        """What a script drew."""
        return self._drawn.get(script, Drawn(problem="not drawn: this page draws only some of the scripts"))

    def _run(self, scripts: Sequence[str]) -> Sequence[Outcome | Drawn]:
        try:
            if not self._unusable:
                self._sandbox = self._sandbox or Sandbox(WORKERS)
                return self._sandbox.run(scripts)
        except UserError as error:
            self._unusable = str(error)
        return [Drawn(problem=f"not drawn: {self._unusable}")] * len(scripts)

    def _kept(self, script: str, outcome: Outcome) -> Drawn:
        if outcome.figure is None:
            return Drawn(problem=f"{outcome.status.value}: {outcome.message}")
        name = f"chart-{sha256(script.encode(errors='replace')).hexdigest()[:16]}"
        self._library.add_drawn(name, outcome.figure.image())
        return Drawn(picture=name)


def script_of(group: LoggedGroup, rollout: LoggedRollout) -> str | None:
    """The whole script of an answer; None if it is none."""
    return group.preamble + rollout.answer.source if isinstance(rollout.answer, Code) else None


def side_by_side(
    group: LoggedGroup,
    rollouts: Sequence[LoggedRollout],
    studio: ChartStudio,
    library: PictureLibrary,
    *,
    numbered: bool,
) -> Html:
    """The target's picture and beside it what each script draws; scripts that are the same share one."""
    figures = [_figure("target", name, library) for name in group.pictures if name and library.has(name)]
    numbers: dict[str, list[int]] = {}
    for number, rollout in enumerate(rollouts, start=1):
        if (script := script_of(group, rollout)) is not None:
            numbers.setdefault(script, []).append(number)
    for script, who in numbers.items():
        drawn = studio.of(script)
        caption = ranges(who) if numbered else "answer"
        answers = " ".join(map(str, who))
        if drawn.picture:
            figures.append(_figure(caption, drawn.picture, library, answers))
        else:
            problem = element("p", drawn.problem, class_="problem")
            figures.append(element("figure", problem, element("figcaption", caption), data_answers=answers))
    return element("div", *figures, class_="plots")


def charts(group: LoggedGroup, rollouts: Sequence[LoggedRollout], studio: ChartStudio) -> tuple[str, ...]:
    """Names of the charts that `side_by_side` shows."""
    scripts = [script for rollout in rollouts if (script := script_of(group, rollout)) is not None]
    return tuple(picture for script in scripts if (picture := studio.of(script).picture))


def _figure(caption: str, name: str, library: PictureLibrary, answers: str | None = None) -> Html:
    size = library.size(name)
    scale = min(MAX_SIDE / size.width, MAX_SIDE / size.height, MAX_ENLARGEMENT)
    drawing = element(
        "svg",
        shown(name, size),
        class_="drawing",
        viewBox=f"0 0 {size.width} {size.height}",
        width=max(1, round(size.width * scale)),
        height=max(1, round(size.height * scale)),
        role="img",
        aria_label=f"Chart: {caption}",
    )
    return element("figure", drawing, element("figcaption", caption), data_answers=answers)
