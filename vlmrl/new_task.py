"""`vlmrl tasks new NAME`: a folder with a task that trains and a test that passes, to be changed from there."""

import keyword
from pathlib import Path

from vlmrl.errors import UserError
from vlmrl.registry import find_tasks

TEMPLATE = Path(__file__).parent / "task_template"
FILES = ("task.py", "README.md", "test_new_task.py")
NAME, CLASS = "new_task", "NewTask"
"""What the template calls itself."""


def make_task(name: str, place: Path) -> Path:
    """Writes the folder `place`/`name` and returns it.

    Raises UserError for a name that is no lower-case Python name, that another task has, or whose folder exists.
    """
    if not name.isidentifier() or name != name.lower() or keyword.iskeyword(name):
        raise UserError(f"{name!r} cannot name a task: use lower-case letters, digits and _, as in count_cells")
    if taken := find_tasks().get(name):
        raise UserError(f"there is a task {name} already, in {taken.path}; choose another name")
    folder = place / name
    if folder.exists():
        raise UserError(f"{folder} exists already; choose another name or remove it")
    class_name = "".join(map(str.capitalize, name.split("_"))) + "Task"
    folder.mkdir(parents=True)
    for file in FILES:
        text = (TEMPLATE / file).read_text(encoding="utf-8").replace(NAME, name).replace(CLASS, class_name)
        (folder / file.replace(NAME, name)).write_text(text, encoding="utf-8")
    return folder
