"""Compile the C++ kernels of ``backend="native"`` on the machine that will run them.

Run it once, as a module::

    python -m mentor_pyg.ops.compile_native

It needs a C++ compiler with OpenMP, and takes seconds.
"""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from mentor_pyg.ops.contrast import native_stream
from mentor_pyg.ops.native import FLAGS, NativeLibrary
from mentor_pyg.ops.propagation import native_csr

__all__ = ["LIBRARIES", "compile_library"]

LIBRARIES = (native_csr.LIBRARY, native_stream.LIBRARY)


def compile_library(library: NativeLibrary) -> Path:
    """Compile kernels for this machine and return where they are.

    Environment variables: ``CXX`` names the compiler, ``g++`` by default.

    Raises:
        RuntimeError: If there is no compiler, or it fails; the message holds what it printed.
        OSError: If the package's folder cannot be written to.
    """
    path = library.path
    command = [*shlex.split(os.environ.get("CXX") or "g++"), *FLAGS, str(library.source), "-o"]
    # Several processes may compile at once, each in a folder of its own, on one file system.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="_native-") as folder:
        partial = Path(folder, path.name)
        _run([*command, str(partial)])
        partial.replace(path)
    library.forget()
    return path


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise RuntimeError(
            f"the compiler {command[0]!r} is not installed; install it, or name another by the "
            f"environment variable CXX"
        ) from None
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{shlex.join(command)} failed:\n{error.stderr}") from None


if __name__ == "__main__":
    try:
        for each in LIBRARIES:
            print(f"compiled {compile_library(each)}")
    except (RuntimeError, OSError) as error:
        sys.exit(f"the native kernels could not be compiled: {error}")
