"""``mentor-pyg serve``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mentor_pyg.dependencies import require

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

__all__ = ["add_arguments", "run"]

_TOKEN = "MENTOR_PYG_TOKEN"


def run(export: Path, host: str, port: int, token_env: str | None) -> None:
    """Serve an export over HTTP, with a web page at / and metrics at /metrics: docs/serving.md.

    The environment variable MENTOR_PYG_TOKEN, or the one that --token-env names, has the token that
    requests need; without one, only this machine can ask. SIGHUP and POST /reload take over an
    export that was replaced.
    """
    for package in ("fastapi", "uvicorn", "prometheus_client"):
        require(package, extra="serve", purpose="Serving")
    from mentor_pyg.serving.process import serve

    token = os.environ.get(token_env or _TOKEN, "").strip() or None
    if token_env is not None and token is None:
        raise ValueError(
            f"'token-env' names {token_env}, which is not set; set it, or name another"
        )
    serve(export, host, port, token)


def add_arguments(parser: ArgumentParser, words: list[str]) -> None:
    """Add the arguments."""
    parser.add_argument("export", type=Path, metavar="EXPORT", help="what `export` wrote")
    parser.add_argument("--host", type=str, default="127.0.0.1", help="the address [127.0.0.1]")
    parser.add_argument("--port", type=int, default=8000, help="the port; 0 for a free one [8000]")
    parser.add_argument(
        "--token-env",
        type=str | None,
        metavar="NAME",
        help=f"the environment variable with the token [{_TOKEN}]",
    )
