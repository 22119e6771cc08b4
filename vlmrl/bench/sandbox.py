"""Renders per second in the sandbox: ``python -m vlmrl.bench.sandbox [--workers 2] [--renders 100]``"""

import argparse
import os
import statistics
import time
from collections.abc import Sequence

from vlmrl.sandbox import Limits, Sandbox, Status

CHARTS = {
    "bars": """
import matplotlib.pyplot as plt
fig, ax = plt.subplots(figsize=(6, 4))
ax.bar(["north", "east", "south", "west"], [3, 1, 2, 5], color="tab:blue", label="2024")
ax.set_title("Sales by region")
ax.set_ylabel("units")
ax.legend()
plt.savefig("chart.png")
""",
    "lines": """
import numpy as np
import matplotlib.pyplot as plt
x = np.linspace(0, 10, 200)
for k in range(4):
    plt.plot(x, np.sin(x + k), label=f"phase {k}")
plt.grid(True)
plt.legend()
plt.show()
""",
    "four panels": """
import numpy as np
import matplotlib.pyplot as plt
values = np.random.normal(size=(4, 200))
fig, axes = plt.subplots(2, 2, figsize=(8, 6))
axes[0, 0].hist(values[0], bins=20)
axes[0, 1].scatter(values[0], values[1], c=values[2])
axes[1, 0].boxplot(list(values))
axes[1, 1].pie([1, 2, 3], labels=["a", "b", "c"])
fig.suptitle("Summary")
plt.tight_layout()
plt.savefig("chart.png")
""",
}


def renders_per_second(sandbox: Sandbox, script: str, renders: int) -> float:
    """Wall-clock rate over all workers.

    Raises:
        RuntimeError: if a render fails.
    """
    start = time.perf_counter()
    outcomes = sandbox.run([script] * renders)
    seconds = time.perf_counter() - start
    for outcome in outcomes:
        if outcome.status is not Status.OK:
            raise RuntimeError(f"{outcome.status.value}: {outcome.message}")
    return renders / seconds


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m vlmrl.bench.sandbox", description=__doc__.partition(":")[0])
    parser.add_argument("--workers", type=int, default=2, help="scripts at the same time")
    parser.add_argument("--renders", type=int, default=100, help="renders per chart and repetition")
    parser.add_argument("--repetitions", type=int, default=3, help="the median of so many is printed")
    options = parser.parse_args(arguments)
    begun = time.perf_counter()
    with Sandbox(options.workers, Limits(wall_seconds=60, cpu_seconds=30)) as sandbox:
        print(f"start: {time.perf_counter() - begun:.1f} s for {options.workers} workers")
        cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
        print(f"{cores} cores, load before the measurement {load:.1f}")
        for name, script in CHARTS.items():
            sandbox.run([script] * options.workers)
            rates = [renders_per_second(sandbox, script, options.renders) for _ in range(options.repetitions)]
            print(f"{name:12} {statistics.median(rates):6.1f} renders/s ({min(rates):.1f} to {max(rates):.1f})")


if __name__ == "__main__":
    main()
