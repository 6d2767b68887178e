"""Value decomposition: VDN, QMIX and QPLEX are one learner with three mixers."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ibal_lightning.backbone import Backbone
from ibal_lightning.backbones.agents import RecurrentNet, last_actions
from ibal_lightning.backbones.mixers import QmixMixer, VdnMixer
from ibal_lightning.backbones.options import adds_options, check_choice, check_range
from ibal_lightning.functional.masking import greedy, legal, masked_mean, random_legal
from ibal_lightning.functional.td import discounts, lambda_returns, last_steps, n_step_returns, next_slot
from ibal_lightning.types import EnvSpec, EpisodeBatch, LossOutput


class QLearner(Backbone):
    """Recurrent double Q-learning on the induced Dec-POMDP.

    Intended actions in the gather, ``obs_seen`` on both sides of the target, clean state in both mixers, rewards of
    the executed actions (ALGORITHMS 1.4). Options:

    Args:
        spec: the game.
        mixer: see ``mixers``.
        hidden_dim: units of fc1 and of the GRU.
        last_action: feed the intended action of the step before.
        agent_id: feed the agent's index.
        gamma: discount per env step.
        double_q: choose the target's action with the online network.
        td_lambda: Peng's lambda; 0 for one-step targets.
        n_step: rewards before the bootstrap; above 1 only with ``td_lambda=0``.
        target_interval: updates between moves of the target networks (PyMARL counts episodes: its 200 episodes at
            one update per episode are 200 updates).
        target_tau: how far they move: 1 copies (hard), below 1 averages (soft, Polyak).
        optimizer: "adam", or "rmsprop" with PyMARL's alpha 0.99 and eps 1e-5.
        lr: learning rate.
        max_grad_norm: gradients are clipped to this L2 norm.
        epsilon_start: chance of a uniform legal action at env step 0.
        epsilon_finish: the same after ``epsilon_anneal`` env steps (linear in between).
        epsilon_anneal: env steps, summed over games.

    Raises:
        ValueError: an option is out of range or contradicts another.
    """

    on_policy: ClassVar[bool] = False

    def __init__(
        self,
        spec: EnvSpec,
        mixer: nn.Module,
        *,
        hidden_dim: int = 64,
        last_action: bool = True,
        agent_id: bool = True,
        gamma: float = 0.99,
        double_q: bool = True,
        td_lambda: float = 0.6,
        n_step: int = 1,
        target_interval: int = 100,
        target_tau: float = 1.0,
        optimizer: str = "adam",
        lr: float = 1e-3,
        max_grad_norm: float = 10.0,
        epsilon_start: float = 1.0,
        epsilon_finish: float = 0.05,
        epsilon_anneal: int = 50_000,
    ) -> None:
        super().__init__(spec)
        check_choice("optimizer", optimizer, ("adam", "rmsprop"))
        check_range(0, 1, gamma=gamma, td_lambda=td_lambda, target_tau=target_tau)
        check_range(0, 1, epsilon_start=epsilon_start, epsilon_finish=epsilon_finish)
        check_range(1, float("inf"), n_step=n_step, target_interval=target_interval, hidden_dim=hidden_dim)
        check_range(0, float("inf"), lr=lr, max_grad_norm=max_grad_norm, epsilon_anneal=epsilon_anneal)
        if n_step > 1 and td_lambda > 0:
            raise ValueError(
                f"n_step={n_step} and td_lambda={td_lambda} exclude each other: set td_lambda=0 or n_step=1"
            )
        self.gamma, self.double_q, self.td_lambda, self.n_step = gamma, double_q, td_lambda, n_step
        self.target_interval, self.target_tau = target_interval, target_tau
        self.optimizer_name, self.lr, self.max_grad_norm = optimizer, lr, max_grad_norm
        self.epsilon = (epsilon_start, epsilon_finish, epsilon_anneal)
        n_actions, n_agents = spec.n_actions if last_action else 0, spec.n_agents if agent_id else 0
        self.agent = RecurrentNet(
            spec.obs_dim, spec.n_actions, n_actions=n_actions, n_agents=n_agents, hidden_dim=hidden_dim
        )
        self.mixer = mixer
        self.target_agent = copy.deepcopy(self.agent).requires_grad_(False)
        self.target_mixer = copy.deepcopy(self.mixer).requires_grad_(False)

    def initial_hidden(self, num_envs: int) -> Tensor:
        """(B, N, H) of zeros."""
        return self.agent.fc2.weight.new_zeros(num_envs, self.spec.n_agents, self.agent.hidden_dim)

    def scores(self, obs: Tensor, last_actions: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Utilities (B, N, A) and the next hidden (B, N, H)."""
        return self.agent.step(obs, last_actions, hidden)

    def unroll(self, obs: Tensor, last_actions: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Utilities (B, L, N, A) and hiddens (B, L, N, H) of a whole sequence: ``scores`` repeated, in one call."""
        return self.agent.unroll(obs, last_actions, hidden)

    def exploration(self, env_steps: int) -> float:
        """Epsilon after ``env_steps``."""
        start, finish, anneal = self.epsilon
        return finish + (start - finish) * max(0.0, 1.0 - env_steps / max(anneal, 1))

    def select(
        self, scores: Tensor, avail_actions: Tensor, *, env_steps: int, explore: bool, generator: torch.Generator
    ) -> Tensor:
        """Greedy legal actions (B, N); with ``explore`` each agent draws uniformly with chance epsilon instead."""
        best = greedy(scores, avail_actions)
        if not explore:
            return best
        dice = torch.rand(best.shape, generator=generator, device=best.device)
        return torch.where(dice < self.exploration(env_steps), random_legal(avail_actions, generator), best)

    def loss(self, batch: EpisodeBatch) -> LossOutput:
        """Mean squared TD error of Q_tot over real steps."""
        batch = batch.trim()
        utilities, hidden = self.unroll(batch.obs_seen, last_actions(batch))
        q_max, best = legal(utilities.detach(), reachable(batch, self.gamma)).max(-1)
        q_taken = utilities[:, :-1].gather(-1, batch.actions.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        q_tot = mix(self.mixer, q_taken, batch.state[:, :-1], batch.actions, q_max[:, :-1])
        targets = self.targets(batch, best)
        error = masked_mean((q_tot - targets).square(), batch.mask)
        logs = {
            "loss": error.detach(),
            "q_taken_mean": masked_mean(q_tot.detach(), batch.mask),
            "target_mean": masked_mean(targets, batch.mask),
            "td_error_abs": masked_mean((q_tot.detach() - targets).abs(), batch.mask),
        }
        trace = {
            "utilities": utilities.detach(),
            "hidden": hidden.detach(),
            "q_tot": q_tot.detach(),
            "targets": targets,
        }
        return LossOutput(error, logs, trace)

    @torch.no_grad()
    def targets(self, batch: EpisodeBatch, best: Tensor) -> Tensor:
        """(B, T) targets of Q_tot; ``best`` (B, T+1, N) are the online network's greedy actions."""
        utilities, _ = self.target_agent.unroll(batch.obs_seen, last_actions(batch))
        q_max, target_best = legal(utilities, reachable(batch, self.gamma)).max(-1)
        chosen = best if self.double_q else target_best
        q_next = utilities.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)
        q_tot = mix(self.target_mixer, q_next[:, 1:], batch.state[:, 1:], chosen[:, 1:], q_max[:, 1:])
        discount, last = discounts(batch, self.gamma), last_steps(batch)
        reward, next_value = batch.reward.masked_fill(~batch.mask, 0.0), q_tot.masked_fill(discount == 0, 0.0)
        if self.n_step > 1:
            return n_step_returns(reward, discount, next_value, last, self.n_step)
        return lambda_returns(reward, discount, next_value, last, self.td_lambda)

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam or RMSprop over agent and mixer."""
        online = [*self.agent.parameters(), *self.mixer.parameters()]
        if self.optimizer_name == "adam":
            return torch.optim.Adam(online, lr=self.lr)
        return torch.optim.RMSprop(online, lr=self.lr, alpha=0.99, eps=1e-5)

    @torch.no_grad()
    def after_update(self, updates: int) -> None:
        """Move the target networks by ``target_tau`` every ``target_interval`` updates."""
        if updates % self.target_interval:
            return
        for slow, online in ((self.target_agent, self.agent), (self.target_mixer, self.mixer)):
            for target, source in zip(slow.parameters(), online.parameters(), strict=True):
                target.lerp_(source, self.target_tau) if self.target_tau < 1 else target.copy_(source)


def reachable(batch: EpisodeBatch, gamma: float) -> Tensor:
    """(B, T+1, N, A) bool legal actions; all of them where no value is ever read, so that every maximum is finite."""
    used = torch.cat([batch.mask[:, :1], discounts(batch, gamma) > 0], 1)
    used[:, :-1] |= batch.mask
    return batch.avail_actions | ~used[..., None, None]


def mix(mixer: nn.Module, q_taken: Tensor, state: Tensor, actions: Tensor, q_max: Tensor) -> Tensor:
    """(B, T) joint values from (B, T, N) utilities, state (B, T, S), actions (B, T, N) and q_max (B, T, N)."""
    rows = (q_taken.flatten(0, 1), state.flatten(0, 1), actions.flatten(0, 1), q_max.flatten(0, 1))
    return mixer(*rows).view(state.shape[:2])


class Vdn(QLearner):
    """Value decomposition networks (Sunehag et al. 2018): Q_tot is the sum of the utilities."""

    @adds_options(QLearner)
    def __init__(self, spec: EnvSpec, **options: Any) -> None:
        super().__init__(spec, VdnMixer(), **options)


class Qmix(QLearner):
    """QMIX (Rashid et al. 2018).

    Args:
        spec: the game.
        mixing_dim: width of the mixing network.
        hypernet_dim: hidden units of the hypernetworks.
        **options: see ``QLearner``.
    """

    @adds_options(QLearner)
    def __init__(self, spec: EnvSpec, *, mixing_dim: int = 32, hypernet_dim: int = 64, **options: Any) -> None:
        mixer = QmixMixer(spec.n_agents, spec.state_dim, mixing_dim=mixing_dim, hypernet_dim=hypernet_dim)
        super().__init__(spec, mixer, **options)
