"""YAML as settings files use it: plain data by the rules of YAML 1.2.

PyYAML follows YAML 1.1, where ``1e-5`` is text, ``on`` is true, ``010`` is 8, ``1:30`` is 90 and dates are objects.
Here numbers are what they look like, only ``true`` and ``false`` are switches, and all the rest is text.
"""

import re
from typing import Any

import yaml

NULL, _BOOL, _INT, _FLOAT, STR = (f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str"))

_CORE_SCHEMA = (
    (NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (_INT, r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    (
        _FLOAT,
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
)
"""Tag, the unquoted scalars that have it, and the characters they start with."""


class Loader(yaml.SafeLoader):
    """Reads plain data; everything that is not null, a switch or a number is text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's class attribute, emptied of YAML 1.1


class _Dumper(yaml.SafeDumper):
    """Quotes text that either version of YAML would take for something else, so that any reader gets it back."""


for _tag, _pattern, _first in _CORE_SCHEMA:
    for _class in (Loader, _Dumper):
        _class.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), _first)
_Dumper.add_representer(
    list, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)
)


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # PyYAML writes these unusual line breaks unescaped outside double quotes and reads them back as spaces.
    style = '"' if any(mark in text for mark in "\x85\u2028\u2029\ufeff") else None
    return dumper.represent_scalar(STR, text, style)


_Dumper.add_representer(str, _represent_text)


def dump(value: Any) -> str:
    """Plain data as YAML: mappings one entry a line in their own order, lists in brackets."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
