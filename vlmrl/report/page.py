"""The report of a run: one HTML file with its score, its curves and what the model answered."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

from vlmrl.report import groups, held_out
from vlmrl.report.charts import ChartStudio
from vlmrl.report.curves import SMOOTH_FROM, SMOOTH_SHARE
from vlmrl.report.document import card_section, damage, definitions, document, section, write_document
from vlmrl.report.illustration import Illustrator
from vlmrl.report.logged import number
from vlmrl.report.markup import Html, element, folded
from vlmrl.report.numbers import MISSING, duration
from vlmrl.report.pictures import PictureLibrary
from vlmrl.report.run_folder import RunFolder
from vlmrl.report.sampling import EVERYTHING, Limits
from vlmrl.report.scores import cells, score
from vlmrl.report.training_curves import MOST_POINTS, further_curves, training_curves

REPORT_NAME = "report.html"


def write_report(run: Path, out: Path | None = None, *, everything: bool = False) -> Path:
    """Writes the report of the run folder `run` to `out`, by default RUN/report.html, and returns its path.

    A run that is still being written, or was killed, gives a report of what is there. `everything` lifts all limits on
    what is shown. Raises UserError if `run` is no run folder or the file cannot be written.
    """
    folder, library = RunFolder(run), PictureLibrary()
    with closing(ChartStudio(library)) as studio:
        page = run_page(folder, Illustrator(folder, library, studio), EVERYTHING if everything else Limits())
    return write_document(page, out or run / REPORT_NAME)


def run_page(run: RunFolder, illustrator: Illustrator, limits: Limits, version: str = "") -> str:
    """The page about a run as it is now; one with a version is live."""
    rows = held_out.held_out_cards(run, illustrator, _metric(run), limits)
    training = groups.group_cards(run, illustrator, limits)
    return document(
        f"{_fact(run, 'task')} · {run.path.resolve().name} · vlmrl",
        _headline(run),
        damage(run),
        section("Curves", "curves", *_curves(run)),
        cells(run.evals, _metric(run)),
        card_section(
            "Held-out rows, before and after", "held-out", rows, held_out.BUTTONS, "No evaluation has been logged yet."
        ),
        card_section("Training groups", "groups", training, groups.BUTTONS, "No group has been logged yet."),
        illustrator.library.definitions(rows.pictures | training.pictures),
        version=version,
    )


def _metric(run: RunFolder) -> str:
    records = [run.summary.get("before"), *run.evals.values()]
    names = [record["metric"] for record in records if isinstance(record, dict) and "metric" in record]
    return str(names[0]) if names else "score"


def _fact(run: RunFolder, name: str) -> str:
    """A fact of the summary, or of the settings while there is no summary."""
    settings = {"task": ("task", "name"), "model": ("model", "path"), "seed": ("run", "seed")}
    value = run.summary.get(name)
    value = run.setting(*settings[name]) if value is None else value
    return MISSING if value is None else str(value)


def _headline(run: RunFolder) -> Html:
    evals = list(run.evals.values())
    before = run.summary.get("before") or (evals[0] if evals else None)
    after = run.summary.get("after") or (evals[-1] if len(evals) > 1 else None)
    planned = run.setting("run", "steps")
    steps = f"{run.last_step} of {planned}" if isinstance(planned, int) else str(run.last_step)
    facts = [
        ("Task", _fact(run, "task")),
        ("Model", _fact(run, "model")),
        ("Data", _data(run)),
        ("Algorithm", _algorithm(run)),
        ("Seed", _fact(run, "seed")),
        ("Steps", steps),
        *((f"Time {name}", duration(number(run.summary, "seconds", key))) for key, name in _times(run)),
    ]
    return element(
        "header",
        element("p", "vlmrl run report", class_="eyebrow"),
        element("h1", _fact(run, "task"), element("span", f" {run.path.resolve().name}")),
        score(f"Held-out {_metric(run)}", before, after),
        element("p", "This run has not finished: it has no summary yet.", class_="notice") if not run.summary else None,
        definitions([(name, value) for name, value in facts if value], "facts"),
        definitions([*_paths(run), *_machine(run)], "paths"),
        folded("Settings", run.settings),
        folded("Environment", json.dumps(run.environment, indent=2, ensure_ascii=False) if run.environment else ""),
        class_="hero",
    )


def _data(run: RunFolder) -> str:
    each = run.setting("task", "each")
    places = [run.setting("data", "train")]
    if isinstance(each, dict) and each:
        places = [part.get("train") if isinstance(part, dict) else None for part in each.values()]
    return ", ".join(str(place or "synthetic") for place in places)


def _algorithm(run: RunFolder) -> str:
    chosen = run.setting("algorithm")
    name = chosen.get("preset") if isinstance(chosen, dict) else chosen
    return str(name or "")


def _machine(run: RunFolder) -> list[tuple[str, str]]:
    known = run.environment
    packages = known.get("packages")
    named = {"Python": known.get("python"), **(packages if isinstance(packages, dict) else {})}
    versions = [f"{name} {named[name]}" for name in ("vlmrl", "torch", "transformers", "Python") if named.get(name)]
    machine = [str(known[name]) for name in ("device", "platform") if known.get(name)]
    facts = {"Machine": ", ".join(machine), "Versions": ", ".join(versions)}
    return [(name, value) for name, value in facts.items() if value]


def _times(run: RunFolder) -> list[tuple[str, str]]:
    names = {"train": "training", "eval": "evaluating", "total": "in all"}
    return [(key, name) for key, name in names.items() if number(run.summary, "seconds", key) is not None]


def _paths(run: RunFolder) -> list[tuple[str, str]]:
    paths: Any = run.summary.get("paths")
    labels = {"checkpoint": "Checkpoint", "best_checkpoint": "Best checkpoint"}
    return [(label, str(paths[key])) for key, label in labels.items() if isinstance(paths, dict) and paths.get(key)]


def _curves(run: RunFolder) -> list[Html]:
    curves = training_curves(run)
    if curves is None:
        return [element("p", "No step has been logged yet.", class_="empty")]
    steps = f"{MOST_POINTS:,} steps, spread evenly" if len(run.train) > MOST_POINTS else "each step"
    smoothing = f"{steps}, and from {SMOOTH_FROM} steps on a running mean over {100 // SMOOTH_SHARE}% of them"
    further = further_curves(run)
    more = [element("details", element("summary", "Further curves"), further)] if further else []
    return [element("p", f"Lines: {smoothing}. Shaded: 95% interval.", class_="note"), curves, *more]
