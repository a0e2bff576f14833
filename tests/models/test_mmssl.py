"""MMSSL, compared with a dense float64 one that forms users times items."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from mentor_pyg.data import UserBatch
from mentor_pyg.models import MMSSL, Draws, MMSSLConfig
from mentor_pyg.models.step import Step
from tests.models.dense import BATCH, EDGES, ITEMS, USERS, gappy_data, has

SETTINGS: dict[str, Any] = {"embedding_dim": 4, "num_heads": 2, "k": 2, "critic_dim": 6}
BOTH = ("visual", "textual")
DISTINCT = [0, 2, 5, 6]
"""The users of the batch."""


def drawn(modalities: tuple[str, ...]) -> dict[str, Tensor]:
    """Return all random numbers of a step."""
    rows = len(modalities) * len(DISTINCT)
    keep = {f"keep/{m}": torch.rand(ITEMS, 4) < 0.7 for m in modalities}
    for name in ("real", "fake", "mixed", "fool"):
        for layer, (width, share) in enumerate(((6, 0.7), (3, 0.5))):
            keep[f"keep/critic/{name}/{layer}"] = torch.rand(rows, width) < share
    return {**keep, "gumbel": torch.rand(len(EDGES)), "mix": torch.rand(rows, 1)}


def half_normalized(pairs: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Return the dense matrices from items to users and from users to items."""
    to_user = torch.zeros(USERS, ITEMS, dtype=torch.float64)
    to_item = torch.zeros(ITEMS, USERS, dtype=torch.float64)
    for u, i in pairs:
        to_user[u, i] = 1 / math.sqrt(sum(user == u for user, _ in pairs))
        to_item[i, u] = 1 / math.sqrt(sum(item == i for _, item in pairs))
    return to_user, to_item


class Reference:
    """The equations on dense matrices, of the model's parameters in float64."""

    def __init__(
        self, model: MMSSL, data: HeteroData, recorded: dict[str, Tensor] | None = None
    ) -> None:
        self.model, self.config, self.recorded = model, model.config, recorded or {}
        self.p = {n: p.detach().double().requires_grad_() for n, p in model.named_parameters()}
        self.modalities = list(model.sizes.channels)
        self.to_user, self.to_item = half_normalized(list(EDGES))
        self.features(data)
        self.fuse()

    def features(self, data: HeteroData) -> None:
        self.views, clean = {}, {}
        for m in self.modalities:
            x = data["item"][f"x_{m}"].double() @ self.p[f"projections.{m}.weight"].t()
            x = x + self.p[f"projections.{m}.bias"]
            x = x * torch.tensor(has(data, m)).unsqueeze(1)
            user = self.to_user @ x
            clean[m] = user, self.to_item @ user
            if f"keep/{m}" in self.recorded:
                user = self.to_user @ (x * self.recorded[f"keep/{m}"] / 0.8)
            self.views[m] = user, self.to_item @ user
        # Relations come of what has lost no entries.
        self.relations = {m: half_normalized(self.best(*clean[m])) for m in self.modalities}

    def best(self, user: Tensor, item: Tensor) -> list[tuple[int, int]]:
        pairs = []
        for u in range(USERS):
            scores = {i: (user[u] @ item[i]).item() for i in range(ITEMS) if (u, i) not in EDGES}
            best = sorted(scores, key=lambda i: -scores[i])[: self.config.k]
            pairs += [(u, i) for i in best if scores[i]]
        return pairs

    def attend(self, views: list[Tensor]) -> Tensor:
        heads, d = self.config.num_heads, self.config.embedding_dim
        out = torch.zeros_like(views[0])
        for x in views:
            mixed = []
            for h in range(heads):
                part = slice(h * d // heads, (h + 1) * d // heads)
                query = x @ self.p["attention.query"][:, part]
                scores = torch.stack(
                    [(query * (y @ self.p["attention.key"][:, part])).sum(1) for y in views]
                )
                weight = (scores / math.sqrt(d / heads)).softmax(0)
                mixed.append(sum(w.unsqueeze(1) * y for w, y in zip(weight, views, strict=True)))
            out = out + torch.cat(mixed, 1) @ self.p["attention.output"]
        return out / len(views)

    def fuse(self) -> None:
        user, item = self.p["user_embedding"], self.p["item_embedding"]
        self.ids = [self.relations[m][0] @ item for m in self.modalities]
        of_items = [self.relations[m][1] @ user for m in self.modalities]
        layers = [
            (
                user + self.config.attention_weight * F.normalize(self.attend(self.ids)),
                item + self.config.attention_weight * F.normalize(self.attend(of_items)),
            )
        ]
        for layer in range(self.config.num_layers):
            user = self.to_user @ layers[-1][1]
            if layer == self.config.num_layers - 1:
                user = user.exp() / user.exp().sum(1, keepdim=True)
            item = self.to_item @ user
            if layer == self.config.num_layers - 1:
                item = item.exp() / item.exp().sum(1, keepdim=True)
            layers.append((user, item))
        self.user, self.item = (
            sum(layer[side] for layer in layers) / len(layers)
            + self.config.modality_weight
            * sum(F.normalize(view[side]) for view in self.views.values())
            for side in (0, 1)
        )

    def unseen(self, user: Tensor, item: Tensor) -> Tensor:
        scores = user @ item.t()
        return F.normalize(scores * (self.to_user == 0))

    def judge(self, rows: Tensor, name: str) -> Tensor:
        z = rows @ self.p["critic.item_weight"] + self.p["critic.bias"]
        for layer, ratio in enumerate((0.31, 0.5)):
            if layer:
                z = z @ self.p["critic.hidden.weight"].t() + self.p["critic.hidden.bias"]
            z = torch.where(z > 0, z, 0.01 * z)
            z = (z - z.mean(0)) / (z.var(0, unbiased=False) + 1e-5).sqrt()
            z = z * self.p[f"critic.scales.{layer}"] + self.p[f"critic.shifts.{layer}"]
            z = z * self.recorded[f"keep/critic/{name}/{layer}"] / (1 - ratio)
        out = z @ self.p["critic.output.weight"].t() + self.p["critic.output.bias"]
        return 100 * out[:, 0].sigmoid()

    def fake_rows(self) -> Tensor:
        return torch.cat([self.unseen(*view)[DISTINCT] for view in self.views.values()])

    def terms(self) -> dict[str, Tensor]:
        bpr, squares = [], []
        for u, p, n in zip(*(ids.tolist() for ids in BATCH), strict=True):
            margin = self.user[u] @ self.item[p] - self.user[u] @ self.item[n]
            bpr.append((1 + (-margin).exp()).log())
            squares += [self.user[u] @ self.user[u], *(self.item[i] @ self.item[i] for i in (p, n))]
        contrast = torch.zeros(())
        for ids in self.ids:
            a, b = F.normalize(ids)[DISTINCT], F.normalize(self.user)[DISTINCT]
            for u in range(len(DISTINCT)):
                total = sum((a[u] @ row / 0.5).exp() for row in b)
                total = total + sum((a[u] @ a[v] / 0.5).exp() for v in range(4) if v != u)
                contrast = contrast - ((a[u] @ b[u] / 0.5).exp() / total).log() / len(DISTINCT)
        features = sum((x**2).sum() for view in self.views.values() for x in view)
        config = self.config
        return {
            "bpr": sum(bpr) / len(bpr),
            "reg": config.reg_weight * sum(squares) / (2 * len(bpr)),
            "feature_reg": config.feature_reg_weight * features / (2 * ITEMS),
            "contrast": config.contrast_weight * contrast,
            "fool": -config.adversarial_weight * self.judge(self.fake_rows(), "fool").mean(),
        }

    def critic_terms(self) -> dict[str, Tensor]:
        noise = torch.full((USERS, ITEMS), -torch.inf, dtype=torch.float64)
        # As the model has them: user after user, items ascending.
        for (u, i), draw in zip(sorted(EDGES), self.recorded["gumbel"].tolist(), strict=True):
            noise[u, i] = -self.config.noise_scale * math.log(-math.log(draw + 1e-8) + 1e-8)
        observed = noise.softmax(dim=1).nan_to_num()
        rows = observed + self.config.relation_scale * self.unseen(self.user, self.item)
        real = F.normalize(rows)[DISTINCT].repeat(len(self.modalities), 1).detach()
        fake, mix = self.fake_rows().detach(), self.recorded["mix"].double()
        mixed = (mix * real + (1 - mix) * fake).requires_grad_()
        out = self.judge(mixed, "mixed").sum()
        [gradient] = torch.autograd.grad(out, mixed, create_graph=True)
        penalty = ((gradient.norm(dim=1) - 1) ** 2).mean()
        return {
            "critic_fake": self.judge(fake, "fake").mean(),
            "critic_real": -self.judge(real, "real").mean(),
            "critic_penalty": self.config.gradient_penalty * penalty,
        }


def built(data: HeteroData, **changes: Any) -> MMSSL:
    """Return a model whose critic has an opinion."""
    model = MMSSL.from_data(data, MMSSLConfig(**{**SETTINGS, **changes}))
    if model.critic is not None:
        for parameter in model.critic.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return model


def items(terms: dict[str, Tensor]) -> dict[str, float]:
    return {name: term.item() for name, term in terms.items()}


@pytest.mark.parametrize("changes", [{}, {"k": 40}, {"num_layers": 0}, {"num_layers": 1}])
@pytest.mark.parametrize("modalities", [BOTH, ("textual",), (*BOTH, "acoustic")])
def test_equals_dense(modalities: tuple[str, ...], changes: dict[str, Any]) -> None:
    data = gappy_data(*modalities)
    model = built(data, **changes)
    expected, reps = Reference(model, data), model.encode(data)
    assert set(reps.views) == {"fused", *modalities}
    sides = {**expected.views, "fused": (expected.user, expected.item)}
    for view, (user, item) in sides.items():
        torch.testing.assert_close(reps.user[view].double(), user, rtol=0, atol=3e-6)
        torch.testing.assert_close(reps.item[view].double(), item, rtol=0, atol=3e-6)


WEIGHTS = {
    "contrast_weight": 0.7,
    "adversarial_weight": 0.3,
    "reg_weight": 0.2,
    "feature_reg_weight": 0.4,
}


@pytest.mark.parametrize("modalities", [BOTH, ("textual",), (*BOTH, "acoustic")])
def test_terms_and_gradients_equal_dense(modalities: tuple[str, ...]) -> None:
    data, recorded = gappy_data(*modalities), drawn(modalities)
    model = built(data, **WEIGHTS)
    inputs = model.resample(model.prepare(data), 0, torch.Generator())
    reference = Reference(model, data, recorded)
    terms, expected = model.terms(inputs, BATCH, Draws(recorded)), reference.terms()
    assert items(terms) == pytest.approx(items(expected), rel=2e-5)
    names = [n for n, _ in model.named_parameters() if not n.startswith("critic.")]
    found = torch.autograd.grad(sum(terms.values()), [model.get_parameter(n) for n in names])
    wanted = torch.autograd.grad(sum(expected.values()), [reference.p[n] for n in names])
    for name, a, b in zip(names, found, wanted, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=2e-5, msg=name)


@pytest.mark.parametrize("relation_scale", [100.0, 0.5])
@pytest.mark.parametrize("modalities", [BOTH, ("textual",)])
def test_critic_equals_dense(modalities: tuple[str, ...], relation_scale: float) -> None:
    data, recorded = gappy_data(*modalities), drawn(modalities)
    changes = {"relation_scale": relation_scale, "noise_scale": 0.5, "gradient_penalty": 0.3}
    model = built(data, **changes)
    inputs = model.resample(model.prepare(data), 0, torch.Generator())
    reference = Reference(model, data, recorded)
    terms, expected = model.critic_terms(inputs, BATCH, Draws(recorded)), reference.critic_terms()
    assert items(terms) == pytest.approx(items(expected), rel=2e-5)
    names = [n for n, _ in model.named_parameters() if n.startswith("critic.")]
    found = torch.autograd.grad(sum(terms.values()), [model.get_parameter(n) for n in names])
    wanted = torch.autograd.grad(sum(expected.values()), [reference.p[n] for n in names])
    scale = max(b.abs().max().item() for b in wanted)  # Hundreds, of the penalty.
    for name, a, b in zip(names, found, wanted, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=1e-5 * scale, msg=name)


def test_each_step_changes_its_own_parameters() -> None:
    data = gappy_data(*BOTH)
    model = built(data)
    inputs = model.resample(model.prepare(data), 0, torch.Generator())
    critic, rest = model.objectives()
    assert {id(p) for o in (critic, rest) for p in o.parameters} == {
        id(p) for p in model.parameters()
    }
    assert len(critic.parameters) + len(rest.parameters) == len(list(model.parameters()))
    before = {n: p.clone() for n, p in model.named_parameters()}
    Step([critic], lr=0.1)(inputs, BATCH)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) != name.startswith("critic."), name
    before = {n: p.clone() for n, p in model.named_parameters()}
    Step([rest], lr=0.1)(inputs, BATCH)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) == name.startswith("critic."), name


def test_optimisers() -> None:
    model = built(gappy_data(*BOTH), critic_lr=0.02, weight_decay=0.3)
    critic, rest = (o.optimizer(o.parameters, 0.1) for o in model.objectives())
    assert isinstance(critic, torch.optim.Adam)
    assert (critic.defaults["lr"], critic.defaults["betas"]) == (0.02, (0.5, 0.9))
    assert isinstance(rest, torch.optim.AdamW)
    assert (rest.defaults["lr"], rest.defaults["weight_decay"]) == (0.1, 0.3)


def test_the_critic_learns_to_tell_and_the_rest_to_fool() -> None:
    data, draws = gappy_data(*BOTH), Draws(drawn(BOTH))
    model = built(data, critic_lr=0.05, gradient_penalty=0, adversarial_weight=1.0)
    inputs = model.resample(model.prepare(data), 0, torch.Generator())
    for objective, names in zip(
        model.objectives(), (("critic_fake", "critic_real"), ("fool",)), strict=True
    ):
        optimizer, losses = objective.optimizer(objective.parameters, 0.05), []
        for _ in range(40):
            optimizer.zero_grad()
            terms = objective.terms(inputs, BATCH, draws)
            loss = sum(terms[name] for name in names)
            loss.backward(inputs=list(objective.parameters))
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0] - 1


def test_users_count_once_in_contrast_and_critic() -> None:
    data, recorded = gappy_data(*BOTH), drawn(BOTH)
    model = built(data, **WEIGHTS)
    inputs = model.prepare(data)
    twice = UserBatch(*(torch.cat([ids, ids]) for ids in BATCH))
    once, again = (model.terms(inputs, b, Draws(recorded)) for b in (BATCH, twice))
    assert items(once) == pytest.approx(items(again), rel=1e-5)


def test_relations_are_those_of_the_epochs_start_and_fresh_to_rank() -> None:
    data = gappy_data(*BOTH)
    model = built(data)
    inputs = model.prepare(data)
    epoch = model.resample(inputs, 0, torch.Generator())
    assert torch.equal(model.encode(inputs).user["fused"], model.encode(epoch).user["fused"])
    assert "user/visual" not in inputs.graphs
    for parameter in model.projections.parameters():
        torch.nn.init.normal_(parameter)
    later = model.resample(inputs, 1, torch.Generator())
    assert not torch.equal(later.graphs["user/visual"].col, epoch.graphs["user/visual"].col)
    fused = model.encode(inputs).user["fused"]
    assert torch.equal(fused, model.encode(later).user["fused"])
    assert not torch.equal(fused, model.encode(epoch).user["fused"])


def test_without_adversary_there_is_no_critic() -> None:
    data = gappy_data(*BOTH)
    model = MMSSL.from_data(data, MMSSLConfig(**SETTINGS, adversarial_weight=0, contrast_weight=0))
    [objective] = model.objectives()
    assert not any("critic" in name for name, _ in model.named_parameters())
    terms = objective.terms(model.prepare(data), BATCH, Draws())
    assert terms["fool"] == terms["contrast"] == 0
    with pytest.raises(RuntimeError, match=r"there is no critic, since 'adversarial_weight' is 0"):
        model.critic_terms(model.prepare(data), BATCH, Draws())


def test_what_stands_in_for_a_lacking_modality_plays_no_part() -> None:
    data = gappy_data(*BOTH)
    other, model = data.clone(), built(data)
    x = data["item"].x_textual.clone()
    x[~data["item"].has_textual] = 50.0
    other["item"].x_textual = x
    assert torch.equal(model.encode(data).user["fused"], model.encode(other).user["fused"])
    # User 6 has but an item without text, user 7 none at all: nothing to go by, and no NaN.
    assert (model.encode(data).user["textual"][[6, 7]] == 0).all()
    inputs = model.prepare(data)
    for objective in model.objectives():
        total = sum(objective.terms(inputs, BATCH, Draws()).values())
        gradients = torch.autograd.grad(total, list(objective.parameters))
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_batch_of_one_user() -> None:
    data = gappy_data("textual")
    model, one = built(data), type(BATCH)(*(ids[:1] for ids in BATCH))
    for objective in model.objectives():
        terms = objective.terms(model.prepare(data), one, Draws())
        assert all(term.isfinite() for term in terms.values())


def test_defaults() -> None:
    config = MMSSLConfig()
    assert (config.embedding_dim, config.num_layers, config.num_heads) == (64, 2, 4)
    assert (config.attention_weight, config.modality_weight, config.drop_ratio) == (0.36, 0.55, 0.2)
    assert (config.contrast_weight, config.temperature) == (0.03, 0.5)
    assert (config.adversarial_weight, config.critic_lr) == (1e-4, 3e-4)
    assert (config.gradient_penalty, config.relation_scale, config.noise_scale) == (0.3, 100, 2e-3)
    assert (config.reg_weight, config.feature_reg_weight, config.weight_decay) == (1e-5, 1e-5, 0.01)
    assert not MMSSL.from_data(gappy_data(*BOTH)).has_static_shapes


def test_refuses_heads_that_do_not_divide_the_width() -> None:
    with pytest.raises(ValueError, match=r"'num_heads' needs to divide the width, 6 \(got 4\)"):
        MMSSL.from_data(gappy_data(*BOTH), MMSSLConfig(embedding_dim=6))


def test_refuses_data_without_features() -> None:
    with pytest.raises(ValueError, match=r"MMSSL needs at least one modality; add features"):
        MMSSL.from_data(gappy_data())
