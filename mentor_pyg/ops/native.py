"""C++ kernels for CPUs, compiled once on the machine that runs them."""

from __future__ import annotations

import ctypes
import hashlib
import platform
from functools import cached_property
from pathlib import Path

from torch import Tensor

__all__ = ["FLAGS", "NativeLibrary", "pointer"]

FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")

_COMPILING = "run: python -m mentor_pyg.ops.compile_native"


class NativeLibrary:
    """The compiled kernels of one C++ file, which know nothing of Python or torch.

    Until :mod:`mentor_pyg.ops.compile_native` was run, there is a reason in place of a library.

    Args:
        source: The C++ file.
    """

    def __init__(self, source: Path) -> None:
        self.source = source

    @property
    def path(self) -> Path:
        """Where the compiled library belongs: beside its source.

        It is named after that, the compiler's options and what this CPU can do, so that machines
        sharing a folder do not run each other's.
        """
        parts = (self.source.read_bytes(), " ".join(FLAGS).encode(), _instruction_set().encode())
        digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]
        return self.source.with_name(f"_{self.source.stem}-{digest}.so")

    @cached_property
    def loaded(self) -> ctypes.CDLL | str:
        """The library, or the reason why there is none."""
        path = self.path
        if not path.is_file():
            return f"the native kernel is not compiled; {_COMPILING}"
        try:
            return ctypes.CDLL(str(path))
        except OSError as error:
            return f"the native kernel does not load ({error}); {_COMPILING}"

    @property
    def unavailable(self) -> str | None:
        """Why the library cannot be called; ``None`` where it can."""
        return self.loaded if isinstance(self.loaded, str) else None

    def forget(self) -> None:
        """Look for the library anew at its next use."""
        self.__dict__.pop("loaded", None)


def pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    """Return where a contiguous tensor's values are; a null pointer without one.

    Raises:
        TypeError: If it is a wrapper around another tensor, which has no values of its own.
    """
    if tensor is not None and tensor.numel() and not tensor.data_ptr():
        raise TypeError(f"the native kernels need plain tensors (got {type(tensor).__name__})")
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _instruction_set() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = (line for line in lines if line.lower().startswith(("flags", "features")))
    return f"{platform.machine()} {next(flags, '')}"
