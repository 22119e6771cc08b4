"""Scripts that try to escape, to break things or to hang. After each, nothing may be left and the next script works."""

import os
import platform
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.charts import BAR_CHART, descendants
from vlmrl.sandbox import Outcome, Sandbox, Status

SECRET = "the-user's-secret"

x86_only = pytest.mark.skipif(platform.machine() != "x86_64", reason="uses x86-64's system call numbers")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of the user's."""
    file = tmp_path / "secret.txt"
    file.write_text(SECRET)
    return file


@pytest.fixture(autouse=True)
def _nothing_is_left(sandbox: Sandbox, hasty: Sandbox, victim: Path) -> Iterator[None]:
    before = descendants(os.getpid())
    files = set(Path(tempfile.gettempdir()).iterdir())
    yield
    assert descendants(os.getpid()) == before, "a process was left"
    for one in (sandbox, hasty):
        assert one.run([BAR_CHART])[0].status is Status.OK, "the next script failed"
        left = [path.name for path in one._folder.glob("worker-*/*") if path.name != "outside"]
        assert not left, f"files were left: {left}"
    assert {path for path in Path(tempfile.gettempdir()).iterdir() if path.name.startswith("evil")} <= files
    assert victim.read_text() == SECRET
    assert [path.name for path in victim.parent.iterdir()] == [victim.name]


def run(sandbox: Sandbox, script: str) -> Outcome:
    (outcome,) = sandbox.run([script])
    assert SECRET not in outcome.message
    assert (outcome.figure is not None) == (outcome.status is Status.OK)
    return outcome


def assert_forbidden(outcome: Outcome) -> None:
    assert outcome.status is Status.ERROR
    assert "PermissionError" in outcome.message, outcome.message


# Using things up


def test_fork_bomb(sandbox: Sandbox) -> None:
    assert_forbidden(run(sandbox, "import os\nwhile True: os.fork()"))


def test_fork_bomb_that_does_not_give_up(hasty: Sandbox) -> None:
    script = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"
    assert run(hasty, script).status is Status.TIMEOUT


def test_memory_bomb(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "kept = []\nwhile True: kept.append(bytearray(50_000_000))")
    assert outcome.status is Status.ERROR
    assert "MemoryError" in outcome.message


def test_memory_bomb_in_c(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "import numpy as np\nnp.ones((100_000, 100_000))")
    assert outcome.status is Status.ERROR
    assert "Memory" in outcome.message


def test_infinite_loop(hasty: Sandbox) -> None:
    assert run(hasty, "while True: pass").status is Status.TIMEOUT


def test_sleep(hasty: Sandbox) -> None:
    outcome = run(hasty, "import time\ntime.sleep(1000)")
    assert outcome.status is Status.TIMEOUT
    assert "longer than 3 s" in outcome.message


def test_swallowing_every_exception(hasty: Sandbox) -> None:
    script = "while True:\n  try:\n    while True: pass\n  except BaseException: pass"
    assert run(hasty, script).status is Status.TIMEOUT


def test_ignoring_every_signal(hasty: Sandbox) -> None:
    script = """
import signal
for number in signal.valid_signals():
    try: signal.signal(number, signal.SIG_IGN)
    except OSError: pass
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
while True: pass
"""
    assert run(hasty, script).status is Status.TIMEOUT


def test_stopping_itself(hasty: Sandbox) -> None:
    assert run(hasty, "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)").status is Status.TIMEOUT


def test_catastrophic_regular_expression(hasty: Sandbox) -> None:
    assert run(hasty, "import re\nre.match('(a+)+$', 'a' * 60 + 'b')").status is Status.TIMEOUT


def test_thread_bomb(sandbox: Sandbox) -> None:
    script = "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(60,)).start()"
    outcome = run(sandbox, script)
    assert outcome.status is Status.ERROR
    assert "can't start new thread" in outcome.message


def test_one_gigabyte_file(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "with open('big', 'wb') as f:\n  for _ in range(1024): f.write(bytes(1 << 20))")
    assert outcome.status is Status.ERROR
    assert "File too large" in outcome.message


def test_one_gigabyte_in_many_files(sandbox: Sandbox) -> None:
    script = """
import time
for number in range(128):
    with open(f"{number}", "wb") as file: file.write(bytes(8 << 20))
    time.sleep(0.01)
"""
    outcome = run(sandbox, script)
    assert outcome.status is Status.KILLED
    assert "scratch folder" in outcome.message


def test_filling_the_disk_while_trickling_a_result(sandbox: Sandbox) -> None:
    script = """
import os, time
for number in range(3, 32):
    try: os.write(number, b"x"); pipe = number
    except OSError: pass
for number in range(2000):
    if number < 20:
        with open(f"{number}", "wb") as file: file.write(bytes(8 << 20))
    os.write(pipe, b"x")
    time.sleep(0.005)
"""
    outcome = run(sandbox, script)
    assert outcome.status is Status.KILLED
    assert "scratch folder" in outcome.message


def test_countless_files(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "number = 0\nwhile True:\n  open(str(number), 'w').close()\n  number += 1")
    assert outcome.status is Status.KILLED


def test_folders_nested_without_end(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "import os\nwhile True:\n  os.mkdir('d' * 200)\n  os.chdir('d' * 200)")
    assert outcome.status is Status.KILLED


def test_folders_without_permissions(sandbox: Sandbox) -> None:
    script = "import os\nos.makedirs('a/b')\nopen('a/b/c', 'w').close()\nos.mkdir('locked', 0)\n" + BAR_CHART
    assert run(sandbox, script).status is Status.OK


def test_too_many_open_files(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "kept = [open(f'{number}', 'w') for number in range(1000)]")
    assert outcome.status is Status.ERROR
    assert "Too many open files" in outcome.message


def test_output_flood(hasty: Sandbox) -> None:
    assert run(hasty, "while True: print('x' * 100_000)").status is Status.TIMEOUT


def test_result_flood(sandbox: Sandbox) -> None:
    script = """
import os
while True:
    for number in range(3, 32):
        try: os.write(number, bytes(1 << 20))
        except OSError: pass
"""
    outcome = run(sandbox, script)
    assert outcome.status is Status.KILLED
    assert "handed back more than" in outcome.message


def test_giant_figure(sandbox: Sandbox) -> None:
    script = "import matplotlib.pyplot as plt\nplt.figure(figsize=({size}, {size}), dpi=2000)\nplt.plot([1, 2])"
    figure = run(sandbox, script.format(size=60)).figure
    assert figure is not None
    assert figure.size == (1000, 1000)
    assert "too large to draw" in run(sandbox, script.format(size=5000)).message


def test_giant_script(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "#" * 200_000)
    assert outcome.status is Status.REFUSED
    assert "200000 bytes" in outcome.message


def test_recursion(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "def f(): f()\nf()")
    assert outcome.status is Status.ERROR
    assert "RecursionError" in outcome.message


def test_recursion_without_a_limit(sandbox: Sandbox) -> None:
    script = "import sys\nsys.setrecursionlimit(10**9)\nclass A:\n  def __repr__(self): return repr(self)\nrepr(A())"
    assert run(sandbox, script).status in (Status.KILLED, Status.ERROR)


def test_raising_its_own_limits(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (10**6, 10**6))")
    assert outcome.status is Status.ERROR
    assert "not allowed to raise" in outcome.message or "PermissionError" in outcome.message


# Network


@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW"])
@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"])
def test_socket(sandbox: Sandbox, family: str, kind: str) -> None:
    assert_forbidden(run(sandbox, f"import socket\nsocket.socket(socket.{family}, socket.{kind})"))


def test_connecting_to_a_listener(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert_forbidden(run(sandbox, f"import socket\nsocket.create_connection(('127.0.0.1', {port}))"))


def test_socket_pair(sandbox: Sandbox) -> None:
    assert_forbidden(run(sandbox, "import socket\nsocket.socketpair()"))


def test_web_page(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:1/')")
    assert outcome.status is Status.ERROR


# Reading


def test_reading_a_file_of_the_user(sandbox: Sandbox, victim: Path) -> None:
    assert_forbidden(run(sandbox, f"raise Exception(open({str(victim)!r}).read())"))


def test_reading_the_home_folder(sandbox: Sandbox) -> None:
    assert_forbidden(run(sandbox, f"import os\nraise Exception(os.listdir({str(Path.home())!r}))"))


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/hostname", "/proc/self/environ", "/proc/1/environ"])
def test_reading_a_file_of_the_system(sandbox: Sandbox, path: str) -> None:
    assert_forbidden(run(sandbox, f"raise Exception(open({path!r}).read())"))


@pytest.mark.parametrize("path", ["/", "/etc", "/proc", "/dev", "/home", "..", "../.."])
def test_listing_a_folder(sandbox: Sandbox, path: str) -> None:
    assert_forbidden(run(sandbox, f"import os\nraise Exception(os.listdir({path!r}))"))


def test_reading_the_environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", SECRET)
    with Sandbox(workers=1) as fresh:
        outcome = run(fresh, "import os\nraise Exception(sorted(os.environ))")
    assert "API_TOKEN" not in outcome.message
    assert "MPLBACKEND" in outcome.message


@pytest.mark.parametrize("file", ["environ", "mem", "maps", "cmdline", "cwd", "fd", "root/etc/passwd"])
def test_reading_the_parents_process(sandbox: Sandbox, file: str) -> None:
    for process in (os.getpid(), "self"):
        outcome = run(sandbox, f"import os\nraise Exception(open('/proc/{process}/{file}', 'rb').read(100))")
        assert outcome.status is Status.ERROR
        assert "PermissionError" in outcome.message or "IsADirectory" in outcome.message


def test_reading_through_a_link(sandbox: Sandbox, victim: Path) -> None:
    assert_forbidden(run(sandbox, f"import os\nos.symlink({str(victim)!r}, 'link')"))
    assert_forbidden(run(sandbox, f"import os\nos.link({str(victim)!r}, 'link')"))


def test_reading_descriptors_of_the_worker(sandbox: Sandbox) -> None:
    script = """
import os
found = []
for number in range(3, 256):
    try: found.append((number, os.read(number, 100)))
    except OSError: pass
raise Exception(found)
"""
    assert run(sandbox, script).message.endswith("Exception: []")


# Writing


def test_writing_outside(sandbox: Sandbox, victim: Path) -> None:
    for mode in ("w", "a", "r+"):
        assert_forbidden(run(sandbox, f"open({str(victim)!r}, {mode!r})"))
    for path in (victim.with_name("new"), f"{tempfile.gettempdir()}/evil", "../evil", "/dev/shm/evil"):
        assert_forbidden(run(sandbox, f"open({str(path)!r}, 'x')"))


def test_deleting_files(sandbox: Sandbox, victim: Path) -> None:
    assert_forbidden(run(sandbox, f"import os\nos.remove({str(victim)!r})"))
    assert_forbidden(run(sandbox, f"import os\nos.rmdir({str(victim.parent)!r})"))
    assert run(sandbox, f"import shutil\nshutil.rmtree({str(victim.parent)!r})").status is Status.ERROR


def test_truncating_renaming_and_changing_files(sandbox: Sandbox, victim: Path) -> None:
    for deed in ("truncate({}, 0)", "rename({}, 'mine')", "chmod({}, 0o777)", "chown({}, 1, 1)", "utime({})"):
        assert_forbidden(run(sandbox, f"import os\nos.{deed.format(repr(str(victim)))}"))


def test_writing_into_installed_packages(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "import numpy, pathlib\npathlib.Path(numpy.__file__).with_name('evil.py').write_text('')")
    assert_forbidden(outcome)


def test_one_script_does_not_see_the_files_of_another(sandbox: Sandbox) -> None:
    assert run(sandbox, "open('mine', 'w').write('x')\n" + BAR_CHART).status is Status.OK
    assert run(sandbox, "import os\nassert os.listdir() == []\n" + BAR_CHART).status is Status.OK


# Other processes


@pytest.mark.parametrize("target", ["os.getppid()", "-1", "0", "1", "the trainer"])
def test_killing(sandbox: Sandbox, target: str) -> None:
    target = target.replace("the trainer", str(os.getpid()))
    outcome = run(sandbox, f"import os, signal\nos.kill({target}, signal.SIGKILL)")
    assert outcome.status is Status.ERROR
    assert "PermissionError" in outcome.message


def test_killing_the_process_group(sandbox: Sandbox) -> None:
    assert_forbidden(run(sandbox, "import os\nos.killpg(os.getppid(), 9)"))


def test_killing_by_asynchronous_io(sandbox: Sandbox) -> None:
    script = "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, os.getppid())"
    assert_forbidden(run(sandbox, script))


@pytest.mark.parametrize(
    "script",
    [
        "import subprocess\nsubprocess.run(['true'])",
        "import os\nassert os.system('true') == 0",
        "import os\nos.execv('/bin/sh', ['sh', '-c', 'true'])",
        "import os\nos.posix_spawn('/bin/sh', ['sh'], {})",
        "import os\nos.forkpty()",
        "import multiprocessing\nmultiprocessing.Process(target=print).start()",
        "import multiprocessing\nmultiprocessing.Pool(2)",
    ],
)
def test_starting_a_program(sandbox: Sandbox, script: str) -> None:
    assert run(sandbox, script).status is Status.ERROR


def test_zombie_children(sandbox: Sandbox) -> None:
    script = "import os\nfor _ in range(100):\n  if os.fork() == 0: os._exit(0)"
    assert_forbidden(run(sandbox, script))


def test_daemon_that_outlives_its_script(sandbox: Sandbox) -> None:
    script = "import os, time\nif os.fork() == 0:\n  os.setsid()\n  time.sleep(1000)\n" + BAR_CHART
    assert_forbidden(run(sandbox, script))


@x86_only
def test_system_calls_by_number(sandbox: Sandbox) -> None:
    """The dangerous calls, past every Python function; arguments are such that they would do something."""
    numbers = dict(
        socket=41, socketpair=53, clone=56, fork=57, vfork=58, execve=59, shmget=29, semget=64, msgget=68, link=86,
        symlink=88, chmod=90, chown=92, ptrace=101, setuid=105, setsid=112, setreuid=113, mknod=133, personality=135,
        setpriority=141, chroot=161, mount=165, umount2=166, pivot_root=155, setrlimit=160, swapon=167, reboot=169,
        prctl=157, arch_prctl=158, init_module=175, setxattr=188, tkill=200, sched_setaffinity=203, io_setup=206,
        timer_create=222, mq_open=240, keyctl=250, add_key=248, inotify_init=253, unshare=272, splice=275, tee=276,
        vmsplice=278, signalfd=282, eventfd=284, epoll_create1=291, perf_event_open=298, fanotify_init=300,
        name_to_handle_at=303, open_by_handle_at=304, setns=308, process_vm_readv=310, process_vm_writev=311, kcmp=312,
        seccomp=317, memfd_create=319, kexec_file_load=320, bpf=321, execveat=322, userfaultfd=323,
        pidfd_send_signal=424, io_uring_setup=425, io_uring_enter=426, open_tree=428, move_mount=429, fsopen=430,
        pidfd_open=434, clone3=435, openat2=437, pidfd_getfd=438, process_madvise=440, mount_setattr=442,
        landlock_create_ruleset=444, memfd_secret=447, process_mrelease=448, future=9_999, x32=0x40000000 | 41,
    )  # fmt: skip
    script = f"""
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
worked = []
for name, number in {numbers}.items():
    result = libc.syscall(number, 0, 0, 0, 0, 0, 0)
    if result != -1 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
        worked.append((name, result, ctypes.get_errno()))
raise Exception(worked)
"""
    assert run(sandbox, script).message.endswith("Exception: []")


@x86_only
def test_system_calls_of_the_32_bit_table(sandbox: Sandbox) -> None:
    script = """
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("b802000000" "cd80" "c3"))  # mov eax, 2 (fork); int 0x80; ret
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
"""
    outcome = run(sandbox, script)
    assert outcome.status is Status.KILLED
    assert "SIGSYS" in outcome.message or "SIGSEGV" in outcome.message  # the latter where a kernel has no such table


def test_tracing_the_parent(sandbox: Sandbox) -> None:
    script = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
result = libc.ptrace(16, os.getppid(), 0, 0)
raise Exception(result, os.strerror(ctypes.get_errno()))
"""
    assert "Exception: (-1, 'Operation not permitted')" in run(sandbox, script).message


# Ends


@pytest.mark.parametrize("code", [0, 1, 3])
def test_leaving_at_once(sandbox: Sandbox, code: int) -> None:
    outcome = run(sandbox, f"import os\n{BAR_CHART}\nos._exit({code})")
    assert outcome.status is Status.ERROR
    assert f"code {code}" in outcome.message


def test_segmentation_fault(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "import ctypes\nctypes.string_at(0)")
    assert outcome.status is Status.KILLED
    assert "SIGSEGV" in outcome.message


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT])
def test_killing_itself(sandbox: Sandbox, number: signal.Signals) -> None:
    outcome = run(sandbox, f"import os\nos.kill(os.getpid(), {int(number)})")
    assert outcome.status is Status.KILLED
    assert number.name in outcome.message


def test_closing_the_result_and_going_on(hasty: Sandbox) -> None:
    script = "import os, time\nos.closerange(0, 256)\ntime.sleep(1000)"
    assert run(hasty, script).status is Status.KILLED


def test_asking_for_input(sandbox: Sandbox) -> None:
    assert "EOFError" in run(sandbox, "input()").message


def test_plt_show_does_not_wait(sandbox: Sandbox) -> None:
    assert run(sandbox, "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show(block=True)").status is Status.OK


# Lies


@pytest.mark.parametrize("lie", [b"\x00" * 100, b'{"result": {}}\n', b"[" * 100_000, b'{"error": "x"}\n'])
def test_forged_result(sandbox: Sandbox, lie: bytes) -> None:
    script = f"""
import os
for number in range(3, 32):
    try: os.write(number, {lie!r})
    except OSError: pass
os._exit(0)
"""
    assert run(sandbox, script).status is Status.REFUSED


def test_result_in_front_of_the_real_one(sandbox: Sandbox) -> None:
    script = "import os\nfor number in range(3, 32):\n  try: os.write(number, b'{}')\n  except OSError: pass\n"
    assert run(sandbox, script + BAR_CHART).status is Status.REFUSED


def test_result_that_knows_the_nonce_is_still_checked(sandbox: Sandbox) -> None:
    """A script that digs through the frames below it finds everything; what it then says has to be a figure."""
    script = """
import os, sys
frame = sys._getframe()
while "nonce" not in frame.f_locals: frame = frame.f_back
os.write(frame.f_locals["pipe"], frame.f_locals["nonce"] + b'{"result": {"size": [1, 1], "__class__": "os.system"}}')
os._exit(0)
"""
    outcome = run(sandbox, script)
    assert outcome.status is Status.REFUSED
    assert "not a figure" in outcome.message


def test_message_cannot_drive_a_terminal(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "raise Exception('\\x1b[2J\\x07\\r\\n' + 'x' * 100_000)")
    assert outcome.message.isprintable()
    assert len(outcome.message) <= 500


def test_exception_whose_text_hangs(hasty: Sandbox) -> None:
    script = "class E(Exception):\n  def __str__(self):\n    while True: pass\nraise E"
    assert run(hasty, script).status is Status.TIMEOUT


def test_breaking_the_modules_that_read_the_figure(sandbox: Sandbox) -> None:
    script = "import json, os\njson.dumps = None\nos.write = None\n"
    assert run(sandbox, script + BAR_CHART).status is Status.ERROR
    assert run(sandbox, "import builtins\nfor n in list(vars(builtins)): delattr(builtins, n)").status is Status.ERROR


def test_script_that_is_not_unicode(sandbox: Sandbox) -> None:
    assert run(sandbox, "x = '\ud800'").status is Status.REFUSED


@pytest.mark.parametrize("script", ["", "\x00", "def", "x = '" + "(" * 50_000, "-" * 90_000 + "1"])
def test_odd_scripts(sandbox: Sandbox, script: str) -> None:
    assert run(sandbox, script).status in (Status.ERROR, Status.KILLED)
