"""Finds benchmarks by name in the task folders."""

import difflib
from collections.abc import Iterator

from vlmrl.errors import UserError
from vlmrl.evaluation.benchmark import Benchmark
from vlmrl.registry import PluginError, find_tasks


def benchmarks() -> Iterator[tuple[str, Benchmark | PluginError]]:
    """Every benchmark with the name of its task; a folder that cannot be loaded gives its error instead."""
    for task, folder in sorted(find_tasks().items()):
        if not (folder.path / "benchmarks.py").is_file():
            continue
        try:
            declared: list[Benchmark] = folder.submodule("benchmarks").BENCHMARKS
        except PluginError as error:  # must not keep the others from being used
            yield task, error
            continue
        for benchmark in declared:
            yield task, benchmark


def find_benchmark(name: str) -> tuple[str, Benchmark]:
    """The benchmark of that name and its task's name. Raises UserError listing the known ones."""
    found = list(benchmarks())
    known = {benchmark.name: (task, benchmark) for task, benchmark in found if isinstance(benchmark, Benchmark)}
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    broken = "".join(f"\n  {error}" for _, error in found if isinstance(error, PluginError))
    raise UserError(f"unknown benchmark {name!r}{hint} Known benchmarks: {', '.join(sorted(known))}{broken}")
