"""Reading the answers of one evaluation: the folder that `vlmrl eval` writes, or its file of answers alone."""

import json
from pathlib import Path

from vlmrl.errors import UserError
from vlmrl.evaluation.statistics import mean_estimate
from vlmrl.report.logged import Json, Log, number

ANSWERS = "answers.jsonl"
CARD = "card.json"
STATED = "evaluation.json"


class Answers(Log):
    """The rows of one evaluation, each with one answer and its metrics.

    Raises UserError for a place without answers, and for rows without metrics.
    """

    def __init__(self, place: Path) -> None:
        file = place / ANSWERS if place.is_dir() else place
        if not file.is_file():
            raise UserError(
                f"{file} does not exist; give the folder that `vlmrl eval` printed, and finish an evaluation that was "
                "stopped by giving its command again"
            )
        super().__init__(file.parent, file.parent / "images")
        self.name = (place if place.is_dir() else file).resolve().name
        self.rows = [row for row in self.groups(file) if row.rollouts and row.metrics]
        if not self.rows:
            raise UserError(f"{file} holds no evaluated row; give the folder that `vlmrl eval` printed")
        self.card = self._card()

    @property
    def metric(self) -> str:
        """What the card is about, where single rows have it; else the first metric of the rows."""
        stated = self.card.get("metric")
        names = self.rows[0].metrics
        return stated if isinstance(stated, str) and stated in names else next(iter(names))

    @property
    def score(self) -> Json:
        """score, low, high and n of the card; without a card those of the rows' mean."""
        if number(self.card, "score") is not None:
            return self.card
        estimate = mean_estimate([row.metrics.get(self.metric, 0.0) for row in self.rows])
        return {"score": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}

    def _card(self) -> Json:
        file = self.path / CARD
        try:
            card = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        except ValueError:
            self.damaged[CARD] += 1
            return {}
        return card if isinstance(card, dict) else {}


def is_evaluation(place: Path) -> bool:
    """Whether a place is an evaluation's folder or a file of answers, and not a run folder."""
    return place.is_file() or (place / ANSWERS).is_file() or (place / STATED).is_file()
