"""``vlmrl watch``: the page of a run, live."""

import argparse
import signal
from pathlib import Path
from threading import Event
from typing import Any

DESCRIPTION = """\
Serve the page of a run while it is being written, on this machine only (127.0.0.1). The page follows the run by itself;
training does not notice. It also shows finished runs, and waits for one that is not there yet. Ctrl-C ends it.
"""
EXAMPLES = """\
examples:
  vlmrl watch runs/demo
  vlmrl watch runs/demo --port 8000
  ssh -L 8000:127.0.0.1:8000 gpu-machine        then watch there with --port 8000 and open it here
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser(
        "watch",
        help="show a run's page live in a browser",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="run folder, which need not exist yet")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port to serve on (default: a free one)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from vlmrl.report.watch import serve

    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        serve(args.folder, args.port, lambda address: print(f"{args.folder} is shown at {address}", flush=True), stop)
    except KeyboardInterrupt:
        return
