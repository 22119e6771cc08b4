"""From names in settings to pieces: the shipped ones, those of a task folder's algorithm.py, or any by dotted path."""

import difflib
import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import ModuleType
from typing import Any

from vlmrl.algorithms import (
    advantage_transforms,
    advantages,
    auxiliary,
    buffers,
    controllers,
    curricula,
    filters,
    judge,
    objectives,
    plans,
    reducers,
    regularisers,
    repairs,
    reward_transforms,
    surrogates,
    token_credit,
    token_weights,
)
from vlmrl.algorithms.algorithm import Algorithm
from vlmrl.algorithms.piece import Piece
from vlmrl.algorithms.presets import PLAIN, PRESETS
from vlmrl.config import AlgorithmConfig
from vlmrl.errors import ConfigError, UserError
from vlmrl.resolve import build

NO_PIECE = "none"
SEE = "see {} in docs/algorithms.md"
Options = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """An extension point."""

    module: ModuleType
    base: type[Piece]
    several: bool = False
    """Whether it takes any number of pieces, by label."""

    def shipped(self) -> dict[str, type[Piece]]:
        return dict(_pieces_of(self.module, self.base))


POINTS = {
    "curriculum": Point(curricula, curricula.Curriculum),
    "plan": Point(plans, plans.RolloutPlan),
    "judge": Point(judge, judge.Judge),
    "repairs": Point(repairs, repairs.GroupRepair, several=True),
    "filter": Point(filters, filters.GroupFilter),
    "buffers": Point(buffers, buffers.Buffer, several=True),
    "reward_transforms": Point(reward_transforms, reward_transforms.RewardTransform, several=True),
    "advantage": Point(advantages, advantages.AdvantageEstimator),
    "advantage_transforms": Point(advantage_transforms, advantage_transforms.AdvantageTransform, several=True),
    "credit": Point(token_credit, token_credit.TokenCredit),
    "auxiliary": Point(auxiliary, auxiliary.AuxiliaryUpdate, several=True),
    "token_weights": Point(token_weights, token_weights.TokenWeight, several=True),
    "surrogate": Point(surrogates, surrogates.Surrogate),
    "expert_surrogate": Point(surrogates, surrogates.Surrogate),
    "objective": Point(objectives, objectives.GroupObjective),
    "regularisers": Point(regularisers, regularisers.Regulariser, several=True),
    "reducer": Point(reducers, reducers.Reducer),
    "controllers": Point(controllers, controllers.Controller, several=True),
}
"""By the name of the setting below `algorithm`, which is also that of `Algorithm`'s field."""


def _pieces_of(module: ModuleType, base: type[Piece]) -> Iterator[tuple[str, type[Piece]]]:
    """The pieces of a kind that a module defines itself."""
    for value in vars(module).values():
        if _is_piece(value, base) and value.__module__ == module.__name__:
            yield value.name(), value


def _is_piece(value: Any, base: type[Piece]) -> bool:
    return isinstance(value, type) and issubclass(value, base) and is_dataclass(value)


def entries(config: AlgorithmConfig) -> Iterator[tuple[str, str | None, Options]]:
    """Every piece of the preset with the user's changes: its point, its label where a point takes several, and its
    options with its name. Raises UserError for an unknown preset."""
    if config.preset not in PRESETS:
        raise UserError(_unknown("algorithm.preset", config.preset, PRESETS, "preset"))
    for name, point in POINTS.items():
        layers = [PLAIN.get(name, {}), PRESETS[config.preset].settings.get(name, {}), getattr(config, name)]
        if not point.several:
            entry = _overlaid({}, layers, name)
            if entry["name"] != NO_PIECE:
                yield name, None, entry
            continue
        for label in dict.fromkeys(label for layer in layers for label in layer):
            entry = _overlaid({"name": label}, [layer[label] for layer in layers if label in layer], name, label)
            if entry["name"] != NO_PIECE:
                yield name, label, entry


def build_algorithm(config: AlgorithmConfig, modules: Sequence[ModuleType] = ()) -> Algorithm:
    """The preset with the user's changes; `modules` hold pieces of the user's tasks.

    Raises UserError for an unknown preset, piece or option, naming the nearest, and for an option that has to be given.
    """
    chosen: dict[str, Any] = {name: {} if point.several else None for name, point in POINTS.items()}
    for name, label, entry in entries(config):
        if label is None:
            chosen[name] = _piece(POINTS[name], f"algorithm.{name}", entry, modules)
        else:
            chosen[name][label] = _piece(POINTS[name], f"algorithm.{name}.{label}", entry, modules)
    return Algorithm(**chosen)


def _overlaid(base: Options, layers: Sequence[Any], *place: str) -> Options:
    """A piece's name and options after all layers; one that names another piece drops the options before it."""
    merged = base
    for layer in layers:
        match layer:
            case str(name):
                entry: Options = {"name": name}
            case True:
                entry = {}
            case False | None:
                entry = {"name": NO_PIECE}
            case Mapping():
                entry = dict(layer)
            case _:
                where = ".".join(("algorithm", *place))
                raise UserError(f"{where} must be true, false, a name or a mapping of options, not {layer!r}")
        renamed = "name" in entry and entry["name"] != merged.get("name")
        merged = entry if renamed else {**merged, **entry}
    return merged


def _piece(point: Point, place: str, entry: Options, modules: Sequence[ModuleType]) -> Piece:
    options = dict(entry)
    found = _find(point, place, str(options.pop("name")), modules)
    try:
        piece = build(found, options, place)
    except ConfigError as error:
        raise ConfigError(f"{error}; {SEE.format(found.name())}") from error
    for one in fields(piece):  # type: ignore[arg-type]
        if one.metadata.get("required") and getattr(piece, one.name) is None:
            raise UserError(
                f"{place}.{one.name} has to be given: no source has a value for it; {SEE.format(found.name())}"
            )
    return piece


def _find(point: Point, place: str, name: str, modules: Sequence[ModuleType]) -> type[Piece]:
    known = point.shipped()
    for module in modules:
        known |= dict(_pieces_of(module, point.base))
    if name in known:
        return known[name]
    module_name, _, attribute = name.rpartition(".")
    if not module_name:
        raise UserError(_unknown(place, name, known, f"{point.base.name().replace('_', ' ')}"))
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{place}={name}: cannot be imported: {error}; is it on the path (PYTHONPATH)?") from error
    if not _is_piece(found, point.base):
        raise UserError(
            f"{place}={name} must be a dataclass derived from {point.base.__module__}.{point.base.__name__}; see "
            "docs/own-algorithm.md"
        )
    return found


def _unknown(place: str, name: str, known: Iterable[str], kind: str) -> str:
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"{place}={name}: no such {kind}; {hint}there are: {', '.join(known)}; see docs/algorithms.md"


def options_of(piece: Piece) -> dict[str, Any]:
    """The settings a piece was built with."""
    return {one.name: getattr(piece, one.name) for one in fields(piece) if one.init}  # type: ignore[arg-type]
