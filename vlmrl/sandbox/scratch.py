"""Looking into and removing a folder that an untrusted script has filled.

Scripts nest folders thousands deep, use names of any bytes and take permissions away, so nothing here recurses or
builds long paths, and both functions are bounded by what they find rather than by what they expect.
"""

import os
import secrets
import stat
from pathlib import Path


def exceeds(folder: Path, max_bytes: int, max_entries: int) -> bool:
    """Whether the folder holds more than that. Stops counting as soon as it does; what cannot be read exceeds."""
    folders = [os.fspath(folder)]
    entries = used = 0
    try:
        while folders:
            with os.scandir(folders.pop()) as found:
                for entry in found:
                    entries += 1
                    if entries > max_entries:
                        return True
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:  # removed by the script in the meantime
                        continue
                    used += status.st_blocks * 512
                    if stat.S_ISDIR(status.st_mode):
                        folders.append(entry.path)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return used > max_bytes


def remove(folder: Path) -> None:
    """Remove the folder and all in it. No process may be writing there any more.

    Folders inside folders are moved up to the top first, so that depth never matters.
    """
    unused = secrets.token_hex(8)
    moved = 0
    while subfolders := _empty_of_files(os.fspath(folder)):
        for subfolder in subfolders:
            for nested in _empty_of_files(subfolder):
                moved += 1
                os.rename(nested, folder / f"{unused}-{moved}")
            os.rmdir(subfolder)
    os.rmdir(folder)


def _empty_of_files(folder: str) -> list[str]:
    """Remove the files in `folder`; its sub-folders remain and are the result."""
    os.chmod(folder, stat.S_IRWXU)
    subfolders = []
    with os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            os.chmod(entry.path, stat.S_IRWXU)  # moving a folder needs the right to write to it
            subfolders.append(entry.path)
        else:
            os.unlink(entry.path)
    return subfolders
