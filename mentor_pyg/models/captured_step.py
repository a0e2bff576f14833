"""A training step recorded once as a CUDA graph and replayed for every batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mentor_pyg.dependencies import UnavailableError

__all__ = ["CapturedStep"]

_WARM_UP_STEPS = 3
"""Steps before the recording, in which libraries set up what may not be set up during one."""


class CapturedStep:
    """Forward and backward of batches of one size, without a launch per operation.

    The constructor records them; every call then copies the batch in and replays, which leaves
    the gradients in the parameters' ``grad``, as ``backward`` would, and none added up. Random
    numbers are drawn anew at every replay, from torch's default generator of the device. The
    recording reads and writes where it was made: parameters, and what else the loss reads, may
    change their values but not their place.

    Args:
        loss: Returns the weighted loss terms for the tensors of a batch, such as
            ``partial(model.loss, data)`` of a model that has static shapes; its shapes may depend
            on the size of the batch and on nothing else, and it may not read values back from the
            device.
        parameters: What the loss trains.
        batch: A batch of the size to record.

    Raises:
        UnavailableError: If the batch is not on a GPU.
    """

    def __init__(
        self,
        loss: Callable[..., Mapping[str, Tensor]],
        parameters: Iterable[nn.Parameter],
        batch: Sequence[Tensor],
    ) -> None:
        self._inputs = [tensor.clone() for tensor in batch]
        self._parameters = list(parameters)
        self.terms: tuple[str, ...] = ()
        self._values = torch.empty(0)
        self._gradients: tuple[Tensor | None, ...] = ()

        def step() -> None:
            terms = loss(*self._inputs)
            values = torch.stack(list(terms.values()))
            self.terms, self._values = tuple(terms), values.detach()
            gradients = torch.autograd.grad(values.sum(), self._parameters, allow_unused=True)
            self._gradients = _with_own_memory(gradients, self._parameters)

        # What the recording made stays where it is: every replay writes there.
        self._replay = _record(step, batch[0].device)

    def fits(self, batch: Sequence[Tensor]) -> bool:
        """Return whether the batch is of the recorded size."""
        return [x.shape for x in batch] == [x.shape for x in self._inputs]

    def __call__(self, batch: Sequence[Tensor]) -> Tensor:
        """Set the gradients and return the weighted terms ``[num_terms]``, without gradient."""
        for held, given in zip(self._inputs, batch, strict=True):
            held.copy_(given)
        self._replay()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._values.clone()


def _with_own_memory(
    gradients: Sequence[Tensor | None], parameters: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """Copy gradients that share memory or are laid out unlike their parameter, as autograd does.

    What clips or scales gradients in place would otherwise scale some twice, or fail.
    """
    taken = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    own: list[Tensor | None] = []
    for gradient, parameter in zip(gradients, parameters, strict=True):
        if gradient is not None:
            place = gradient.untyped_storage().data_ptr()
            if place in taken or gradient.stride() != parameter.stride():
                gradient = torch.empty_like(parameter).copy_(gradient)
            taken.add(place)
        own.append(gradient)
    return tuple(own)


def _record(step: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Return what runs ``step`` again; no random numbers are used up here."""
    if device.type != "cuda":
        raise UnavailableError(f"a CUDA graph needs a GPU (the batch is on {device})")
    graph = torch.cuda.CUDAGraph()
    with torch.random.fork_rng(devices=[device]), torch.cuda.device(device):
        side = torch.cuda.Stream()  # Recording is not possible on the default stream.
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP_STEPS):
                step()
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph, stream=side):
            step()
    return graph.replay
