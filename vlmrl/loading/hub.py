"""Data sets named by their hub id: the published files, as they lie in the local hub cache."""

import re
from pathlib import Path

from vlmrl.errors import UserError

HUB_ID = re.compile(r"(?P<id>[\w-][\w.-]*/[\w-][\w.-]*)(?:/(?P<inside>.+))?")
"""org/name, and optionally a file or folder of the repository."""


def local_data(written: str, download: bool) -> Path:
    """The file or folder that `--data` names: a path, or a hub id with or without a path inside its repository.

    The hub's files are those that `datasets` or huggingface_hub have put into their cache; only with `download` are
    missing ones fetched. Raises UserError if there is nothing of that name.
    """
    if Path(written).exists():
        return Path(written)
    if not (named := HUB_ID.fullmatch(written)):
        raise UserError(f"data {written} does not exist; --data takes a file, a folder or a hub id (org/name)")
    folder = _snapshot(named["id"], written, download)
    found = folder / (named["inside"] or "")
    if not found.exists():
        there = ", ".join(sorted(path.name for path in folder.iterdir()))
        raise UserError(f"data {written}: the hub data set {named['id']} has no {named['inside']} here; it has {there}")
    return found


def _snapshot(repository: str, written: str, download: bool) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(huggingface_hub.snapshot_download(repository, repo_type="dataset", local_files_only=not download))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        fetch = "" if download else "; data.download=true fetches it, if that is what is meant"
        raise UserError(
            f"data {written} does not exist, and the local hub cache has no data set {repository}{fetch}"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise UserError(f"data {written}: the hub data set {repository} cannot be fetched: {error}") from error
