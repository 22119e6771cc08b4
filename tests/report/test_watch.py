"""The live page: on this machine only, nothing but the page, and never stopped by what happens to the run folder."""

import http.client
import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

import pytest

from tests.report.conftest import OpenPage
from vlmrl.errors import UserError
from vlmrl.report import watch

MakeRun = Callable[..., Path]
Watch = Callable[[Path], str]
PATIENCE = 20.0


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Serves a folder and returns the address."""
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(watch, "RESTS", 0)
    stop, threads, failures = Event(), [], []

    def start(run: Path) -> str:
        ready, addresses = Event(), []

        def serve() -> None:
            try:
                watch.serve(run, 0, lambda address: (addresses.append(address), ready.set()), stop)
            except BaseException as error:
                failures.append(error)
                raise

        threads.append(Thread(target=serve))
        threads[-1].start()
        assert ready.wait(PATIENCE)
        return addresses[0]

    yield start
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert not failures


def ask(address: str, path: str, host: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=PATIENCE)
    connection.putrequest("GET", path, skip_host=host is not None)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    response = connection.getresponse()
    content = response.read().decode()
    connection.close()
    return response.status, content


def wait_for(address: str, text: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while text not in ask(address, "/")[1]:
        assert time.monotonic() < deadline, f"the page never said {text!r}"
        time.sleep(0.05)


def log_step(run: Path, step: int) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "train", "step": step, "reward": 0.5, "accuracy": 0.5}) + "\n")


def test_the_page_and_its_version_are_all_there_is(make_run: MakeRun, watched: Watch) -> None:
    run = make_run(2)
    (run.parent / "secret.txt").write_text("secret")
    address = watched(run)
    status, page = ask(address, "/")
    assert status == 200
    assert "40.6%" in page
    assert ask(address, "/version")[1] in page
    for path in (
        "/config.yaml", "/images/s1p0.png", "/../secret.txt", "/..%2fsecret.txt", "/%2e%2e/secret.txt", "//secret.txt",
        "/./", "/images/../../secret.txt", f"{run.parent}/secret.txt", "file:///etc/passwd", "/?x", "*",
    ):  # fmt: skip
        status, content = ask(address, path)
        assert status == 404, path
        assert "secret" not in content


def test_only_this_machine_is_answered_and_only_by_the_servers_own_name(make_run: MakeRun, watched: Watch) -> None:
    address = watched(make_run(1))
    port = urlsplit(address).port
    assert address == f"http://127.0.0.1:{port}/"
    with pytest.raises(OSError, match=r"refused|unreachable|timed out|assign"):
        socket.create_connection(("127.0.0.2", port), timeout=1)
    assert ask(address, "/", f"localhost:{port}")[0] == 200
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", ""):
        assert ask(address, "/", host)[0] == 403
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    connection.request("POST", "/", b"x")
    assert connection.getresponse().status == 501


def test_a_run_may_be_written_resumed_and_deleted(make_run: MakeRun, watched: Watch) -> None:
    run = make_run(4)
    address = watched(run)
    wait_for(address, "4 of 4")
    log_step(run, 5)
    wait_for(address, "5 of 4")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step"')
    wait_for(address, "1 line of metrics.jsonl")
    kept = [line for line in (run / "metrics.jsonl").read_text().splitlines() if '"step": 1,' in line]
    (run / "metrics.jsonl").write_text("\n".join(kept) + "\n")
    wait_for(address, "1 of 4")
    aside = run.with_name("aside")
    shutil.copytree(run, aside)
    shutil.rmtree(run)
    wait_for(address, "There is no run to show")
    aside.rename(run)
    wait_for(address, "1 of 4")


def test_a_run_that_is_not_there_yet_is_waited_for(tmp_path: Path, watched: Watch) -> None:
    address = watched(tmp_path / "later")
    assert "There is no run to show" in ask(address, "/")[1]
    (tmp_path / "later").mkdir()
    log_step(tmp_path / "later", 7)
    wait_for(address, "Reward over steps")


def test_a_port_that_cannot_be_used_is_refused(make_run: MakeRun, watched: Watch) -> None:
    port = urlsplit(watched(run := make_run(1))).port
    assert port
    for unusable in (port, 70_000):
        with pytest.raises(UserError, match=f"port {unusable} cannot be used .* choose another with --port N"):
            watch.serve(run, unusable, print, Event())


@pytest.mark.browser
def test_an_open_page_follows_the_run_but_for_cards_that_are_looked_at(
    make_run: MakeRun, watched: Watch, open_page: OpenPage
) -> None:
    run = make_run(2)
    page = open_page(watched(run))
    page.click("#groups button[data-show=dead]")
    page.evaluate("scrollTo(0, 0)")
    page.click("header summary:text-is('Settings')")
    log_step(run, 3)
    page.wait_for_selector("dd:text-is('3 of 2')", timeout=1000 * PATIENCE)
    assert page.locator("header details[open] summary").all_inner_texts() == ["Settings"]
    assert page.locator("#groups button[data-show=dead]").get_attribute("aria-pressed") == "true"
    page.locator("#groups .card:not([hidden])").first.scroll_into_view_if_needed()
    log_step(run, 4)
    page.wait_for_timeout(5000)
    assert page.locator("dd:text-is('3 of 2')").count() == 1
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_selector("dd:text-is('4 of 2')", timeout=1000 * PATIENCE)
