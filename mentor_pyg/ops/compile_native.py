"""Compile the C++ kernel of ``backend="native"`` on the machine that will run it.

Run it once, as a module::

    python -m mentor_pyg.ops.compile_native

It needs a C++ compiler with OpenMP, and takes seconds.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from mentor_pyg.ops.native_csr import SOURCE, library_path

__all__ = ["compile_library"]

_FLAGS = ["-std=c++17", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC"]


def compile_library() -> Path:
    """Compile the kernel for this machine and return where it is.

    Environment variables: ``CXX`` names the compiler, ``g++`` by default.

    Raises:
        RuntimeError: If there is no compiler, or it fails; the message holds what it printed.
    """
    path = library_path()
    partial = path.with_suffix(f".{os.getpid()}")  # Several processes may compile at once.
    command = [*shlex.split(os.environ.get("CXX", "g++")), *_FLAGS, str(SOURCE), "-o"]
    try:
        subprocess.run([*command, str(partial)], check=True, capture_output=True, text=True)
        partial.replace(path)
    except FileNotFoundError:
        raise RuntimeError(
            f"the compiler {command[0]!r} is not installed; install it, or name another by the "
            f"environment variable CXX"
        ) from None
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{shlex.join(command)} failed:\n{error.stderr}") from None
    finally:
        partial.unlink(missing_ok=True)
    for old in path.parent.glob("_native_csr-*.so"):
        if old != path:
            old.unlink()
    return path


if __name__ == "__main__":
    try:
        print(f"compiled {compile_library()}")
    except (RuntimeError, OSError) as error:
        sys.exit(f"the native kernel could not be compiled: {error}")
