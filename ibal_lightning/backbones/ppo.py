"""Multi-agent PPO: MAPPO and IPPO are one learner with two critics (Yu et al. 2022; de Witt et al. 2020)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from ibal_lightning.backbone import Backbone
from ibal_lightning.backbones.agents import AgentNet, input_blocks, last_actions
from ibal_lightning.backbones.chunks import chunked, shuffled
from ibal_lightning.backbones.context import group_context, privileged_state
from ibal_lightning.backbones.critics import CentralCritic, LocalCritic, TargetCritic
from ibal_lightning.backbones.ppo_options import PpoOptions
from ibal_lightning.backbones.ppo_terms import (
    delayed,
    intended,
    policy_loss,
    policy_mask,
    safe_avail,
    standardized,
    value_mask,
    value_targets,
)
from ibal_lightning.backbones.reward_norm import RewardNorm, learnt_rewards
from ibal_lightning.backbones.value_norm import ValueNorm
from ibal_lightning.functional.masking import greedy, masked_mean
from ibal_lightning.functional.options import adds_options
from ibal_lightning.functional.policy import clipped_value_loss, log_policy, sample_legal
from ibal_lightning.functional.weights import move_towards
from ibal_lightning.types import EnvSpec, EpisodeBatch, LossOutput


class Ppo(Backbone):
    """PPO on the induced Dec-POMDP: ratios of the intended actions under ``obs_seen``; see ``PpoOptions``.

    Raises:
        ValueError: ``chunk_length`` is longer than an episode, or an option is out of range.
    """

    on_policy: ClassVar[bool] = True
    may_be_absent: ClassVar[tuple[str, ...]] = ("context.", "target_critic.")
    critic_class: ClassVar[type[CentralCritic] | type[LocalCritic]]

    @adds_options(PpoOptions)
    def __init__(self, spec: EnvSpec, **options: Any) -> None:
        super().__init__(spec)
        self.options = chosen = PpoOptions(**options)
        limit, length = spec.episode_limit, chosen.chunk_length
        if length is not None and length > limit:
            raise ValueError(f"backbone.chunk_length={length} is longer than an episode (episode_limit={limit})")
        self.chunk_length = length or min(10, limit)
        self.max_grad_norm, self.last_action_source = chosen.max_grad_norm, chosen.last_action_source
        self.value_norm = ValueNorm(chosen.value_norm_decay) if chosen.value_norm else None
        self.reward_norm = RewardNorm() if chosen.standardise_rewards else None
        blocks = input_blocks(spec, last_action=chosen.last_action, agent_id=chosen.agent_id)
        self.actor = AgentNet(
            spec.obs_dim, spec.n_actions, blocks=blocks, output_gain=chosen.output_gain, **chosen.network
        )
        self.critic = self.critic_class(spec, chosen)
        self.target_critic = TargetCritic(self.critic, chosen.target_tau) if chosen.target_tau < 1 else None
        self.context = group_context(spec, chosen.mixer_context)

    def initial_hidden(self, num_envs: int) -> Tensor:
        """(B, N, H) of zeros."""
        return self.actor.fc2.weight.new_zeros(num_envs, self.spec.n_agents, self.actor.hidden_dim)

    def scores(self, obs: Tensor, last_actions: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, N, A) and the next hidden (B, N, H)."""
        return self.actor.step(obs, last_actions, hidden)

    def unroll(self, obs: Tensor, last_actions: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits (B, L, N, A) and hiddens (B, L, N, H) of a whole sequence: ``scores`` repeated, in one call."""
        return self.actor.unroll(obs, last_actions, hidden)

    def select(
        self, scores: Tensor, avail_actions: Tensor, *, env_steps: int, explore: bool, generator: torch.Generator
    ) -> Tensor:
        """Legal actions (B, N): drawn from the policy when exploring, else the most likely ones."""
        del env_steps
        return sample_legal(scores, avail_actions, generator) if explore else greedy(scores, avail_actions)

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam with one learning rate for the actor and one for the critic and its context."""
        context = self.context.parameters() if self.context is not None else ()
        groups = [
            {"params": list(self.actor.parameters()), "lr": self.options.lr},
            {"params": [*self.critic.parameters(), *context], "lr": self.options.critic_lr},
        ]
        return torch.optim.Adam(groups, eps=self.options.optim_eps, fused=True)

    def check_rollout(self, episodes: int) -> None:
        """Raise ``ValueError`` where ``minibatches`` does not divide the episodes."""
        parts = self.options.minibatches
        if episodes % parts:
            fitting = max(n for n in range(1, parts) if episodes % n == 0)
            raise ValueError(
                f"backbone.minibatches={parts} does not divide training.num_envs={episodes}: use "
                f"backbone.minibatches={fitting}"
            )

    def minibatches(self, batch: EpisodeBatch, generator: torch.Generator) -> Iterator[EpisodeBatch]:
        """Epochs x minibatches of chunks (C, L) of one batch of fresh episodes.

        Old log probabilities, values, advantages and first memories are computed once and travel as ``extras``.
        """
        batch = batch.trim()
        extras, memories = self.prepare(batch)
        prepared = dataclasses.replace(batch, extras=extras)
        chunks, games = chunked(prepared, memories, min(self.chunk_length, batch.mask.shape[1]))
        for _ in range(self.options.epochs):
            yield from shuffled(chunks, games, self.options.minibatches, generator)

    @torch.no_grad()
    def prepare(self, batch: EpisodeBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What stays fixed while the networks learn from a batch.

        Returns:
            Per step: log_prob (B, T, N) of the intended actions, value and target (B, T, M) in the critic's units,
            advantage (B, T, N) normalised over the policy's steps, last_actions (B, T, N).
            Per slot: the memories before it, actor_hidden (B, T+1, N, H) and critic_hidden (B, T+1, M, H).
        """
        last = last_actions(batch, self.last_action_source)
        logits, actor_hidden = self.unroll(batch.obs_seen, last)
        state = privileged_state(batch, self.context)
        values, critic_hidden = self.critic(batch.obs_seen, state, last, None)
        slow = None
        if self.target_critic is not None:
            self.target_critic.follow(self.critic)
            slow, _ = self.target_critic(batch.obs_seen, state, last, None)
        reward = learnt_rewards(batch, self.reward_norm)
        target, advantage = value_targets(batch, reward, values, slow, self.value_norm, self.options)
        extras = {
            "log_prob": intended(log_policy(logits[:, :-1], safe_avail(batch)), batch.actions),
            "value": values[:, :-1],
            "target": target,
            "advantage": standardized(advantage, policy_mask(batch, self.options)),
            "last_actions": last[:, :-1],
        }
        return extras, {"actor_hidden": delayed(actor_hidden), "critic_hidden": delayed(critic_hidden)}

    def after_update(self, updates: int) -> None:
        """Loaded weights: the target critic starts at the critic. (It moves once a batch, in ``prepare``.)"""
        if not updates and self.target_critic is not None:
            move_towards(self.target_critic.net, self.critic, 1.0)

    def loss(self, batch: EpisodeBatch) -> LossOutput:
        """Clipped policy loss, clipped Huber value loss and entropy of one minibatch from ``minibatches``.

        Raises:
            ValueError: the batch does not come from ``minibatches``.
        """
        extras = batch.extras
        if "log_prob" not in extras:
            raise ValueError("a PPO loss needs the extras of minibatches(): pass what minibatches() yields")
        obs, last, options = batch.obs_seen[:, :-1], extras["last_actions"], self.options
        state = privileged_state(batch, self.context)
        logits, hidden = self.unroll(obs, last, extras["actor_hidden"].squeeze(1))
        log_pi, mask = log_policy(logits, safe_avail(batch)), policy_mask(batch, options)
        policy, logs = policy_loss(batch, log_pi, mask, clip=options.clip, entropy_coef=options.entropy_coef)
        values, _ = self.critic(obs, state[:, :-1], last, extras["critic_hidden"].squeeze(1))
        clip = options.clip if options.value_clip else float("inf")
        errors = clipped_value_loss(values, extras["value"], extras["target"], clip=clip, delta=options.huber_delta)
        value = masked_mean(errors, value_mask(batch, values, active=options.value_active_masks))
        loss = policy + self.options.value_coef * value
        trace = {"logits": logits.detach(), "hidden": hidden.detach(), "values": values.detach()}
        return LossOutput(loss, {"loss": loss.detach(), "value_loss": value.detach(), **logs}, trace)


class Mappo(Ppo):
    """MAPPO: the actors of all agents share a critic V(s) of the clean state (and ``mixer_context``)."""

    critic_class = CentralCritic


class Ippo(Ppo):
    """IPPO: every agent has its own value V(tau^i) of what it reads.

    Raises:
        ValueError: an option is out of range, or ``mixer_context`` is asked for: these critics read no state.
    """

    critic_class = LocalCritic

    @adds_options(PpoOptions)
    def __init__(self, spec: EnvSpec, **options: Any) -> None:
        super().__init__(spec, **options)
        if self.context is not None:
            raise ValueError("backbone.mixer_context=group needs a critic that reads the state: mappo, not ippo")
