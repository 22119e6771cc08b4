"""`vlmrl eval`: a model's score card on a benchmark or on a task's own rows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from vlmrl.answers.convention import Convention
from vlmrl.config import Config
from vlmrl.engine.choose import make_engine
from vlmrl.errors import Interrupted, UserError
from vlmrl.evaluation.audit import AUDIT_ROWS, AlteredRows, guesses
from vlmrl.evaluation.card import Evaluated
from vlmrl.evaluation.find import find_benchmark
from vlmrl.evaluation.folder import EvaluationFolder, Line
from vlmrl.evaluation.predictions import Prediction, read_predictions, score_predictions
from vlmrl.evaluation.processes import Processes
from vlmrl.evaluation.provenance import file_checksum, model_fingerprint, rows_checksum, scorer_record, text_checksum
from vlmrl.evaluation.rows import CHUNK_ROWS, evaluate_rows, evaluation_sampling
from vlmrl.evaluation.show import card_tables, progress_bar
from vlmrl.evaluation.statistics import Estimate
from vlmrl.models.load import Policy, compute_dtype, load_family, load_policy, model_folder, resolve_device
from vlmrl.records import answer_record, group_record
from vlmrl.task_mix import TaskMix, TaskPart, only_task
from vlmrl.training.data import Subset, held_out_rows
from vlmrl.training.recorder import package_versions
from vlmrl.types import Sample

Json = dict[str, Any]


def evaluate(config: Config, save: Path | None = None, predictions: Path | None = None, audit: bool = False) -> Json:
    """Answers every row, scores the answers, prints the card and returns it.

    `save` is the evaluation's folder (default: a name below evals/ made from what is evaluated). A folder that already
    holds a part of the same evaluation is continued. `predictions` names a file of answers to score in place of a
    model's; it is kept in a folder only if `save` names one. With `audit` the card also says what the same scorer gives
    to answers that saw another picture, a grey one, or none. Raises UserError for wrong input, Interrupted with
    everything kept.
    """
    if config.eval.benchmark is not None:
        task, _ = find_benchmark(config.eval.benchmark)
        config = replace(config, task=replace(config.task, name=task))
    part = only_task(config, "eval")
    rows, data = _rows(part)
    console = Console(highlight=False)
    identity = _identity(config, part, rows, data)
    if predictions is None:
        card = _evaluate_model(config, part, rows, identity, save, audit, console)
    else:
        if audit:
            raise UserError("--audit needs the model: it answers altered pictures; leave --predictions out")
        card = _evaluate_file(config, part, rows, identity, save, predictions)
    if card is None:  # a process that only helps
        return {}
    for table in card_tables(card):
        console.print(table)
    return card


def _rows(part: TaskPart) -> tuple[Sequence[Sample], str]:
    data = part.data
    if data.held_out is None:
        return part.task.synthetic("held_out", data.max_rows or data.held_out_rows, 0), "synthetic"
    rows = held_out_rows(part)
    return Subset(rows, range(min(data.max_rows or len(rows), len(rows)))), data.held_out


def _identity(config: Config, part: TaskPart, rows: Sequence[Sample], data: str) -> Json:
    return {
        "task": part.name,
        "options": config.task.options,
        "benchmark": part.benchmark and part.benchmark.name,
        "split": part.split,
        "data": data,
        "rows": len(rows),
        "checksum": rows_checksum(rows),
    }


def _evaluate_model(
    config: Config,
    part: TaskPart,
    rows: Sequence[Sample],
    identity: Json,
    save: Path | None,
    audit: bool,
    console: Console,
) -> Json | None:
    with Processes(config.run.device) as processes:
        device = resolve_device(processes.device)
        family = load_family(config.model)
        provenance = {
            "model": {"path": config.model.path, "fingerprint": model_fingerprint(model_folder(config.model.path))},
            "pixels": family.settings(),
            "decoding": {
                **asdict(evaluation_sampling(config)),
                "seed": config.run.seed if config.eval.temperature else None,
                "dtype": str(compute_dtype(config.model, device)).removeprefix("torch."),
                "device": device.type,
            },
            "packages": package_versions(),
        }
        stated = {**identity, **provenance}
        folder = EvaluationFolder(save or _default_folder(stated), stated)
        model = _Model(config, part, device, processes, console)
        answers = model.answers(folder, rows, "answering")
        sights = {}
        for kind in ("blind", "shuffled") if audit else ():
            changed = AlteredRows(kind, Subset(rows, range(min(AUDIT_ROWS, len(rows)))))
            inner = EvaluationFolder(folder.path / kind, stated | {"pictures": kind})
            sights[kind] = model.answers(inner, changed, f"audit, {kind}")
        if not processes.is_main:
            return None
    said = [Prediction.of_line(line) for line in answers]
    evaluated = score_predictions(part.task, rows, said, family.convention)
    card = _card(part, identity, provenance, evaluated)
    if audit:
        card["audit"] = _audit(part, evaluated, sights, family.convention)
    folder.finish([_with_metrics(line, item) for line, item in zip(answers, evaluated, strict=True)], card)
    console.print(f"answers and card in {folder.path}", soft_wrap=True)
    return card


class _Model:
    """Answers rows with the configured model, which is loaded when there is something to answer."""

    def __init__(self, config: Config, part: TaskPart, device: Any, processes: Processes, console: Console) -> None:
        self.config, self.part, self.device, self.processes, self.console = config, part, device, processes, console
        self._policy: Policy | None = None

    def answers(self, folder: EvaluationFolder, rows: Sequence[Sample], what: str) -> list[Line]:
        """A line per row, from the chunks that are in the folder and those that were missing.

        A chunk's rows are always the same, whichever process answers it and however often the evaluation was stopped,
        so the answers are too.
        """
        chunks = [range(i, min(i + CHUNK_ROWS, len(rows))) for i in range(0, len(rows), CHUNK_ROWS)]
        missing = [number for number in range(len(chunks)) if not folder.has_chunk(number)]
        if len(missing) < len(chunks) and self.processes.is_main:
            known = sum(len(chunk) for number, chunk in enumerate(chunks) if number not in missing)
            self.console.print(f"{known} of {len(rows)} rows are answered in {folder.path} already", soft_wrap=True)
        mine = missing[self.processes.rank :: self.processes.count]
        try:
            with progress_bar(self.console, what, sum(len(chunks[i]) for i in mine), self.processes.is_main) as bar:
                for number in mine:
                    own = [rows[i] for i in chunks[number]]
                    folder.write_chunk(number, self._lines(folder, own, chunks[number].start))
                    bar(len(own))
        except KeyboardInterrupt:
            raise Interrupted(f"stopped; what was answered is in {folder.path}: the same command continues") from None
        self.processes.wait()
        if not self.processes.is_main:
            return []
        return [line for number in range(len(chunks)) for line in folder.read_chunk(number)]

    def _lines(self, folder: EvaluationFolder, rows: Sequence[Sample], start: int) -> list[Line]:
        if self._policy is None:
            self._policy = load_policy(self.config.model, self.device, trainable=False)
            self._engine = make_engine(self._policy, self.config.engine)
        sampling = evaluation_sampling(self.config)
        evaluated = evaluate_rows(
            self._engine, TaskMix(self.part), rows, sampling, seed=self.config.run.seed, start=start
        )
        return [group_record(0, item.group, folder.media.keep(item.group.sample)) for item in evaluated]


def _card(part: TaskPart, identity: Json, provenance: Json, evaluated: Sequence[Evaluated]) -> Json:
    benchmark = part.benchmark
    published = None
    if benchmark is not None:
        published = benchmark.rows if part.split is None else benchmark.splits.get(part.split)
    return {
        **identity,
        **part.card(evaluated).record(),
        "average": benchmark.average if benchmark else "micro",
        "published_rows": published,
        "provenance": {
            "scorer": scorer_record(part.task, part.metric, benchmark.scorer if benchmark else ""),
            "prompts": text_checksum(item.group.prompt.text for item in evaluated),
            "mode": "/".join(sorted({item.group.sample.mode.value for item in evaluated})),
            **provenance,
        },
        "anchors": [asdict(anchor) for anchor in benchmark.anchors] if benchmark else [],
    }


def _audit(
    part: TaskPart, evaluated: Sequence[Evaluated], sights: Mapping[str, Sequence[Line]], convention: Convention
) -> Json:
    """The card's metric for answers to altered pictures and for guesses that look at none, over the audited rows."""

    def figure(scored: Sequence[Evaluated]) -> Json:
        card = part.card(scored)
        return asdict(Estimate(card.score, card.low, card.high, card.n)) | {"unparsed": card.unparsed}

    seen = evaluated[:AUDIT_ROWS]
    rows = [item.group.sample for item in seen]
    found = {"the model": figure(seen)}
    for kind, lines in sights.items():
        said = [Prediction.of_line(line) for line in lines]
        found[f"the model, {kind}"] = figure(score_predictions(part.task, rows, said, convention))
    for name, texts in guesses(part.task, rows, convention).items():
        said = [Prediction(text) for text in texts]
        found[name] = figure(score_predictions(part.task, rows, said, convention))
    return found


def _evaluate_file(
    config: Config,
    part: TaskPart,
    rows: Sequence[Sample],
    identity: Json,
    save: Path | None,
    file: Path,
) -> Json:
    family = load_family(config.model)
    predictions = read_predictions(file, rows, config.eval.id_field, config.eval.text_field)
    seen = [row if said.model_sizes else family.resized(row) for row, said in zip(rows, predictions, strict=True)]
    evaluated = score_predictions(part.task, seen, predictions, family.convention)
    provenance = {
        "predictions": {"file": str(file), "checksum": file_checksum([file])},
        "convention": asdict(family.convention) | {"unit": family.convention.unit.value, "of": config.model.path},
        "packages": package_versions(),
    }
    card = _card(part, identity, provenance, evaluated)
    if save is not None:
        folder = EvaluationFolder(save, {**identity, **provenance})
        lines = [_with_metrics(group_record(0, i.group, folder.media.keep(i.group.sample)), i) for i in evaluated]
        folder.finish(lines, card)
    return card


def _with_metrics(line: Line, item: Evaluated) -> Line:
    """A row's line with what the scorer made of it."""
    error = {"error": item.error} if item.error else {}
    rollout = line["rollouts"][0] | {"answer": answer_record(item.answer)}
    return {**line, "rollouts": [rollout], "metrics": item.metrics, **error}


def _default_folder(identity: Json) -> Path:
    name = identity["benchmark"] or identity["task"]
    model = Path(identity["model"]["path"]).name
    return Path("evals") / f"{name}-{model}-{text_checksum([repr(identity)])[:8]}"
