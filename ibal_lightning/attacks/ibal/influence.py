"""How much the groups influence each other: the quantities of IBAL's section 4, in nats.

``I(o'^G1, a^G1; a^G2 | tau)`` is the sum of an observation term ``I(o'^G1; a^G2 | a^G1, tau)`` and an action term
``I(a^G1; a^G2 | tau)`` (chain rule). Given the whole history tau decentralised policies act independently, so that the
action term is 0 and the sum is its first term; the action attack works on what is left given less than tau.
Lemma 4.3 bounds the observation term by the sum over agents, dims and sources of the dimension-level information
``I(o'^i_d; a^j | a^i, tau)`` plus a redundancy term. The masks rank by the same given all other actions.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ibal_lightning.attacks.ibal.probe import Drawn, take
from ibal_lightning.attacks.ibal.whatif import PresentActions
from ibal_lightning.estimators.group_decoder import GroupDecoder
from ibal_lightning.estimators.joint_additive import parameter_groups
from ibal_lightning.estimators.observation_model import ObservationModel
from ibal_lightning.estimators.reconstruction import Reconstruction
from ibal_lightning.estimators.transitions import Transitions
from ibal_lightning.functional.influence import (
    gaussian_channel_information,
    mixed_information,
    scalar_information,
    whitening,
)
from ibal_lightning.functional.random import stream
from ibal_lightning.types import EnvSpec

CHECK_EVERY = 25  # updates between two looks at how well the decoder does


@dataclass(frozen=True)
class Influence:
    """Of M moments, (M,) each, in nats."""

    channel: Tensor  # I(o'^G1; a^G2 | a^G1, tau) under the fitted observation model
    decoded: Tensor  # lower bound of the same from a decoder of actions, which sees what no dim tells alone
    action: Tensor  # I(a^G1; a^G2 | z), z being who is alive and the time: given all of tau it vanishes
    bound: Tensor  # sum over i in G1, d, j in G2 of I(o'^i_d; a^j | a^i, tau), everybody else's action unknown
    ranked: Tensor  # the same given all other actions too, as the masks rank it: never below the bound

    @property
    def observation(self) -> Tensor:
        """The observation term: the larger, on average, of its two lower bounds."""
        return self.channel if self.channel.mean() > self.decoded.mean() else self.decoded

    @property
    def redundancy(self) -> Tensor:
        """The observation term less its dimension-level bound.

        Below 0 the dims repeat each other and the bound holds with room; above 0 they tell more together than one by
        one (synergy) and the bound fails without this term.
        """
        return self.observation - self.bound


class InfluenceModels(nn.Module):
    """The three models that the quantities are computed from; fitted to drawn steps."""

    def __init__(self, spec: EnvSpec, *, K: int) -> None:
        super().__init__()
        self.observation = ObservationModel(spec)
        self.pattern = Reconstruction(spec, max_visible=K)
        self.decoder = GroupDecoder(spec)

    def fit(self, drawn: Drawn, *, updates: int, rows: int = 256, lr: float = 1e-3, seed: int = 0) -> None:
        """Adam on random parts of the drawn steps; the decoder stops where it does best on a fifth of the episodes."""
        self.observation.update_moments(drawn.rows.now)
        self.decoder.update_moments(drawn.rows)
        check = drawn.episode >= int(0.8 * (int(drawn.episode.max()) + 1))
        learnt, check_steps = take(drawn, ~check), take(drawn, check)
        optimizer = torch.optim.Adam(parameter_groups(self, lr))
        generator, best = stream(seed, "influence"), (0.0, copy.deepcopy(self.decoder.state_dict()))
        for update in range(updates):
            part = take(learnt, torch.randint(len(learnt.p), (rows,), generator=generator))
            loss = self.observation.loss(part.rows) + self.pattern.loss(part.rows, update)
            optimizer.zero_grad(set_to_none=True)
            (loss - self.decoder(part.rows, part.group, part.p).mean()).backward()
            optimizer.step()
            if update % CHECK_EVERY == CHECK_EVERY - 1:
                best = max(best, self._decoded(check_steps), key=lambda found: found[0])
        self.decoder.load_state_dict(best[1])
        with torch.no_grad():
            self.covariance = residual_covariance(self.observation, drawn.rows)

    @torch.no_grad()
    def _decoded(self, steps: Drawn) -> tuple[float, dict[str, Tensor]]:
        """Nats that the decoder gains, and its present weights."""
        gain = float(self.decoder(steps.rows, steps.group, steps.p).mean())
        return gain, copy.deepcopy(self.decoder.state_dict())

    @torch.no_grad()
    def measure(self, drawn: Drawn, *, draws: int = 512, seed: int = 0) -> Influence:
        """The influence of G2 on G1 at steps the models have not learnt from.

        Args:
            draws: Monte Carlo draws of G2's joint action; the channel term cannot exceed their logarithm.
        """
        generator = stream(seed, "influence draws")
        channel, *sums = channel_terms(self.observation, drawn, self.covariance, draws=draws, generator=generator)
        decoded = self.decoder(drawn.rows, drawn.group, drawn.p)
        return Influence(channel, decoded, pattern_term(self.pattern, drawn), *sums)


def channel_terms(
    model: ObservationModel, drawn: Drawn, covariance: Tensor, *, draws: int, generator: torch.Generator
) -> list[Tensor]:
    """The observation term, its dimension-level bound and the ranked sum, (M,) each, under a fitted Gaussian model.

    What the model leaves unexplained may be correlated over dims and agents (``covariance``); the joint term takes
    that into account, the sums cannot.
    """
    now = drawn.rows.now
    first, second = (drawn.group == 1) & now.alive, (drawn.group == 2) & now.alive
    features = model.joint.trunk(now)
    gates, scale = model.joint.gates(features), inverse_scale(model, features)
    found = []
    for m in range(len(first)):
        i, j = first[m].nonzero()[:, 0], now.alive[m].nonzero()[:, 0]
        u, v = (model.joint.effects.u * model.joint.effects.others)[i][:, j], model.joint.effects.v[i][:, j]
        effects = (gates[m, i][:, j][:, :, None] * u) @ v * scale[m, i][:, None, None]  # (I, J, A, O)
        dims = (i[:, None] * len(model.varies) + model.varies.nonzero()[:, 0]).flatten()
        part = covariance[dims][:, dims]
        heard = second[m, j]
        found.append(joint_and_sums(effects[..., model.varies], drawn.p[m, j], heard, part, draws, generator))
    return list(torch.tensor(found).unbind(1))


def joint_and_sums(
    effects: Tensor, p: Tensor, heard: Tensor, covariance: Tensor, draws: int, generator: torch.Generator
) -> tuple[float, float, float]:
    """What effects (I, J, A, D) of inputs p (J, A) tell about those ``heard`` (J,) bool.

    Returns:
        The joint information given the other inputs; the sum over listeners, dims and heard inputs of what one dim
        tells about one input while the others are unknown; the same while the others are known.
    """
    effects, own = effects.to(p.dtype), effects[:, heard].to(p.dtype)
    if own.numel() == 0:
        return 0.0, 0.0, 0.0
    bound = torch.stack([mixed_information(listener, p)[heard].sum() for listener in effects]).sum()
    ranked = scalar_information(own, p[heard].expand(own.shape[:-1])).sum()
    white = own.permute(1, 2, 0, 3).flatten(2) @ whitening(covariance).mT
    joint = gaussian_channel_information(white[None], p[None, heard], draws=draws, generator=generator)
    return float(joint), float(bound), float(ranked)


def pattern_term(model: Reconstruction, drawn: Drawn) -> Tensor:
    """(M,) how far G1's intended actions move the prediction of G2's, summed over G2 (token by token, ALGORITHMS 2.6).

    Given the whole history this is 0 for decentralised policies; it is measured given who is alive and the time.
    """
    now = replace(drawn.rows.now, actions=drawn.rows.intended)
    first, second = (drawn.group == 1) & now.alive, (drawn.group == 2) & now.alive
    what_if = PresentActions(model, "kl", now, first, second, drawn.rows.avail_actions)
    return what_if.joint()(torch.arange(len(first), device=first.device), now.actions)


def residual_covariance(model: ObservationModel, rows: Transitions, keep: float = 0.95) -> Tensor:
    """(N * O, N * O) second moments of what the model leaves unexplained, in its own standard deviations.

    Entries off the diagonal are shrunk to ``keep`` of their value; unseen observations count nothing.
    """
    joint, now, normalise = model.joint, rows.now, model.joint.trunk.obs_moments.normalise
    features = joint.trunk(now)
    effects = joint.effects(joint.gates(features), now.actions, now.alive)
    left = normalise(rows.next_obs) - model.persistence * normalise(now.obs) - joint.base(features) - effects
    left = (left * inverse_scale(model, features) * rows.seen[..., None]).flatten(1)
    counts = rows.seen[..., None].expand_as(rows.next_obs).flatten(1).to(left.dtype)
    covariance = left.T @ left / (counts.T @ counts).clamp(min=1)
    return torch.lerp(covariance.diagonal().diag(), covariance, keep)


def inverse_scale(model: ObservationModel, features: Tensor) -> Tensor:
    """(M, N, O) one over the model's standard deviations."""
    return (-0.5 * model.log_variance(features).clamp(*model.bounds)).exp()
