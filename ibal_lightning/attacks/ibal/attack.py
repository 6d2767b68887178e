"""Interaction-breaking attack: groups, observation mask, action rewrite, schedule (ALGORITHMS 2, IBAL_STUDY 5)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ibal_lightning.attack import Attack, ObsSurface, Threat
from ibal_lightning.attacks.ibal.groups import Plan, Planner, largest_group, opponents
from ibal_lightning.attacks.ibal.mask import ObservationMask
from ibal_lightning.attacks.ibal.options import IbalOptions
from ibal_lightning.attacks.ibal.rewrite import ActionRewrite
from ibal_lightning.attacks.ibal.schedule import Schedule, check_growth, first_p_max
from ibal_lightning.attacks.ibal.surfaces import make_mask, make_rewrite
from ibal_lightning.attacks.ibal.trigger import Trigger
from ibal_lightning.attacks.scripted import propose
from ibal_lightning.estimators.joint_additive import parameter_groups
from ibal_lightning.estimators.transitions import Context, Transitions, draw_steps, transitions_at
from ibal_lightning.functional.options import adds_options
from ibal_lightning.types import EnvSpec, EpisodeBatch, LossOutput, VictimView

HEALTH_ROWS = 256  # transitions of each look at the health


class Ibal(Attack):
    """Cuts the information between two random groups of agents.

    In training mode episodes have k ~ Unif{0..K} agents in G1, k = 0 being clean, and every episode is clean until
    the estimators are warm. In evaluation mode (``eval()``) every episode is attacked on both surfaces at
    ``strength``. L and the fill value of masks come from the threat.

    Args:
        spec: the game.
        threat: what the attack may touch, and how much.
        **options: see ``IbalOptions``.

    Raises:
        ValueError: an impossible group size, an unknown word, or a number outside its range.
    """

    obs_surface: ObsSurface = "mask"
    acts = True
    fill: Tensor
    updates: Tensor
    plan: Plan | None = None

    @adds_options(IbalOptions)
    def __init__(self, spec: EnvSpec, threat: Threat, **options: Any) -> None:
        super().__init__(spec, threat)
        self.options = chosen = IbalOptions(**options)
        self.K = largest_group(spec.n_agents, chosen.K)
        masks = bool(self.K and chosen.observation and threat.obs and threat.max_dims(spec))
        acts = bool(self.K and chosen.action and threat.actions)
        self.planner = Planner(spec.n_agents, (masks, acts), chosen, K=self.K)
        self.schedule = Schedule(
            p_max=first_p_max(chosen, self.planner.p_floor),
            limit=chosen.p_max_limit,
            alpha=chosen.alpha,
            eta=chosen.eta,
            window=chosen.window,
        )
        self.trigger = Trigger(chosen.trigger, chosen.hold)
        self.mask = make_mask(spec, threat, chosen, used=masks)
        persistent = self.planner.p_floor >= 1 or chosen.trigger != "step"
        self.rewrite, self.rule = make_rewrite(spec, self.K, chosen, used=acts, persistent=persistent)
        self.learners = [part for part in (self.guided, self.rewrite) if part is not None]
        self.overrides = self.rewrite is not None or self.rule is not None  # whether actions are ever rewritten
        self.register_buffer("fill", threat.fill_obs(spec), persistent=False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    def check_training(self) -> None:
        """Refuse an attack without a surface, and a P_max that could not grow; without overrides P_max does not matter.

        Raises:
            ValueError: says which.
        """
        if self.K and self.mask is None and not self.overrides:
            raise ValueError(
                "IBAL has nothing left to attack: neither masks (attack.observation, threat.obs, threat.dims) nor "
                "overrides (attack.action, threat.actions); attack.K=0 or method=vanilla trains without attack"
            )
        if self.overrides:
            check_growth(self.options, self.planner.p_floor)

    @property
    def group(self) -> Tensor | None:
        """(B, N) i8 groups of the current episodes."""
        return None if self.plan is None else self.plan.group

    @property
    def guided(self) -> ObservationMask | None:
        """The mask, where an estimator guides it."""
        return self.mask if isinstance(self.mask, ObservationMask) else None

    @property
    def warm(self) -> bool:
        """Whether the estimators, if there are any, have had the updates they need before the first attack.

        In test episodes any update counts: whoever fits an attack says for how long, and health judges the masks.
        """
        needed = self.options.warmup_updates if self.training else min(self.options.warmup_updates, 1)
        return int(self.updates) >= needed or not self.learners

    def reset(self, num_envs: int, generator: torch.Generator) -> None:
        """Draw groups, probabilities and surfaces of B new episodes."""
        if not self.training:
            self.plan = self.planner.test(num_envs, self.schedule.p_max, generator)
        elif self.warm:
            self.plan = self.planner.training(num_envs, self.schedule.p_max, generator)
        else:
            self.plan = self.planner.clean(num_envs, generator)
        self.cut = opponents(self.plan.group, self.options.symmetric)
        if self.K and not self.training and not self.warm:
            logging.getLogger(__name__).warning(
                "ibal attacks with estimators that have learnt nothing: its masks and overrides are random"
            )
        elif self.guided is not None and not self.training:
            self.guided.health.tell()
        if self.mask is not None:
            self.mask.begin(num_envs, self.warm, generator)

    def perturb_obs(self, view: VictimView, generator: torch.Generator) -> Tensor:
        """(B, N, O) with the dims that tell most about the other group at the fill value."""
        assert self.plan is not None, "reset comes first"
        games = (self.plan.masks & view.shown).nonzero()[:, 0]
        if self.mask is None or len(games) == 0:
            return view.obs
        hidden = torch.zeros_like(view.obs, dtype=torch.bool)
        hidden[games] = self.mask.choose(view, games, self.cut[games], generator)
        return self.disturb(view, hidden, generator)

    def disturb(self, view: VictimView, hidden: Tensor, generator: torch.Generator) -> Tensor:
        """(B, N, O) what the agents read, ``hidden`` (B, N, O) being cut out."""
        del generator
        return torch.where(hidden, self.fill, view.obs)

    def perturb_actions(self, view: VictimView, actions: Tensor, generator: torch.Generator) -> Tensor:
        """(B, N) i64 with G1's actions replaced where the trigger fires."""
        assert self.plan is not None, "reset comes first"
        fired = self.trigger.fire(self.plan.p_act, view.step, generator)
        games = (fired & self.plan.overrides & view.running).nonzero()[:, 0]
        if len(games) == 0 or not self.overrides:
            return actions
        group, taken = self.plan.group[games], actions.clone()
        if self.rewrite is None or not self.warm:
            proposal = propose(self.rule or "random", self.spec, view, actions, generator)
            taken[games] = torch.where(group == 1, proposal[games], actions[games])
            return taken
        time = torch.full((len(games),), view.step / self.spec.episode_limit, device=actions.device)
        now = Context(view.state[games], view.obs[games], actions[games], view.alive[games], time)
        taken[games] = self.rewrite.choose(now, group, view.avail_actions[games])
        return taken

    def loss(self, batch: EpisodeBatch) -> LossOutput | None:
        """Fit the estimators to real steps of the batch: executed actions, clean observations."""
        if not self.learners:
            return None
        draw = int(self.updates)
        self.updates += 1
        losses = [part.learn(rows, draw) for part, rows in self._parts(batch, self.options.rows, draw)]
        return LossOutput(torch.stack(losses).sum())

    def _parts(
        self, batch: EpisodeBatch, rows: int, draw: int
    ) -> Iterator[tuple[ObservationMask | ActionRewrite, Transitions]]:
        """What learns, with the same real steps of the batch as each conditions on them."""
        b, t = draw_steps(batch, rows, draw)
        drawn = transitions_at(batch, b, t, self.spec.episode_limit)
        if self.guided is not None:
            yield self.guided, self.guided.recall(drawn, batch, b, t)
        if self.rewrite is not None:
            yield self.rewrite, drawn

    def optimizer(self) -> torch.optim.Optimizer | None:
        """Adam over the estimators; None where there is none."""
        groups = [group for part in self.learners for group in parameter_groups(part, self.options.lr)]
        return torch.optim.Adam(groups, fused=True) if groups else None

    def observe(self, batch: EpisodeBatch) -> None:
        """Fresh training episodes: the schedule, and held-out health of the estimators before they learn from them."""
        if not self.training or not self.K:
            return
        self.schedule.update(batch.won[(batch.group > 0).any(1)])
        if self.updates == 0:
            return
        young = int(self.updates) < self.options.warmup_updates // 2  # such a model would tarnish its own record
        draw = -1 - int(self.updates)
        with torch.no_grad():
            for part, rows in self._parts(batch, HEALTH_ROWS, draw):
                part.examine(rows, draw, young=young)

    def status(self) -> Mapping[str, float]:
        """``p_max``, the attacked win rate, and the estimators' health: held-out nats, chance, attribution."""
        numbers = {"p_max": self.schedule.p_max, "attacked_won": self.schedule.win_rate}
        for part in self.learners:
            numbers |= part.report()
        return numbers
