"""A critic of rows of relations between a user and all items, without the rows."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mentor_pyg.graph import Adjacency
from mentor_pyg.ops import edge_dots, propagate

__all__ = ["RelationCritic"]


class RelationCritic(nn.Module):
    r"""Tell observed relations of users and items from those that a modality gives.

    The discriminator of `"MMSSL" <https://arxiv.org/abs/2302.10632>`_,

    .. math::
        D(\mathbf{r}) = 100\, \sigma\big(\mathbf{w}^\top \mathbf{z}_2 + b\big), \qquad
        \mathbf{z}_l = \mathrm{drop}\big(\mathrm{BN}(\mathrm{LeakyReLU}(\mathbf{W}_l
        \mathbf{z}_{l-1} + \mathbf{b}_l))\big), \qquad \mathbf{z}_0 = \mathbf{r}

    of rows :math:`\mathbf{r}` with an entry for each item. The rows, users times items of them,
    are never formed. Since the first layer is linear, :math:`\mathbf{W}_1 \mathbf{r}` is all that
    is needed, and of the rows that there are it has a closed form, exact and not just in
    expectation: see :meth:`similarity`. The length of the gradient in :math:`\mathbf{r}` is that
    of :math:`\mathbf{W}_1^\top \mathbf{g}`, where :math:`\mathbf{g}` is the gradient in
    :math:`\mathbf{W}_1 \mathbf{r}`, so that :math:`\mathbf{W}_1 \mathbf{W}_1^\top` is enough.
    Memory is :math:`O((|\mathcal{U}| + |\mathcal{I}|)\, h + |\mathcal{E}|)` for :math:`h` columns
    of the first layer.

    BN standardises over the rows at hand and keeps no running statistics, which nothing reads.

    Args:
        num_items: The number of items.
        hidden_dim: The width :math:`h` of the first layer; the second has half of it.
        drop_ratios: The shares of entries that the two layers drop.
        backend: How :func:`mentor_pyg.ops.propagate` runs.
    """

    def __init__(
        self,
        num_items: int,
        hidden_dim: int = 64,
        drop_ratios: Sequence[float] = (0.31, 0.5),
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.drop_ratios, self.backend = tuple(drop_ratios), backend
        self.widths = (hidden_dim, max(hidden_dim // 2, 1))
        self.item_weight = nn.Parameter(torch.empty(num_items, hidden_dim))
        self.bias = nn.Parameter(torch.empty(hidden_dim))
        self.hidden = nn.Linear(*self.widths)
        self.output = nn.Linear(self.widths[1], 1)
        self.scales = nn.ParameterList(torch.empty(width) for width in self.widths)
        self.shifts = nn.ParameterList(torch.empty(width) for width in self.widths)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew; biases are zero and scales one."""
        nn.init.kaiming_normal_(self.item_weight, mode="fan_out")  # Items are the inputs.
        for linear in (self.hidden, self.output):
            nn.init.kaiming_normal_(linear.weight)
            nn.init.zeros_(linear.bias)
        for zeros in (self.bias, *self.shifts):
            nn.init.zeros_(zeros)
        for ones in self.scales:
            nn.init.ones_(ones)

    def similarity(self, user: Tensor, item: Tensor, seen: Adjacency) -> tuple[Tensor, Tensor]:
        r"""Return the first layer's product with every user's similarities to unseen items.

        The row of user :math:`u` is :math:`s_{ui} = \mathbf{u} \cdot \mathbf{i}` of the items
        without an interaction, zero of the others, and scaled to unit length. With items
        :math:`\mathbf{V}`, and before it is scaled,

        .. math::
            \mathbf{W}_1 \mathbf{s}_u = \mathbf{W}_1 \mathbf{V} \mathbf{u} - \sum_{i \in
            \mathcal{N}_u} s_{ui} \mathbf{W}_{1, i}, \qquad
            \lVert \mathbf{s}_u \rVert^2 = \mathbf{u}^\top \mathbf{V}^\top \mathbf{V} \mathbf{u} -
            \sum_{i \in \mathcal{N}_u} s_{ui}^2

        Args:
            user: A view of the users ``[num_users, d]``.
            item: The same view of the items ``[num_items, d]``.
            seen: The interactions, from items to users; their weights play no part.

        Returns:
            The product ``[num_users, hidden_dim]``, and the rows' lengths ``[num_users, 1]``: one,
            or zero where a row is, which then has no gradient.
        """
        dtype = torch.promote_types(user.dtype, self.item_weight.dtype)
        user, item = user.to(dtype), item.to(dtype)
        of_seen = edge_dots(seen, user, item, self.backend)
        with _full_precision(user):
            product = user @ (item.t() @ self.item_weight)
            total = (user @ (item.t() @ item) * user).sum(dim=1, keepdim=True)
        product = product - self.gathered(seen.with_weight(of_seen), self.item_weight)
        squares = total - self.gathered(seen.with_weight(of_seen.square()))
        # What is left of a difference of two equal numbers is their rounding.
        exists = squares > 1e-6 * total
        length = squares.where(exists, squares.new_ones(())).sqrt()
        return product / length * exists, exists.to(user.dtype)

    def gathered(self, graph: Adjacency, x: Tensor | None = None) -> Tensor:
        """Return sums over the items of every user, of weights where no features are given."""
        if x is None:
            x = self.item_weight.new_ones(graph.num_sources, 1)
        return propagate(graph, x, self.backend)

    def forward(self, product: Tensor, keep: Sequence[Tensor]) -> Tensor:
        """Return how real rows are, from 0 to 100 ``[rows]``.

        Args:
            product: The first layer's products with the rows ``[rows, hidden_dim]``.
            keep: Which entries are kept after the two layers, bool ``[rows, width]`` each.
        """
        with _full_precision(product):
            z = product + self.bias
            for layer, (kept, ratio) in enumerate(zip(keep, self.drop_ratios, strict=True)):
                z = F.leaky_relu(z if layer == 0 else self.hidden(z))
                variance, mean = torch.var_mean(z, dim=0, correction=0)
                z = (z - mean) / (variance + 1e-5).sqrt()
                z = (z * self.scales[layer] + self.shifts[layer]) * kept / (1 - ratio)
            return 100 * self.output(z).sigmoid().squeeze(1)

    def gradient_penalty(self, product: Tensor, keep: Sequence[Tensor]) -> Tensor:
        r"""Return the mean of :math:`(\lVert \partial D / \partial \mathbf{r} \rVert - 1)^2`.

        Args:
            product: The first layer's products with the rows ``[rows, hidden_dim]``.
            keep: As in :meth:`forward`.
        """
        # A loss may be asked for where no gradient is.
        with torch.enable_grad(), _full_precision(product):
            if not product.requires_grad:
                product = product.detach().requires_grad_()
            out = self(product, keep).sum()
            [gradient] = torch.autograd.grad(out, product, create_graph=True)
            gram = self.item_weight.t() @ self.item_weight  # [hidden_dim, hidden_dim]
            squares = (gradient @ gram * gradient).sum(dim=1)
        return (squares.clamp(min=1e-12).sqrt() - 1).square().mean()

    def extra_repr(self) -> str:
        """Return what ``repr`` shows."""
        return f"{self.item_weight.size(0)}, hidden_dim={self.widths[0]}"


def _full_precision(x: Tensor) -> torch.autocast:
    """Switch autocast off: small differences and second derivatives have no room in half."""
    return torch.autocast(x.device.type, enabled=False)
