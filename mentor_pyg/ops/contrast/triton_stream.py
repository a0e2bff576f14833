"""InfoNCE by Triton kernels, which stream over all pairs and keep none."""

from __future__ import annotations

import math
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mentor_pyg.dependencies import has_triton, triton_is_interpreted
from mentor_pyg.typing import Precision

__all__ = ["info_nce", "unavailable"]

_MIN_TEMPERATURE = 0.025
"""From here up, every exp((cos - 1) / t) >= exp(-80) is a normal number of float32."""

_MAX_WIDTH = 256
"""Wider rows and their sums do not fit into the registers of one program."""

_PROGRAMS = 1024
"""Programs to start at least, by splitting what each streams: several for every multiprocessor."""

_MAX_SPLITS = 16
_MIN_TILES = 4
"""Of a split: fewer tiles would not pay for its start and for the sums that it writes."""

_BLOCK = 16
"""Rows of a program that makes one pass over them."""


class _Tile(NamedTuple):
    """What a program works on at a time. These compile without spills worth mention on Hopper."""

    rows: int
    others: int
    part: int
    warps: int
    stages: int
    shared_kib: int
    """Shared memory that Triton 3.6 to 3.9 give such a program, at most."""


_TILES: dict[Precision, dict[int, _Tile]] = {
    "ieee": {128: _Tile(64, 32, 16, 4, 2, 25), 256: _Tile(64, 32, 16, 8, 2, 41)},
    "tf32x3": {128: _Tile(128, 32, 128, 8, 2, 193), 256: _Tile(64, 32, 64, 8, 2, 81)},
    "tf32": {128: _Tile(128, 64, 128, 8, 2, 193), 256: _Tile(128, 16, 256, 8, 2, 193)},
    "bf16": {128: _Tile(128, 64, 128, 8, 3, 81), 256: _Tile(128, 64, 256, 8, 2, 129)},
}
"""By precision and the greatest width that a tile serves."""

_MAX_BLOCK = 128
"""Every block size divides it: what is padded to it needs no mask in the inner loop."""


def unavailable(view: Tensor, temperature: float | Tensor, precision: Precision) -> str | None:
    """Return why the kernels cannot run on such views ``[N, d]``, or ``None``.

    ``None`` for views on the CPU means that Triton's interpreter was asked for, which is far too
    slow for anything but tests.
    """
    if not has_triton():
        return "triton is not installed, or does not import; pip install triton"
    if view.dtype == torch.float64:
        return "its kernels compute in float32 (the views are float64)"
    if view.size(1) > _MAX_WIDTH:
        return f"its kernels take views of at most {_MAX_WIDTH} columns (got {view.size(1)})"
    if isinstance(temperature, Tensor):
        return "its kernels take the temperature as a constant (it requires a gradient)"
    if temperature < _MIN_TEMPERATURE:
        return f"its sums may underflow at temperatures below {_MIN_TEMPERATURE}"
    return _wrong_device(view, precision)


def _wrong_device(view: Tensor, precision: Precision) -> str | None:
    if view.device.type == "cpu" and triton_is_interpreted():
        return None
    if not view.is_cuda or torch.version.hip:
        return (
            f"its kernels need an NVIDIA GPU, or TRITON_INTERPRET=1 in the environment before the "
            f"program starts (the views are on {view.device})"
        )
    device: Any = torch.cuda.get_device_properties(view.device)
    if device.major < 8:
        got = f"{device.name} has {device.major}.{device.minor}"
        return f"its kernels need compute capability 8.0 or newer ({got})"
    needed = _tile(view.size(1), precision).shared_kib
    most = device.shared_memory_per_block_optin // 1024
    if most < needed:
        got = f"{device.name} has {most}"
        return f"its {precision} kernels need {needed} KiB of shared memory a block ({got})"
    return None


@torch.compiler.disable  # type: ignore[untyped-decorator]
def info_nce(
    view_a: Tensor, view_b: Tensor, temperature: float | Tensor, precision: Precision
) -> Tensor:
    """Return the loss of two views ``[N, d]``, not normalised, of any dtype up to float32.

    A break in the graphs of ``torch.compile``, which has nothing to add to these kernels.
    """
    # Inside a function's forward the grad mode is always off.
    wanted = torch.is_grad_enabled()
    value: Tensor = _TritonInfoNCE.apply(view_a, view_b, temperature, precision, wanted)  # type: ignore[no-untyped-call]
    return value


@cache
def _kernels() -> ModuleType:
    """Import the kernels once they are asked for: Triton is slow to import, and optional."""
    from mentor_pyg.ops.contrast import triton_stream_kernels

    return triton_stream_kernels


def _padded_width(width: int) -> int:
    return max(16, 1 << (width - 1).bit_length())


def _tile(width: int, precision: Precision) -> _Tile:
    tiles = _TILES[precision]
    tile = tiles[min(limit for limit in tiles if width <= limit)]
    return tile._replace(part=min(tile.part, _padded_width(width)))


class _Units(NamedTuple):
    """A view as the kernels read it."""

    view: Tensor  # [N, d], contiguous
    unit: Tensor  # [padded, D], of the dtype that is multiplied
    norm: Tensor  # [padded]


class _Launch:
    """The sizes of one problem, and its launches."""

    def __init__(self, shape: torch.Size, temperature: float, precision: Precision) -> None:
        self.num_rows, self.width = shape
        self.temperature = temperature
        self.precision = precision
        self.tile = _tile(self.width, precision)
        self.block_width = _padded_width(self.width)
        self.num_padded = -(-self.num_rows // _MAX_BLOCK) * _MAX_BLOCK
        tiles = self.num_padded // self.tile.others
        blocks = self.num_padded // self.tile.rows
        splits = max(1, min(_MAX_SPLITS, -(-_PROGRAMS // blocks), tiles // _MIN_TILES))
        self.rows_per_split = -(-tiles // splits) * self.tile.others
        self.splits = -(-self.num_padded // self.rows_per_split)
        self.scale = math.log2(math.e) / temperature
        self.grid = (self.num_padded // _BLOCK,)

    def units(self, view: Tensor) -> _Units:
        """Return a view with its normalised rows."""
        view = view.contiguous()
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        unit = view.new_empty(self.num_padded, self.block_width, dtype=dtype)
        norm = view.new_empty(self.num_padded, dtype=torch.float32)
        _kernels().normalize_rows[self.grid](
            *(view, unit, norm, self.num_rows, self.width),
            precision=self.precision,
            block_rows=_BLOCK,
            block_width=self.block_width,
        )
        return _Units(view, unit, norm)

    def sums(
        self, owner: Tensor, stream: Tensor, offset: Tensor, *, totals: bool, sums: bool
    ) -> tuple[Tensor, Tensor]:
        """Return sums of weights ``[splits, padded]``, of weighted rows ``[splits, padded, D]``.

        Those that are not asked for are arbitrary.
        """
        tile, shape = self.tile, (self.splits, self.num_padded)
        total = offset.new_empty(shape) if totals else offset
        weighted = offset.new_empty(*shape, self.block_width) if sums else offset
        turned = sums and self.precision in ("tf32", "tf32x3")
        _kernels().sum_weighted_rows[self.num_padded // tile.rows, self.splits](
            *(owner, stream, stream.t().contiguous() if turned else stream),
            *(offset, total, weighted, self.num_padded, self.rows_per_split, self.scale),
            with_totals=totals,
            with_rows=sums,
            is_turned=turned,
            precision=self.precision,
            block_rows=tile.rows,
            block_others=tile.others,
            part=tile.part,
            block_width=self.block_width,
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
        return total, weighted

    def row_losses(self, a: _Units, b: _Units, total: Tensor) -> tuple[Tensor, Tensor]:
        """Return losses ``[N]``; logarithms, probabilities and inverses ``[3, padded]``."""
        losses = total.new_empty(self.num_rows)
        rows = total.new_empty(3, self.num_padded)
        _kernels().form_losses[self.grid](
            *(a.view, b.view, a.norm, b.norm, total, losses, *rows.unbind()),
            *(self.num_rows, self.num_padded, self.splits, self.width, self.scale),
            block_rows=_BLOCK,
            block_width=self.block_width,
        )
        return losses, rows

    def gradient(
        self, x: _Units, other: _Units, sums: Tensor, rest: Tensor, inverse: Tensor | None
    ) -> Tensor:
        """Return the mean loss's gradient in the view ``x``, ``[N, d]`` in float32."""
        grad = sums.new_empty(self.num_rows, self.width)
        _kernels().form_gradient[self.grid](
            *(sums, rest if inverse is None else inverse, rest),
            *(x.view, x.norm, other.view, other.norm, grad),
            *(self.num_rows, self.num_padded, self.splits, self.width),
            1.0 / (self.num_rows * self.temperature),
            is_scaled=inverse is not None,
            block_rows=_BLOCK,
            block_width=self.block_width,
        )
        return grad


class _TritonInfoNCE(torch.autograd.Function):
    """InfoNCE of raw rows: the anchors' gradient is formed in the forward, on the way.

    Backward streams over all pairs again for the other gradient: the softmax's columns end only
    when all of its rows have.
    """

    @staticmethod
    def forward(
        ctx: Any,
        view_a: Tensor,
        view_b: Tensor,
        temperature: float,
        precision: Precision,
        wanted: bool,
    ) -> Tensor:
        needs_a, needs_b = (wanted and needs for needs in ctx.needs_input_grad[:2])
        launch = _Launch(view_a.shape, temperature, precision)
        with torch.cuda.device_of(view_a):
            a, b = launch.units(view_a), launch.units(view_b)
            # Of unit rows no similarity is above 1, so one shift serves all anchors.
            offset = a.norm.new_full((launch.num_padded,), math.inf)
            offset[: launch.num_rows].fill_(launch.scale)
            total, sums = launch.sums(a.unit, b.unit, offset, totals=True, sums=needs_a)
            losses, rows = launch.row_losses(a, b, total)
            _, rest, inverse = rows.unbind()
            grad_a = launch.gradient(a, b, sums, rest, inverse) if needs_a else None
        ctx.launch = launch
        ctx.save_for_backward(grad_a, *(a + b + (rows,) if needs_b else ()))
        ctx.dtypes = view_a.dtype, view_b.dtype
        return losses.mean(dtype=torch.float64).float()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # Gradients are formed outside of autograd's sight.
            raise RuntimeError(
                "the Triton InfoNCE cannot be differentiated twice (create_graph=True); "
                "use backend='naive'"
            )
        grad_a, *rest_of_saved = ctx.saved_tensors
        grad_b = None
        if rest_of_saved:
            a, b = _Units(*rest_of_saved[:3]), _Units(*rest_of_saved[3:6])
            offset, rest, _ = rest_of_saved[6].unbind()
            with torch.cuda.device_of(a.view):
                _, sums = ctx.launch.sums(b.unit, a.unit, offset, totals=False, sums=True)
                grad_b = ctx.launch.gradient(b, a, sums, rest, None)
        scaled = (
            None if grad is None else (grad * grads[0]).to(dtype)
            for grad, dtype in zip((grad_a, grad_b), ctx.dtypes, strict=True)
        )
        return (*scaled, None, None, None)
