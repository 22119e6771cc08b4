"""An honest script, and what can be seen of processes from outside."""

from pathlib import Path

BAR_CHART = """
import matplotlib.pyplot as plt
fig, ax = plt.subplots(figsize=(5, 4))
ax.bar(["a", "b", "c"], [3, 1, 2], color="tab:blue", label="units")
ax.set_title("Sales")
ax.set_xlabel("product")
ax.legend()
plt.savefig("chart.png")
"""


def descendants(process: int) -> set[int]:
    """Process ids below `process`, zombies included."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:  # ended in the meantime
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found: set[int] = set()
    level = {process}
    while level:
        level = {child for child, parent in parents.items() if parent in level}
        found |= level
    return found
