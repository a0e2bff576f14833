"""Tensors in files that are whole or not there, and prove what they hold."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mentor_pyg.files import replaced_whole

__all__ = ["checksum", "load_checked", "save_checked", "save_tensors"]

_CHECKSUM = "checksum"
_OS_ERROR = re.compile(r"os error (\d+)")


def save_tensors(
    tensors: Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, whole or not at all, with the permissions that the umask gives.

    Args:
        tensors: The tensors by name. No two may share memory.
        path: The file to write or to replace.
        metadata: What the file says about them.

    Raises:
        OSError: If the file cannot be written.
    """
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    text = None if metadata is None else dict(metadata)
    with replaced_whole(path) as partial:
        partial.touch()
        mode = partial.stat().st_mode
        try:
            safetensors.torch.save_file(contiguous, partial, metadata=text)
        except safetensors.SafetensorError as error:
            if (found := _OS_ERROR.search(str(error))) is None:
                raise
            raise OSError(int(found[1]), os.strerror(int(found[1]))) from error
        # It was written through a temporary file that only its owner may read.
        if partial.stat().st_mode != mode:
            partial.chmod(mode)


def checksum(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """Return the SHA-256 checksum of named tensors and a text, in hexadecimal.

    The order of the tensors, their device and their layout in memory do not count; their names,
    types, shapes and values do, to the last bit.
    """
    digest = hashlib.sha256(json.dumps(text).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(_bytes(tensor.cpu()).numpy().data)
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> Tensor:
    """Return the bytes of a tensor ``[num_bytes]``, shared with it where it is contiguous."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def save_checked(tensors: Mapping[str, Tensor], path: str | Path, metadata: str = "") -> None:
    """Write tensors and a text with their checksum, for :func:`load_checked`.

    Raises:
        OSError: If the file cannot be written.
    """
    proof = {_CHECKSUM: checksum(tensors, metadata), "metadata": metadata}
    save_tensors(tensors, path, proof)


def load_checked(path: str | Path) -> tuple[dict[str, Tensor], str]:
    """Return what :func:`save_checked` wrote to a file, in memory of its own.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the file is not what was written; the message names it.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            proof = file.metadata() or {}
            tensors = {name: _copy(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is no whole safetensors file ({error})") from error
    metadata = proof.get("metadata", "")
    if proof.get(_CHECKSUM) != checksum(tensors, metadata):
        raise ValueError(f"{path} is damaged: its checksum is not that of its contents")
    return tensors, metadata


def _copy(tensor: Tensor) -> Tensor:
    # A tensor that is mapped from a file changes with it, and lies at any address, on which the
    # rounding of some products depends. Copied as bytes: a copy of bools would mend damaged ones.
    return _bytes(tensor).clone().view(tensor.dtype).view(tensor.shape)
