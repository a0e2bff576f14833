"""The service as a process, under clients, while its export is replaced."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mentor_pyg.export import read_export
from mentor_pyg.serving.catalog import Catalog


@contextmanager
def serving(export: Path, *args: str, **env: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run ``mentor-pyg serve`` and give the process and its port, once it answers."""
    command = [sys.executable, "-m", "mentor_pyg", "serve", str(export), "--port", "0", *args]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | env
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"serving .*, version \w{16}, at http://127\.0\.0\.1:(\d+)\n", line)
        assert found, line
        yield process, int(found[1])
    finally:
        process.terminate()
        process.communicate(timeout=20)


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def link_to(target: Path, link: Path) -> None:
    """Point a link elsewhere in one step."""
    (new := link.with_name("new")).symlink_to(target)
    os.replace(new, link)


def test_ten_reloads_under_clients_give_no_wrong_and_no_mixed_answer(
    exports: dict[str, Path], tmp_path: Path
) -> None:
    catalogs = [Catalog(read_export(exports[name])) for name in ("lightgcn", "mentor")]
    expected = {
        one.version: {user: one.for_user(f"user/{user}", 10) for user in range(16)}
        for one in catalogs
    }
    why = {one.version: one.why("i4", user="user/1") for one in catalogs}
    link = tmp_path / "served"
    link_to(exports["mentor"], link)
    seen: Counter[str] = Counter()
    wrong: list[object] = []
    done = threading.Event()

    def client(user: int, port: int) -> None:
        while not done.is_set():
            status, answer = ask(port, f"/recommend?user=user/{user}")
            explained = ask(port, "/why?item=i4&user=user/1")[1]
            version = str(answer.get("version"))
            seen[version] += 1
            if status != 200 or not same(answer["results"], expected[version][user]):
                wrong.append((status, answer))
            if not same(
                explained, {**why[str(explained["version"])], "version": explained["version"]}
            ):
                wrong.append(explained)

    with serving(link) as (_, port):
        threads = [threading.Thread(target=client, args=(n, port)) for n in range(16)]
        for thread in threads:
            thread.start()
        for turn in range(10):
            name = ("lightgcn", "mentor")[turn % 2]
            link_to(exports[name], link)
            before = sum(seen.values())
            status, answer = ask(port, "/reload", "POST")
            assert (status, answer["version"]) == (200, catalogs[turn % 2].version)
            # What is asked from now on is answered by the new one.
            assert ask(port, "/health")[1]["version"] == answer["version"]
            until(lambda before=before: sum(seen.values()) > before + 20)  # type: ignore[misc]
        done.set()
        for thread in threads:
            thread.join()
    assert not wrong, wrong[0]
    assert set(seen) == set(expected)


def same(a: object, b: object) -> bool:
    """Return whether plain values are equal, scores up to rounding."""
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) < 1e-4
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_sighup_reloads(exports: dict[str, Path], tmp_path: Path) -> None:
    link = tmp_path / "served"
    link_to(exports["mentor"], link)
    with serving(link) as (process, port):
        before = ask(port, "/health")[1]["version"]
        link_to(exports["lightgcn"], link)
        process.send_signal(signal.SIGHUP)
        until(lambda: ask(port, "/health")[1]["version"] != before)
        link.unlink()
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert ask(port, "/about")[1]["model"]["name"] == "lightgcn"  # type: ignore[index]


def test_the_token_comes_from_the_environment(exports: dict[str, Path]) -> None:
    for args, env in (
        ((), {"MENTOR_PYG_TOKEN": "sesame"}),
        (("--token-env", "MINE"), {"MINE": "sesame"}),
    ):
        with serving(exports["mentor"], *args, **env) as (_, port):
            assert ask(port, "/about")[0] == 401
            status, _ = ask(port, "/about", Authorization="Bearer sesame")
            assert status == 200
