import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from mentor_pyg import dependencies
from tests.cli.conftest import Command

pytest.importorskip("fastapi", reason='the extra "serve" is not installed')
pytest.importorskip("pyarrow", reason='the extra "serve" is not installed')


@pytest.fixture(scope="module")
def exported(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mentor_pyg.cli.main import main

    out = tmp_path_factory.mktemp("exported") / "out"
    main(["export", str(finished), "--out", str(out)])
    return out


@pytest.fixture(autouse=True)
def _never_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """End a test whose command was not refused, which would go on for ever."""
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: pytest.fail("it serves"))


def test_an_open_address_needs_a_token(
    refused: Callable[..., None], exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MENTOR_PYG_TOKEN", raising=False)
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        refused("'host' .* needs a token", "serve", exported, "--host", host)
    monkeypatch.setenv("MENTOR_PYG_TOKEN", "")
    refused("'host' 0.0.0.0 .* needs a token", "serve", exported, "--host", "0.0.0.0")


def test_a_token_that_is_named_is_there(
    refused: Callable[..., None], exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MENTOR_PYG_TOKEN", "sesame")
    refused("'token-env' names MINE, which is not set", "serve", exported, "--token-env", "MINE")


def test_a_taken_port_is_named(refused: Callable[..., None], exported: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(f"127.0.0.1:{port} cannot be listened on", "serve", exported, "--port", port)
    refused("cannot be listened on", "serve", exported, "--port", 70_000)


def test_no_export(refused: Callable[..., None], finished: Path) -> None:
    refused("is no export", "serve", finished)


def test_names_its_extra(
    refused: Callable[..., None], exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dependencies, "has_package", lambda name: name != "uvicorn")
    refused("needs the package 'uvicorn'.*the extra 'serve'", "serve", exported)


def test_help_fits_a_screen(command: Command) -> None:
    assert len(command("serve", "--help").out.splitlines()) < 24
