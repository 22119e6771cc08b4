"""The page about two evaluations of the same rows: those that one got right and the other wrong, and the reverse."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from vlmrl.errors import UserError
from vlmrl.report.answers import Answers
from vlmrl.report.charts import ChartStudio
from vlmrl.report.document import card_section, damage, document, write_document
from vlmrl.report.illustration import Illustrator
from vlmrl.report.markup import Html, element
from vlmrl.report.numbers import count
from vlmrl.report.pairs import Change, Contrast, Pair, buttons, pair_cards, paired
from vlmrl.report.pictures import PictureLibrary
from vlmrl.report.sampling import Limits
from vlmrl.report.scores import score

LIMITS = Limits(rows=300, rows_bytes=16_000_000)
"""The page shows nothing else."""


def write_flips_page(a: Path, b: Path, path: Path) -> Path:
    """Writes the page about the evaluations `a` and `b` (folders or files of answers) to `path` and returns it.

    Raises UserError if one of them holds no evaluated row, if they share no row or are judged by different metrics, or
    if the page cannot be written.
    """
    first, second = Answers(a), Answers(b)
    metric = first.metric
    if second.metric != metric:
        raise UserError(f"{a} is judged by {metric} and {b} by {second.metric}; compare evaluations of one task")
    pairs = [pair for pair in paired(first.rows, second.rows) if pair.second]
    if not pairs:
        raise UserError(f"{a} and {b} have no row in common; compare evaluations of the same rows")
    names = _names(a, b, first, second)
    contrast = _contrast(metric, names, pairs)
    flips = [pair for pair in pairs if contrast.change(pair) in contrast.words]
    rule = f"Of {count(len(pairs), 'row')} that both answered: {contrast.tally(pairs)}. "
    library = PictureLibrary()
    with closing(ChartStudio(library)) as studio:
        cards = pair_cards(flips, Illustrator(first, library, studio), contrast, rule, LIMITS)
    page = document(
        f"{names[0]} and {names[1]} · vlmrl",
        _headline(first, second, metric, names),
        damage(first),
        damage(second),
        card_section("Flips", "flips", cards, buttons(contrast.words), f"{rule}No row flipped."),
        library.definitions(cards.pictures),
    )
    return write_document(page, path)


class _Higher(Contrast):
    """Of a metric with values between wrong and right every difference counts."""

    def change(self, pair: Pair) -> Change | None:
        first, *second = (side.metrics.get(self.metric, 0.0) for side in pair.sides)
        return None if second in ([], [first]) else "gained" if second > [first] else "lost"


def _contrast(metric: str, names: tuple[str, str], pairs: Sequence[Pair]) -> Contrast:
    a, b = names
    values = {side.metrics.get(metric, 0.0) for pair in pairs for side in pair.sides}
    if values <= {0.0, 1.0}:
        return Contrast(metric, a, b, {"lost": f"right in {a}, wrong in {b}", "gained": f"wrong in {a}, right in {b}"})
    return _Higher(metric, a, b, {"lost": f"higher in {a}", "gained": f"higher in {b}"})


def _headline(first: Answers, second: Answers, metric: str, names: tuple[str, str]) -> Html:
    return element(
        "header",
        element("p", "vlmrl comparison", class_="eyebrow"),
        element("h1", names[0], element("span", " and "), names[1]),
        score(f"{metric} of {names[0]} and of {names[1]}", first.score, second.score),
        class_="hero",
    )


def _names(a: Path, b: Path, first: Answers, second: Answers) -> tuple[str, str]:
    """Names that differ: those of the files, or where these are the same the paths as they were given."""
    return (first.name, second.name) if first.name != second.name else (str(a), str(b))
