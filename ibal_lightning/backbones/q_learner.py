"""Value decomposition: VDN, QMIX and QPLEX are one learner with three mixers."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ibal_lightning.backbone import Backbone
from ibal_lightning.backbones.agents import AgentNet, Slots, input_blocks
from ibal_lightning.backbones.compiled import check_compiler
from ibal_lightning.backbones.context import group_context, privileged_state
from ibal_lightning.backbones.mixers import QmixMixer, QplexMixer, VdnMixer
from ibal_lightning.backbones.q_options import QOptions
from ibal_lightning.backbones.reward_norm import RewardNorm, learnt_rewards
from ibal_lightning.functional.masking import greedy, legal, masked_mean, random_legal
from ibal_lightning.functional.options import adds_options, split_options
from ibal_lightning.functional.td import discounts, lambda_returns, last_steps, n_step_returns
from ibal_lightning.functional.weights import move_towards
from ibal_lightning.types import EnvSpec, EpisodeBatch, LossOutput


class QLearner(Backbone):
    """Double Q-learning on the induced Dec-POMDP; see ``QOptions``.

    Intended actions in the gather, ``obs_seen`` on both sides of the target, clean state in both mixers (with
    ``mixer_context`` beside it), rewards of the executed actions (ALGORITHMS 1.4).
    """

    on_policy: ClassVar[bool] = False
    may_be_absent: ClassVar[tuple[str, ...]] = ("context.", "target_context.")

    @adds_options(QOptions)
    def __init__(self, spec: EnvSpec, mixer: nn.Module, **options: Any) -> None:
        super().__init__(spec)
        self.options = chosen = QOptions(**options)
        self.max_grad_norm, self.last_action_source = chosen.max_grad_norm, chosen.last_action_source
        blocks = input_blocks(spec, last_action=chosen.last_action, agent_id=chosen.agent_id)
        self.agent = AgentNet(
            spec.obs_dim, spec.n_actions, blocks=blocks, hidden_dim=chosen.hidden_dim, use_rnn=chosen.use_rnn
        )
        self.reward_norm = RewardNorm() if chosen.standardise_rewards else None
        self.mixer = mixer
        self.target_agent = copy.deepcopy(self.agent).requires_grad_(False)
        self.target_mixer = copy.deepcopy(self.mixer).requires_grad_(False)
        self.context = group_context(spec, chosen.mixer_context)
        self.target_context = group_context(spec, chosen.mixer_context, follows=True)
        if chosen.compile_mixer:
            for module in (self.mixer, self.target_mixer):
                module.compile(dynamic=True)

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
        return self.options.epsilon(env_steps)

    def select(
        self, scores: Tensor, avail_actions: Tensor, *, env_steps: int, explore: bool, generator: torch.Generator
    ) -> Tensor:
        """Greedy legal actions (B, N); with ``explore`` each agent draws uniformly with chance epsilon instead."""
        best = greedy(scores, avail_actions)
        if not explore:
            return best
        dice = torch.rand(best.shape, generator=generator, device=best.device)
        return torch.where(dice < self.exploration(env_steps), random_legal(avail_actions, generator), best)

    def check_rollout(self, episodes: int) -> None:
        """Before the first rollout of a training: the mixer can be compiled where that is asked for."""
        del episodes
        if self.options.compile_mixer:
            check_compiler()

    def loss(self, batch: EpisodeBatch) -> LossOutput:
        """Mean squared TD error of Q_tot over real steps."""
        batch = batch.trim()
        slots = Slots.of(batch, self.last_action_source)
        utilities = slots.through(self.agent)
        choices = reachable(batch, self.options.gamma)
        q_max, best = legal(utilities.detach(), choices).max(-1)
        actions = batch.actions.clamp(min=0)
        q_taken = utilities[:, :-1].gather(-1, actions.unsqueeze(-1)).squeeze(-1)
        state = privileged_state(batch, self.context)
        q_tot = mix(self.mixer, batch.mask, q_taken, state[:, :-1], actions, q_max[:, :-1])
        targets = self.targets(batch, slots, choices, best)
        error = masked_mean((q_tot - targets).square(), batch.mask)
        q_seen = q_tot.detach()
        logs = {
            "loss": error.detach(),
            "q_taken_mean": masked_mean(q_seen, batch.mask),
            "target_mean": masked_mean(targets, batch.mask),
            "td_error_abs": masked_mean((q_seen - targets).abs(), batch.mask),
        }
        trace = {"utilities": utilities.detach(), "q_tot": q_seen, "targets": targets}
        return LossOutput(error, logs, trace)

    @torch.no_grad()
    def targets(self, batch: EpisodeBatch, slots: Slots, choices: Tensor, best: Tensor) -> Tensor:
        """(B, T) targets of Q_tot.

        Args:
            batch: B episodes.
            slots: what the agents read in them.
            choices: (B, T+1, N, A) bool actions that maxima go over.
            best: (B, T+1, N) the online network's greedy actions.
        """
        options, discount, last = self.options, discounts(batch, self.options.gamma), last_steps(batch)
        utilities = slots.through(self.target_agent)
        q_max, target_best = legal(utilities, choices).max(-1)
        chosen = best if options.double_q else target_best
        q_next = utilities.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)
        state = privileged_state(batch, self.target_context)
        nexts = (q_next[:, 1:], state[:, 1:], chosen[:, 1:], q_max[:, 1:])
        next_value = mix(self.target_mixer, discount > 0, *nexts)
        reward = learnt_rewards(batch, self.reward_norm)
        if options.n_step > 1:
            return n_step_returns(reward, discount, next_value, last, options.n_step)
        return lambda_returns(reward, discount, next_value, last, options.td_lambda)

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam or RMSprop over agent, mixer and context."""
        online = [parameter for _, module in self._followed() for parameter in module.parameters()]
        options = self.options
        if options.optimizer == "adam":
            return torch.optim.Adam(online, lr=options.lr, eps=options.optim_eps or 1e-8, fused=True)
        return torch.optim.RMSprop(online, lr=options.lr, alpha=options.optim_alpha, eps=options.optim_eps or 1e-5)

    def after_update(self, updates: int) -> None:
        """Move the target networks by ``target_tau`` every ``target_interval`` updates; at 0 they become the online."""
        if updates % self.options.target_interval:
            return
        tau = self.options.target_tau if updates else 1.0
        for slow, online in self._followed():
            move_towards(slow, online, tau)

    def _followed(self) -> list[tuple[nn.Module, nn.Module]]:
        """Each target network and the online one that it follows."""
        pairs: list[tuple[nn.Module, nn.Module]] = [(self.target_agent, self.agent), (self.target_mixer, self.mixer)]
        if self.context is not None and self.target_context is not None:
            pairs.append((self.target_context, self.context))
        return pairs


def reachable(batch: EpisodeBatch, gamma: float) -> Tensor:
    """(B, T+1, N, A) bool legal actions; all of them where no value is ever read, so that every maximum is finite."""
    used = torch.cat([batch.mask[:, :1], discounts(batch, gamma) > 0], 1)
    used[:, :-1] |= batch.mask
    return batch.avail_actions | ~used[..., None, None]


def mix(mixer: nn.Module, mask: Tensor, q_taken: Tensor, state: Tensor, actions: Tensor, q_max: Tensor) -> Tensor:
    """(B, T) joint values on the steps of mask (B, T), 0 elsewhere; the other inputs are (B, T, N) or (B, T, S)."""
    real = mask.flatten().nonzero()[:, 0]
    q_tot = mixer(*(x.flatten(0, 1).index_select(0, real) for x in (q_taken, state, actions, q_max)))
    return q_tot.new_zeros(mask.numel()).index_copy(0, real, q_tot).view(mask.shape)


class Vdn(QLearner):
    """Value decomposition networks (Sunehag et al. 2018): Q_tot is the sum of the utilities.

    Raises:
        ValueError: an option is out of range, or ``mixer_context`` is asked for: a sum reads no state.
    """

    @adds_options(QOptions)
    def __init__(self, spec: EnvSpec, **options: Any) -> None:
        super().__init__(spec, VdnMixer(), **options)
        if self.context is not None:
            raise ValueError(
                "backbone.mixer_context=group needs a mixer that reads the state: qmix or qplex; vdn adds up"
            )


class Qmix(QLearner):
    """QMIX (Rashid et al. 2018); options of ``QmixMixer`` and ``QOptions``.

    Raises:
        ValueError: an option is out of range.
    """

    @adds_options(QOptions)
    @adds_options(QmixMixer)
    def __init__(self, spec: EnvSpec, **options: Any) -> None:
        mixing, options = split_options(options, QmixMixer)
        super().__init__(spec, QmixMixer(spec.n_agents, spec.state_dim, **mixing), **options)


class Qplex(QLearner):
    """QPLEX (Wang et al. 2021): represents every joint value that satisfies IGM; ``QplexMixer`` and ``QOptions``.

    Raises:
        ValueError: an option is out of range.
    """

    @adds_options(QOptions)
    @adds_options(QplexMixer)
    def __init__(self, spec: EnvSpec, **options: Any) -> None:
        mixing, options = split_options(options, QplexMixer)
        super().__init__(spec, QplexMixer(spec.n_agents, spec.n_actions, spec.state_dim, **mixing), **options)
