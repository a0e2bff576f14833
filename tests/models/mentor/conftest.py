"""A second MENTOR, in dense float64 numpy, to compare the library's with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pytest
from numpy import ndarray
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import INTERACTS, ITEM, SEMANTIC, num_items, num_users
from mentor_pyg.models import MENTOR

Views = dict[str, ndarray]


def unit_rows(x: ndarray) -> ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def softmax(x: ndarray) -> ndarray:
    exp = np.exp(x - x.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def one_minus_cosine(a: ndarray, b: ndarray) -> float:
    return 1 - (unit_rows(a) * unit_rows(b)).sum(axis=1).mean()


def contrast(a: ndarray, b: ndarray, temperature: float) -> float:
    logits = unit_rows(a) @ unit_rows(b).T / temperature
    return (np.log(np.exp(logits).sum(axis=1)) - np.diag(logits)).mean()


def interaction_matrix(data: HeteroData) -> ndarray:
    """Return the symmetrically normalised matrix of users and items."""
    users, items = num_users(data), num_items(data)
    adjacency = np.zeros((users + items, users + items))
    user, item = data[INTERACTS].edge_index.numpy()
    adjacency[user, users + item] = adjacency[users + item, user] = 1
    scale = np.where(adjacency.any(axis=1), adjacency.sum(axis=1).clip(1) ** -0.5, 0)
    return scale[:, None] * adjacency * scale


def item_matrix(data: HeteroData) -> ndarray:
    matrix = np.zeros((num_items(data), num_items(data)))
    neighbour, item = data[SEMANTIC].edge_index.numpy()
    matrix[item, neighbour] = data[SEMANTIC].edge_weight.numpy()
    return matrix


@dataclass
class DenseMENTOR:
    """The paper's method as in its formulas; parameters and settings are those of ``model``."""

    model: MENTOR
    data: HeteroData
    draws: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.config = self.model.config
        self.data = self.model.transform(self.config)(self.data)
        self.parameters = {
            name: value.double().numpy() for name, value in self.model.state_dict().items()
        }

    def encoded(self, view: str) -> ndarray:
        """Return unit rows of users and items before propagation."""
        w = {
            name.removeprefix(f"encoders.{view}."): value for name, value in self.parameters.items()
        }
        if view == "id":
            x = self.parameters["item_embedding"]
        else:
            x = self.data[ITEM][f"x_{view}"].double().numpy()
        if view == "id" and self.config.id_encoder == "table":
            return unit_rows(np.concatenate([w["user_preference"], x]))
        hidden = x @ w["hidden.weight"].T + w["hidden.bias"]
        hidden = np.where(hidden > 0, hidden, 0.01 * hidden)
        item = hidden @ w["output.weight"].T + w["output.bias"]
        if f"has_{view}" in self.data[ITEM]:
            item = item * self.data[ITEM][f"has_{view}"].numpy()[:, None]
        return unit_rows(np.concatenate([w["user_preference"], item]))

    def propagated(self, view: str, perturbed: str | None = None) -> tuple[ndarray, ndarray]:
        adjacency = interaction_matrix(self.data)
        layers = [self.encoded(view)]
        for layer in range(1, self.config.num_layers + 1):
            h = adjacency @ layers[-1]
            if perturbed is not None:
                noise = self.draws[f"noise/{perturbed}/{view}/{layer}"].double().numpy()
                h = h + np.sign(h) * unit_rows(noise) * self.config.noise_scale
            layers.append(h)
        user, item = np.split(sum(layers), [num_users(self.data)])
        if self.config.item_graph and self.config.num_item_layers:
            steps = np.linalg.matrix_power(item_matrix(self.data), self.config.num_item_layers)
            item = item + steps @ item
        return user, item

    def user_weights(self) -> ndarray:
        return softmax(self.parameters["fusion.weight"])

    def views(self, perturbed: str | None = None) -> tuple[Views, Views]:
        """Return user and item representations."""
        names = list(self.model.modalities)
        if self.config.id_guidance and perturbed is None:
            names.append("id")
        pairs = {name: self.propagated(name, perturbed) for name in names}
        user, item = ({n: pair[side] for n, pair in pairs.items()} for side in (0, 1))
        weights = self.user_weights()
        user["fused"] = np.hstack(
            [weights[:, [i]] * user[m] for i, m in enumerate(self.model.modalities)]
        )
        item["fused"] = np.hstack([item[m] for m in self.model.modalities])
        if self.config.id_in_score and perturbed is None:
            for side in (user, item):
                side["fused"] = np.hstack([side["fused"], side["id"]])
        return user, item

    def loss(self, user_id: ndarray, pos_item: ndarray, neg_item: ndarray) -> dict[str, float]:
        """Return the weighted terms, everything contrasted with everything."""
        config = self.config
        user, item = self.views()
        u, p, n = user["fused"][user_id], item["fused"][pos_item], item["fused"][neg_item]
        ranking = {"bpr": np.log1p(np.exp(-(u * (p - n)).sum(axis=1))).mean()}
        if config.ranking_loss == "softmax":
            scores = unit_rows(u) @ unit_rows(item["fused"]).T / config.ranking_temperature
            chosen = softmax(scores)[np.arange(len(u)), pos_item]
            ranking = {"softmax": -np.log(chosen).mean()}
        penalty = np.mean(self.user_weights() ** 2) + sum(
            np.mean(self.parameters[f"encoders.{m}.user_preference"][user_id] ** 2)
            for m in self.model.modalities
        )
        return {
            **ranking,
            "reg": config.reg_weight * penalty,
            "align": config.align_weight * sum(self.alignment(user, item).values()),
            "mask": config.mask_weight * sum(self.masking(user, item)),
            "perturb": config.perturb_weight * sum(self.perturbation()),
        }

    def alignment(self, user: Views, item: Views) -> dict[str, float]:
        """Return the cost of every level."""
        names = self.model.modalities
        copies = user["fused"].shape[1] // self.config.embedding_dim
        axis = None if self.config.statistics == "scalar" else 0
        moments = {}
        for view in user:
            nodes = np.concatenate([user[view], item[view]])
            nodes = nodes if view == "fused" else np.tile(nodes, copies)
            moments[view] = np.stack([nodes.mean(axis=axis), nodes.var(axis=axis, ddof=1)])

        def cost(a: str, b: str) -> float:
            return np.abs(moments[a] - moments[b]).sum(axis=0).mean()

        levels = {
            "fused_modality": sum(cost("fused", m) for m in names),
            "modality_modality": sum(cost(a, b) for a, b in combinations(names, 2)),
        }
        if "id" in user:
            levels["id_fused"] = cost("id", "fused")
            levels["id_modality"] = sum(cost("id", m) for m in names)
        return {level: levels[level] for level in self.config.align_levels if level in levels}

    def masking(self, user: Views, item: Views) -> tuple[float, float]:
        weight = self.parameters["masking.predictor.weight"]
        bias = self.parameters["masking.predictor.bias"]
        return tuple(
            one_minus_cosine(
                x["fused"] @ weight.T + bias, x["fused"] * self.draws[f"keep/{node}"].numpy()
            )
            for node, x in (("user", user), ("item", item))
        )

    def perturbation(self) -> tuple[float, float]:
        (user_a, item_a), (user_b, item_b) = (self.views(v) for v in ("view_a", "view_b"))
        return tuple(
            contrast(a["fused"], b["fused"], self.config.temperature)
            for a, b in ((user_a, user_b), (item_a, item_b))
        )


@pytest.fixture
def dense_mentor() -> Callable[..., DenseMENTOR]:
    """Return the reference's class: ``dense_mentor(model, data, draws={})``."""
    return DenseMENTOR
