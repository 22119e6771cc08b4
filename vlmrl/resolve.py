"""Settings from dataclass defaults, a YAML file, ``name=value`` words and flags, each checked against its type.

Later sources win, setting by setting. A name is the dotted path of a field (``optim.lr``). A section (a field that is
itself a dataclass) given a plain value passes it to its first field: ``model: path`` means ``model.path: path``. A
dictionary field written as a whole replaces what an earlier source gave; a dotted name below it sets one entry. A
dictionary of sections takes any name as a section's: ``task.each.NAME.ratio``. A `Piece` given a plain value takes it
as its name: ``algorithm.surrogate: cispo`` means ``algorithm.surrogate.name: cispo``.

YAML is read by the rules of YAML 1.2 (see `vlmrl.yaml_dialect`): ``1e-5`` is a number.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import yaml

from vlmrl.config import Piece, Pieces
from vlmrl.errors import ConfigError
from vlmrl.settings_help import describe, field_types, nearest_settings, section_of, setting_names
from vlmrl.yaml_dialect import NULL, STR, Loader, dump

C = TypeVar("C")


class _UnknownError(Exception):
    """A setting that does not exist; `resolve` and `build` turn it into a ConfigError with a suggestion."""


class _MismatchError(Exception):
    """A written value does not fit a type; `_converted` turns it into a ConfigError that names the setting."""


@dataclass(frozen=True)
class _Written:
    """A value as somebody wrote it."""

    node: yaml.Node
    text: str | None
    """The characters of a scalar, which is what a text setting takes."""
    origin: str
    """Where it was written, for messages: a file's name, or what the user typed."""
    in_file: bool = False

    @property
    def source(self) -> str:
        return f"{self.origin}, line {self.node.start_mark.line + 1}" if self.in_file else self.origin

    @property
    def is_null(self) -> bool:
        return bool(self.node.tag == NULL)

    @property
    def value(self) -> Any:
        """What YAML makes of it. Raises ConfigError for tags outside plain data."""
        try:
            return Loader("").construct_document(self.node)
        except yaml.YAMLError as error:
            raise ConfigError(f"{_problem(error)} ({self.source})") from error

    def shown(self) -> str:
        match self.value:
            case None:
                return "null"
            case bool(value):
                return str(value).lower()
            case value:
                return repr(value)

    def within(self, node: yaml.Node) -> "_Written":
        """A value written inside this one."""
        return replace(self, node=node, text=node.value if isinstance(node, yaml.ScalarNode) else None)

    def entries(self) -> Iterator[tuple[str, "_Written"]]:
        """The entries of a mapping. Raises ConfigError for a key that is given twice or is no plain word."""
        seen: dict[str, _Written] = {}
        for key_node, node in self.node.value:
            key = self.within(key_node)
            if key.text is None:
                raise ConfigError(f"{key.shown()} is no name of a setting ({key.source})")
            if key.text in seen:
                raise ConfigError(f"{key.text} is given twice ({seen[key.text].source}, and again {key.source})")
            seen[key.text] = key
            yield key.text, self.within(node)


def resolve(
    config_type: type[C],
    *,
    file: Path | None = None,
    words: Sequence[str] = (),
    flags: Iterable[tuple[str, str, str]] = (),
) -> C:
    """Builds settings from the defaults of `config_type`, then `file`, then `words`, then `flags`.

    `words` are ``name=value`` texts; `flags` are (dotted name, value, what the user typed). Raises ConfigError, naming
    the setting and where it was written, for an unknown name or a value of the wrong type.
    """
    values = _values(config_type())

    def assign(name: str, written: _Written) -> None:
        try:
            _assign(config_type, values, name, written)
        except _UnknownError as unknown:
            hint = _did_you_mean(nearest_settings(name, setting_names(config_type)))
            raise ConfigError(f"{unknown}.{hint} --help-config lists every setting") from unknown

    if file is not None and not (document := _read(file)).is_null:
        if not isinstance(document.node, yaml.MappingNode):
            raise ConfigError(f"the settings must be a mapping of names to values ({document.source})")
        for name, written in document.entries():
            assign(name, written)
    for word in words:
        name, equals, text = word.partition("=")
        if not (name and equals):
            raise ConfigError(f"{word!r} is not a setting: write name=value, e.g. optim.lr=1e-5")
        assign(name, _parsed(text, f"command line: {word}"))
    for name, text, source in flags:
        assign(name, _parsed(text, source))
    return _construct(config_type, values)


def build(config_type: type[C], options: Mapping[str, Any], prefix: str) -> C:
    """A `config_type` from plain data, for options whose type is known only once a plugin is loaded.

    `prefix` is the dotted name the options have among the settings. A class that is no dataclass takes no options.
    Raises ConfigError for an unknown option or a value of the wrong type.
    """
    values = _values(config_type()) if is_dataclass(config_type) else {}
    document = _Written(
        yaml.compose(dump(dict(options)), Loader=Loader), None, f"the options of {config_type.__name__}"
    )
    for name, written in document.entries():
        try:
            _assign(config_type, values, name, written, f"{prefix}.")
        except _UnknownError as unknown:
            known = [f"{prefix}.{option}" for option in values]
            hint = _did_you_mean(difflib.get_close_matches(f"{prefix}.{name}", known, n=1))
            there_are = f"there are {', '.join(known)}" if known else f"{config_type.__name__} takes no options"
            raise ConfigError(f"{unknown}.{hint} {there_are}") from unknown
    return _construct(config_type, values)


def _values(config: Any) -> dict[str, Any]:
    return {
        field.name: _values(value) if is_dataclass(value := getattr(config, field.name)) else value
        for field in fields(config)
        if field.init
    }


def _construct(config_type: type[C], values: Mapping[str, Any]) -> C:
    kinds = field_types(config_type)

    def constructed(kind: Any, value: Any) -> Any:
        if section := section_of(kind):
            return {name: _construct(section, entry) for name, entry in value.items()}
        return _construct(kind, value) if is_dataclass(kind) else value  # type: ignore[arg-type]

    return config_type(**{name: constructed(kinds[name], value) for name, value in values.items()})


def _did_you_mean(close: Sequence[str]) -> str:
    return f" Did you mean {' or '.join(close)}?" if close else ""


def _read(file: Path) -> _Written:
    if file.is_dir():
        raise ConfigError(f"{file} is a folder; name a YAML file of settings")
    try:
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=Loader)
    except FileNotFoundError as error:
        raise ConfigError(f"settings file {file} does not exist") from error
    except OSError as error:
        raise ConfigError(f"settings file {file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"settings file {file} is not UTF-8 text") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{file}{line}: not readable as YAML: {_problem(error)}") from error
    return _Written(node or yaml.ScalarNode(NULL, ""), None, str(file), in_file=True)


def _problem(error: yaml.YAMLError) -> str:
    return getattr(error, "problem", None) or str(error)


def _parsed(text: str, source: str) -> _Written:
    """A value typed on the command line: YAML where it is YAML, plain text otherwise, so nothing needs quoting."""
    try:
        node = yaml.compose(text, Loader=Loader)
    except yaml.YAMLError:
        node = None
    if node is None and not text.strip():
        node = yaml.ScalarNode(NULL, text)
    is_plain = isinstance(node, yaml.ScalarNode) and not node.style
    if node is None or (is_plain and (node.tag == STR or node.value != text.strip())):
        node = yaml.ScalarNode(STR, text)  # YAML would drop comments and outer spaces
    return _Written(node, text, source)


def _assign(config_type: type, values: dict[str, Any], name: str, written: _Written, above: str = "") -> None:
    """Sets dotted `name` in `values`, the fields of a `config_type` whose own dotted name (with its dot) is `above`."""
    head, _, rest = name.partition(".")
    full, kind = above + head, field_types(config_type).get(head)
    if is_dataclass(kind):
        for key, entry in [(rest, written)] if rest else _section_entries(full, kind, written):
            _assign(kind, values[head], key, entry, f"{full}.")  # type: ignore[arg-type]
    elif section := section_of(kind):
        _assign_named(values[head], section, full, rest, written)
    elif get_origin(kind) is dict:
        _assign_entries(values[head], get_args(kind)[1], full, rest, written)
    elif kind in (Piece, Pieces):
        plain = kind is Piece and not isinstance(written.node, yaml.MappingNode)
        _assign_entries(values[head], Any, full, rest or ("name" if plain else ""), written)
    elif kind is None or rest:
        raise _UnknownError(f"there is no setting {above}{name} ({written.source})")
    else:
        values[head] = _converted(kind, written, full)


def _section_entries(name: str, section: Any, written: _Written) -> list[tuple[str, _Written]]:
    if written.is_null:  # a heading with nothing below it
        return []
    if isinstance(written.node, yaml.MappingNode):
        return list(written.entries())
    if not isinstance(written.node, yaml.ScalarNode):
        raise ConfigError(f"{name} must be a section of settings, not {written.shown()} ({written.source})")
    return [(fields(section)[0].name, written)]


def _assign_named(sections: dict[str, Any], section: type, above: str, rest: str, written: _Written) -> None:
    """Sets something in a dictionary of sections: all of it, one whole section, or below one section's name."""
    name, _, key = rest.partition(".")
    if not name:
        if not isinstance(written.node, yaml.MappingNode):
            raise ConfigError(
                f"{above} must be a mapping of names to sections, not {written.shown()} ({written.source})"
            )
        sections.clear()
        for inner, entry in written.entries():
            _assign_named(sections, section, above, inner, entry)
        return
    values = sections.setdefault(name, _values(section()))
    for inner, entry in [(key, written)] if key else _section_entries(f"{above}.{name}", section, written):
        _assign(section, values, inner, entry, f"{above}.{name}.")


def _assign_entries(entries: dict[str, Any], kind: Any, name: str, key: str, written: _Written) -> None:
    """Sets one entry of a dictionary field (dots in `key` reach nested ones), or all of it when there is no key."""
    if not key:
        if not isinstance(written.node, yaml.MappingNode):
            raise ConfigError(f"{name} must be a mapping, not {written.shown()} ({written.source})")
        new = {key: _converted(kind, entry, f"{name}.{key}") for key, entry in written.entries()}
        entries.clear()
        entries.update(new)
        return
    head, _, rest = key.partition(".") if kind is Any else (key, "", "")
    if not rest:
        entries[head] = _converted(kind, written, f"{name}.{head}")
        return
    inner = entries.setdefault(head, {})
    if not isinstance(inner, dict):
        raise ConfigError(f"{name}.{key} cannot be set: {name}.{head} is {inner!r} ({written.source})")
    _assign_entries(inner, kind, f"{name}.{head}", rest, written)


def _converted(kind: Any, written: _Written, name: str) -> Any:
    try:
        return _convert(kind, written)
    except _MismatchError as error:
        message = f"{name} must be {describe(kind)}, not {written.shown()} ({written.source})"
        close = difflib.get_close_matches(written.text or "", _choices(kind), n=1)
        raise ConfigError(f"{message}.{_did_you_mean(close)}" if close else message) from error


def _convert(kind: Any, written: _Written) -> Any:
    """The value of `written` as a `kind`. Raises _MismatchError where it is none."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if written.is_null and NoneType in args:
            return None
        (kind,) = [arg for arg in args if arg is not NoneType]
        return _convert(kind, written)
    if kind is Any:
        return written.value
    if kind is str and written.text is not None and not written.is_null:
        return written.text
    if origin is Literal and written.text in args:
        return written.text
    if kind in (bool, int) and type(written.value) is kind:
        return written.value
    if kind is float and type(written.value) in (int, float) and written.value == written.value:
        return float(written.value)
    if origin is tuple and isinstance(written.node, yaml.SequenceNode):
        items = written.node.value
        kinds = [args[0]] * len(items) if args[-1] is Ellipsis else args
        if len(kinds) == len(items):
            return tuple(_convert(arg, written.within(item)) for arg, item in zip(kinds, items, strict=True))
    raise _MismatchError


def _choices(kind: Any) -> list[str]:
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return [choice for arg in get_args(kind) for choice in _choices(arg)]


def to_dict(config: Any) -> dict[str, Any]:
    """All settings as plain data: sections as dictionaries, tuples as lists."""
    return {field.name: _plain(getattr(config, field.name)) for field in fields(config)}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return to_dict(value)
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    return list(value) if isinstance(value, tuple) else value


def to_yaml(config: Any) -> str:
    """All settings as YAML that `resolve` reads back equal."""
    return dump(to_dict(config))
