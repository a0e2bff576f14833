"""The service as a process."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
from pathlib import Path

import torch
import uvicorn

from mentor_pyg.serving.app import CurrentExport, create_app
from mentor_pyg.serving.guard import is_loopback

__all__ = ["serve"]

_logger = logging.getLogger(__name__)


def serve(folder: Path, host: str, port: int, token: str | None) -> None:
    """Serve an export until the process is told to stop; SIGHUP reloads it.

    Args:
        folder: The export, or a link to it.
        host: The address to listen on.
        port: The port; 0 for any free one.
        token: What requests need to prove that they may ask; may be ``None`` on loopback alone.

    Raises:
        ValueError: If the address is open to other machines and there is no token.
        OSError: If the address cannot be listened on.
    """
    if token is None and not is_loopback(host):
        raise ValueError(
            f"'host' {host} is open to other machines, which needs a token: put one into the "
            f"environment variable MENTOR_PYG_TOKEN, or listen on 127.0.0.1"
        )
    torch.set_num_threads(1)  # For one row, more cost more than they do.
    sys.setswitchinterval(0.0001)  # So that answers wait less for a reload that runs beside them.
    current = CurrentExport(folder)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise OSError(f"{host}:{port} cannot be listened on ({error}); give another") from error
    name = f"[{host}]" if ":" in host else host
    print(
        f"serving {folder}, version {current.catalog.version}, at "
        f"http://{name}:{listener.getsockname()[1]}",
        flush=True,
    )
    if token is None:
        print("there is no token, so this machine alone is answered", flush=True)

    def reload() -> None:
        try:
            _logger.warning("reloaded, version %s", current.reload().version)
        except (ValueError, OSError, ImportError) as error:
            _logger.error("not reloaded, and what was served before stays: %s", error)

    signal.signal(signal.SIGHUP, lambda *_: threading.Thread(target=reload).start())
    config = uvicorn.Config(
        create_app(current, token), log_level="warning", access_log=False, server_header=False
    )
    uvicorn.Server(config).run(sockets=[listener])
