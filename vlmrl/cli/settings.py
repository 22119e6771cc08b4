"""From command line to `Config`: flags that stand for settings, the file they start from, ``name=value`` words."""

import argparse
import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vlmrl.errors import UserError

if TYPE_CHECKING:
    from vlmrl.config import Config

Given = tuple[str, str, str]
"""Dotted setting, value, and what the user typed."""

BASE_OF_TINY = "quickstart"
"""Shipped settings that make the embedded model learn in minutes; full-size models start from the field defaults."""

MAY_CHANGE_ON_RESUME = {"run.dir", "run.steps", "run.device", "safety.stop_after"}


class Flag(NamedTuple):
    """A flag that stands for a setting."""

    setting: str
    metavar: str
    help: str


TASK = {"--task": Flag("task.name", "NAME", "what to learn; `vlmrl tasks` lists the tasks (default: gui_grounding)")}
MODEL = {
    "--model": Flag(
        "model.path", "PATH", "tiny (the embedded model, default), a checkpoint folder, a run folder or a hub id"
    ),
    "--device": Flag("run.device", "D", "auto (default), cpu, cuda or cuda:N"),
}


def add_settings(parser: argparse.ArgumentParser, flags: Mapping[str, Flag]) -> None:
    """Gives a command `flags`, --config, --print-config and --help-config, and lets it take ``name=value`` words."""
    take_settings(parser, flags)
    parser.add_argument(
        "--config",
        metavar="FILE|NAME",
        help="YAML file of settings, or the name of a shipped one (default: quickstart for the embedded model, "
        "the settings' own defaults for any other)",
    )
    parser.add_argument("--print-config", action="store_true", help="print the resulting settings as YAML and stop")
    parser.add_argument("--help-config", action="store_true", help="explain every setting and stop")
    parser.usage = f"{parser.prog} [flags] [setting=value ...]"


def take_settings(parser: argparse.ArgumentParser, flags: Mapping[str, Flag]) -> None:
    """Gives a command `flags` and lets it take ``name=value`` words. With an argument `recorded`, a run folder, they
    change that run's settings."""
    for flag, (setting, metavar, text) in flags.items():
        parser.add_argument(flag, dest=setting, metavar=metavar, help=text)
    parser.set_defaults(
        takes_settings=True,
        setting_flags=flags,
        config=None,
        print_config=False,
        help_config=False,
        resume=None,
        recorded=None,
    )


def run_with_settings(args: argparse.Namespace, words: Sequence[str]) -> int | None:
    """Resolves the settings and runs the command with them, or prints what --help-config or --print-config ask for."""
    from vlmrl.config import Config
    from vlmrl.resolve import to_yaml
    from vlmrl.settings_help import help_text

    if args.help_config:
        print(help_text(Config), end="")
        return None
    config = settings_of(args, words)
    if args.print_config:
        print(to_yaml(config), end="")
        return None
    code: int | None = args.run(args, config)
    return code


def settings_of(args: argparse.Namespace, words: Sequence[str]) -> "Config":
    """The settings a command line asks for. Says on stderr which file they start from.

    Raises UserError for an unknown or wrong setting, a settings file that does not exist, or a resumed run whose
    settings would change.
    """
    from vlmrl.config import Config
    from vlmrl.resolve import resolve

    given = [
        (flag.setting, text, f"{name} {text}")
        for name, flag in args.setting_flags.items()
        if (text := getattr(args, flag.setting)) is not None
    ]
    if args.resume is not None:
        if args.config:
            raise UserError("--config cannot be given with --resume: a resumed run keeps its settings")
        return _resumed(args.resume, words, given)
    if args.recorded is not None:
        return resolve(Config, file=_saved(args.recorded, str(args.recorded)), words=words, flags=given)
    if args.config:
        file: Path | None = _settings_file(args.config)
    elif resolve(Config, words=words, flags=given).model.path == "tiny":
        file = _settings_file(BASE_OF_TINY)
    else:
        file = None
    count = len(words) + len(given)
    print(
        f"settings: {file or 'the defaults'}{f' and {count} from the command line' if count else ''}",
        file=sys.stderr,
    )
    return resolve(Config, file=file, words=words, flags=given)


def _settings_file(name: str) -> Path:
    from vlmrl.paths import configs_dir

    if Path(name).is_file():
        return Path(name)
    shipped = configs_dir() / f"{name}.yaml"
    if not shipped.is_file():
        names = sorted(str(p.relative_to(configs_dir()).with_suffix("")) for p in configs_dir().rglob("*.yaml"))
        raise UserError(f"--config {name}: no such file, and not the name of a shipped one ({', '.join(names)})")
    return shipped


def _saved(run: Path, named: str) -> Path:
    saved = run / "config.yaml"
    if not saved.is_file():
        raise UserError(f"{named}: not a run folder ({saved} does not exist)")
    return saved


def _resumed(run: Path, words: Sequence[str], given: Sequence[Given]) -> "Config":
    from vlmrl.config import Config
    from vlmrl.resolve import resolve
    from vlmrl.settings_help import setting_names

    saved = _saved(run, f"--resume {run}")
    before = resolve(Config, file=saved)
    after = resolve(Config, file=saved, words=words, flags=[*given, ("run.dir", str(run), f"--resume {run}")])
    for name in setting_names(Config):
        old, new = (functools.reduce(getattr, name.split("."), config) for config in (before, after))
        if old != new and name not in MAY_CHANGE_ON_RESUME:
            raise UserError(
                f"{name} is {old!r} in {saved} and cannot become {new!r}: a resumed run keeps its settings, "
                f"but for {', '.join(sorted(MAY_CHANGE_ON_RESUME - {'run.dir'}))}; start a new run for another value"
            )
    print(f"settings: {saved}", file=sys.stderr)
    return after


def refuse_unknown_flags(args: argparse.Namespace, words: Sequence[str]) -> None:
    """Raises UserError for a word the command does not take, naming the setting that a flag may have meant."""
    for at, word in enumerate(words):
        if not args.takes_settings:
            raise UserError(f"vlmrl {args.command} takes no {word!r}; see vlmrl {args.command} --help")
        if word.startswith("-"):
            raise UserError(_unknown_flag(args, word, words[at + 1 : at + 2]))


def _unknown_flag(args: argparse.Namespace, word: str, next_words: Sequence[str]) -> str:
    from vlmrl.config import Config
    from vlmrl.settings_help import nearest_settings, setting_names

    name, equals, value = word.lstrip("-").partition("=")
    if not equals:
        value = next((text for text in next_words if not text.startswith("-")), "VALUE")
    close = nearest_settings(name, [*setting_names(Config), *(flag.lstrip("-") for flag in args.setting_flags)])
    flags = [f"--{near} {value}" if f"--{near}" in args.setting_flags else f"{near}={value}" for near in close]
    hint = f" Did you mean {' or '.join(flags)}?" if flags else ""
    return f"vlmrl {args.command} has no flag --{name}.{hint} Settings are name=value words; --help-config lists them"
