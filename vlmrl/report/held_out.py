"""Cards of held-out rows: what the model answered before and after training, side by side on the same picture."""

from vlmrl.report.filters import Cards
from vlmrl.report.illustration import Illustrator
from vlmrl.report.numbers import count
from vlmrl.report.pairs import Change, Contrast, buttons, pair_cards, paired
from vlmrl.report.run_folder import RunFolder
from vlmrl.report.sampling import Limits

CHANGES: dict[Change, str] = {
    "gained": "wrong before, right after",
    "lost": "right before, wrong after",
    "kept": "right both times",
    "never": "wrong both times",
}
BUTTONS = buttons(CHANGES)


def held_out_cards(run: RunFolder, illustrator: Illustrator, metric: str, limits: Limits) -> Cards:
    """Cards of rows at the first and the last evaluation, and how many of all rows changed between the two."""
    steps = list(run.eval_files)
    if not steps:
        return Cards([], frozenset(), "")
    first, last = steps[0], steps[-1]
    pairs = paired(run.groups(run.eval_files[first]), run.groups(run.eval_files[last]) if last != first else [])
    kept = [pair for pair in pairs if pair.first.kept] or pairs
    twice = [pair for pair in pairs if pair.second]
    contrast = Contrast(metric, f"Before (step {first})", f"After (step {last})", CHANGES)
    tallied = f"Of {count(len(twice), 'row')}: {contrast.tally(twice)}. " if twice else ""
    return pair_cards(kept, illustrator, contrast, tallied, limits, "; `vlmrl report RUN --all` shows every one")
