"""A data pickle is read, and nothing in it is ever run."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest

from vlmrl.errors import UserError
from vlmrl.loading.pickles import read_plain_pickle

PLAIN = [{"ref_id": 1, "sent": "left guy", "box": (1.5, 2), "none": None, "yes": True, "tokens": ["left", "guy"]}]


def written(folder: Path, content: bytes) -> Path:
    path = folder / "refs(unc).p"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_is_read_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    assert read_plain_pickle(written(tmp_path, pickle.dumps(PLAIN, protocol))) == PLAIN


def test_byte_strings_of_python_2_are_latin_1(tmp_path: Path) -> None:
    assert read_plain_pickle(written(tmp_path, b"\x80\x02]q\x00U\x04caf\xe9q\x01a.")) == ["café"]


class Commands:
    """What an attacker's object unpickles to: a call of the shell."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_command_in_a_pickle_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    path = written(tmp_path, pickle.dumps([PLAIN, Commands(f"touch {trace}")], protocol))
    with pytest.raises(UserError, match=r"asks for .*system, and data needs no code; nothing in it was run"):
        read_plain_pickle(path)
    assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.exists()


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(OrderedDict(a=1)),
        pickle.dumps(Path("/")),
        pickle.dumps({1, 2}, 2),
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cos\nsystem\n.",
        b"(S'x'\nios\nsystem\n.",
        b"\x80\x02]q\x00(K\x01",
        b"",
        b"not a pickle",
        b"\x80\x09.",
        b"Pmodule\n.",
        b"}}b.",
        b"K\x01K\x02b.",
        b"U\x03abc)R.",
        b"U\x03abc)\x81.",
    ],
    ids=repr,
)
def test_anything_else_is_an_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    with pytest.raises(UserError, match=r"refs\(unc\)\.p"):
        read_plain_pickle(path)


def test_a_set_is_no_plain_data(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds a set"):
        read_plain_pickle(written(tmp_path, pickle.dumps([{1, 2}], 4)))


def test_a_list_that_holds_itself_is_read(tmp_path: Path) -> None:
    loop: list[object] = []
    loop.append(loop)
    assert read_plain_pickle(written(tmp_path, pickle.dumps(loop)))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_plain_pickle(tmp_path / "refs(unc).p")
