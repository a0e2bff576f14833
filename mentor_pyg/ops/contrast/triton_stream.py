"""Softmax over a table by Triton kernels, which stream over all pairs and keep none."""

from __future__ import annotations

import math
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mentor_pyg.dependencies import UnavailableError, can_import, triton_is_interpreted
from mentor_pyg.typing import Precision

__all__ = ["cross_entropy", "unavailable"]

_MIN_UNSHIFTED_TEMPERATURE = 0.025
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


def unavailable(rows: Tensor, precision: Precision) -> str | None:
    """Return why the kernels cannot run on such rows ``[N, d]``, or ``None``.

    ``None`` for rows on the CPU means that Triton's interpreter was asked for, which is far too
    slow for anything but tests.
    """
    if not can_import("triton.language"):
        return "triton is not installed, or does not import; pip install triton"
    if rows.dtype == torch.float64:
        return "its kernels compute in float32 (the rows are float64)"
    if rows.size(1) > _MAX_WIDTH:
        return f"its kernels take rows of at most {_MAX_WIDTH} columns (got {rows.size(1)})"
    return _wrong_device(rows, precision)


def _wrong_device(rows: Tensor, precision: Precision) -> str | None:
    if rows.device.type == "cpu" and triton_is_interpreted():
        return None
    if not rows.is_cuda or torch.version.hip:
        return (
            f"its kernels need an NVIDIA GPU, or TRITON_INTERPRET=1 in the environment before the "
            f"program starts (the rows are on {rows.device})"
        )
    device: Any = torch.cuda.get_device_properties(rows.device)
    if device.major < 8:
        got = f"{device.name} has {device.major}.{device.minor}"
        return f"its kernels need compute capability 8.0 or newer ({got})"
    needed = _tile(rows.size(1), precision).shared_kib
    most = device.shared_memory_per_block_optin // 1024
    if most < needed:
        got = f"{device.name} has {most}"
        return f"its {precision} kernels need {needed} KiB of shared memory a block ({got})"
    return None


@torch.compiler.disable  # type: ignore[untyped-decorator]
def cross_entropy(
    query: Tensor,
    table: Tensor,
    target: Tensor,
    row: Tensor | None,
    left_out: Tensor | None,
    temperature: float,
    precision: Precision,
    unit_rows: bool,
) -> Tensor:
    """Return the loss, see :class:`~mentor_pyg.ops.contrast.ContrastBackend`.

    A query of several targets is taken as often. A break in the graphs of ``torch.compile``,
    which has nothing to add to these kernels.
    """
    if left_out is not None:
        raise UnavailableError("backend 'triton' leaves no rows out; use backend='chunked'")
    if row is not None:
        query = F.embedding(row, query)
    running = not unit_rows or temperature < _MIN_UNSHIFTED_TEMPERATURE
    # Inside a function's forward the grad mode is always off.
    options = (temperature, precision, running, torch.is_grad_enabled())
    value: Tensor = _TritonCrossEntropy.apply(query, table, target, *options)  # type: ignore[no-untyped-call]
    return value


@cache
def _kernels() -> ModuleType:
    """Import the kernels once they are asked for: Triton is slow to import, and optional."""
    from mentor_pyg.ops.contrast import triton_stream_kernels

    return triton_stream_kernels


def _padded_width(width: int) -> int:
    return max(16, 1 << (width - 1).bit_length())


def _padded(rows: int) -> int:
    return -(-rows // _MAX_BLOCK) * _MAX_BLOCK


def _tile(width: int, precision: Precision) -> _Tile:
    tiles = _TILES[precision]
    tile = tiles[min(limit for limit in tiles if width <= limit)]
    return tile._replace(part=min(tile.part, _padded_width(width)))


class _Side(NamedTuple):
    """The queries or the table, as the kernels read them."""

    rows: Tensor  # [n, d], contiguous
    padded: Tensor  # [padded, D], of the dtype that is multiplied
    name: Tensor
    """Of each row ``[padded]``: where queries and rows of the table are of one name, the row is
    the query's target."""


class _Sums(NamedTuple):
    """What a pass over all pairs gives; the parts that are not asked for are arbitrary."""

    total: Tensor  # [splits, owners]
    weighted: Tensor  # [splits, owners, D]
    greatest: Tensor  # [splits, owners]


class _Launch:
    """What all launches for rows of one width have in common."""

    def __init__(self, width: int, temperature: float, precision: Precision, running: bool) -> None:
        self.width = width
        self.temperature = temperature
        self.precision = precision
        self.running = running
        self.tile = _tile(width, precision)
        self.block_width = _padded_width(width)
        self.scale = math.log2(math.e) / temperature
        self.blocks = {"block_rows": _BLOCK, "block_width": self.block_width}

    def splits(self, owners: int, streamed: int) -> tuple[int, int]:
        """Return into how many parts a stream is split, and the rows of each."""
        tiles, blocks = streamed // self.tile.others, owners // self.tile.rows
        splits = max(1, min(_MAX_SPLITS, -(-_PROGRAMS // blocks), tiles // _MIN_TILES))
        rows = -(-tiles // splits) * self.tile.others
        return -(-streamed // rows), rows

    def side(self, rows: Tensor, name: Tensor, filler: int) -> _Side:
        """Return rows with what pads them, and their names with ``filler`` in the padding."""
        rows, size = rows.contiguous(), _padded(len(rows))
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        padded = rows.new_empty(size, self.block_width, dtype=dtype)
        _kernels().pad_rows[(size // _BLOCK,)](
            rows, padded, len(rows), self.width, precision=self.precision, **self.blocks
        )
        names = name.new_full((size,), filler, dtype=torch.int32)
        names[: len(rows)] = name
        return _Side(rows, padded, names)

    def sums(
        self, owner: _Side, stream: _Side, offset: Tensor, *, totals: bool, rows: bool
    ) -> _Sums:
        """Return sums of weights and of weighted rows, and the greatest scores they stand on."""
        tile, owners, streamed = self.tile, len(owner.padded), len(stream.padded)
        splits, rows_per_split = self.splits(owners, streamed)
        running = totals and self.running
        shape = (splits, owners)
        out = _Sums(
            offset.new_empty(shape) if totals else offset,
            offset.new_empty(*shape, self.block_width) if rows else offset,
            offset.new_empty(shape) if running else offset,
        )
        turned = rows and self.precision in ("tf32", "tf32x3")
        _kernels().sum_weighted_rows[owners // tile.rows, splits](
            *(owner.padded, stream.padded),
            stream.padded.t().contiguous() if turned else stream.padded,
            *(owner.name, stream.name, offset, *out),
            *(owners, streamed, rows_per_split, self.scale),
            with_totals=totals,
            with_rows=rows,
            is_running=running,
            is_turned=turned,
            precision=self.precision,
            block_rows=tile.rows,
            block_others=tile.others,
            part=tile.part,
            block_width=self.block_width,
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
        return out

    def losses(self, query: _Side, table: _Side, target: Tensor, sums: _Sums) -> tuple[Tensor, ...]:
        """Return losses ``[B]``, logarithms ``[padded]``, probabilities ``[B]`` and shares."""
        splits, padded = sums.total.shape
        losses, rest = sums.total.new_empty(2, len(target))
        offset, share = sums.total.new_empty(padded), torch.empty_like(sums.total)
        _kernels().form_losses[(padded // _BLOCK,)](
            *(query.rows, table.rows, target, sums.total, sums.greatest),
            *(losses, offset, rest, share),
            *(len(target), padded, splits, self.width, self.scale),
            is_running=self.running,
            **self.blocks,
        )
        return losses, offset, rest, share

    def gradient(
        self, positive: Tensor, weighted: Tensor, share: Tensor | None, num_queries: int
    ) -> Tensor:
        """Return the mean loss's gradient in rows, of which ``positive`` holds their targets'."""
        splits, padded, _ = weighted.shape
        grad = torch.empty_like(positive)
        _kernels().form_gradient[(padded // _BLOCK,)](
            *(weighted, weighted if share is None else share, positive, grad),
            *(len(grad), padded, splits, self.width),
            1.0 / (num_queries * self.temperature),
            is_shared=share is not None,
            **self.blocks,
        )
        return grad


class _TritonCrossEntropy(torch.autograd.Function):
    """Softmax over a table: the queries' gradient is formed in the forward, on the way.

    Backward streams over all pairs again for the other gradient: the softmax's columns end only
    when all of its rows have.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        table: Tensor,
        target: Tensor,
        temperature: float,
        precision: Precision,
        running: bool,
        wanted: bool,
    ) -> Tensor:
        needs_query, needs_table = (wanted and needs for needs in ctx.needs_input_grad[:2])
        launch = _Launch(query.size(1), temperature, precision, running)
        with torch.cuda.device_of(query):
            queries = launch.side(query, target, -1)
            rows = launch.side(table, torch.arange(len(table), device=table.device), -2)
            # Of unit rows no score is above 1 / t, so one shift serves all queries.
            offset = table.new_full((len(rows.padded),), math.inf)
            offset[: len(table)].fill_(0.0 if running else launch.scale)
            sums = launch.sums(queries, rows, offset, totals=True, rows=needs_query)
            losses, offset, rest, share = launch.losses(queries, rows, target, sums)
            grad_query = None
            if needs_query:
                positive = rest.unsqueeze(1) * rows.rows[target]
                grad_query = launch.gradient(positive, sums.weighted, share, len(query))
        ctx.launch = launch
        kept = (*queries, *rows, target, offset, rest) if needs_table else ()
        ctx.save_for_backward(grad_query, *kept)
        return losses.mean(dtype=torch.float64).float()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # Gradients are formed outside of autograd's sight.
            raise RuntimeError(
                "the Triton softmax cannot be differentiated twice (create_graph=True); "
                "use backend='naive'"
            )
        grad_query, *kept = ctx.saved_tensors
        grad_table = None
        if kept:
            queries, rows = _Side(*kept[:3]), _Side(*kept[3:6])
            target, offset, rest = kept[6:]
            with torch.cuda.device_of(queries.rows):
                sums = ctx.launch.sums(rows, queries, offset, totals=False, rows=True)
                # Sorted on CUDA, unlike index_add_: the order of the sums is always the same.
                positive = torch.zeros_like(rows.rows).index_put_(
                    (target,), rest.unsqueeze(1) * queries.rows, accumulate=True
                )
                count = len(queries.rows)
                grad_table = ctx.launch.gradient(positive, sums.weighted, None, count)
        scaled = (None if grad is None else grad * grads[0] for grad in (grad_query, grad_table))
        return (*scaled, None, None, None, None, None)
