"""Interaction-breaking attack: groups, observation mask, action rewrite, schedule (ALGORITHMS 2, IBAL_STUDY 5)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from ibal_lightning.attack import Attack, ObsSurface, Threat
from ibal_lightning.attacks.ibal.groups import Plan, Planner, largest_group, opponents
from ibal_lightning.attacks.ibal.mask import ObservationMask, Reference
from ibal_lightning.attacks.ibal.schedule import Schedule
from ibal_lightning.attacks.ibal.surfaces import make_mask, make_rewrite
from ibal_lightning.attacks.ibal.trigger import Trigger
from ibal_lightning.attacks.scripted import propose
from ibal_lightning.estimators.joint_additive import parameter_groups
from ibal_lightning.estimators.transitions import Context, draw_transitions
from ibal_lightning.functional.options import check_counts
from ibal_lightning.types import EnvSpec, EpisodeBatch, LossOutput, VictimView

HEALTH_ROWS = 256  # transitions of each look at the health
TABLE_EVERY = 10  # estimator updates between two looks at the table: scores cost as much as an update


class Ibal(Attack):
    """Cuts the information between two random groups of agents.

    In training mode episodes have k ~ Unif{0..K} agents in G1, k = 0 being clean, and every episode is clean until
    the estimators are warm. In evaluation mode (``eval()``) every episode is attacked on both surfaces at
    ``strength``. L and the fill value of masks come from the threat.

    Args:
        K: largest group G1; null = by team size (1 up to 5 agents, 2 up to 7, 4 beyond). 0 attacks nobody.
        p_floor: lower end of P_act: a number, "1/K", or "auto" = 1/K where K > 1 and 0.25 where K = 1.
        p_max_init: where P_max starts; null = at the floor.
        alpha: growth factor of P_max; 1 = not adaptive.
        eta, window: P_max grows when more than eta of the last ``window`` attacked episodes were won.
        trigger: how often P_act is thrown: each "step", every ``hold`` steps, or once an "episode".
        hold: steps that one throw lasts with trigger=hold.
        coupling: "joint" masks and overrides always come together; "independent" both, or either alone, a third each.
        observation, action: switch a surface off (ablations).
        symmetric: mask G2 towards G1 as well.
        mask_rule: "guided" hides the L dims of highest score, "bottom" those of lowest (a control);
            "random_episode", "random_step" and "opposite" need no estimator, see ``BlindMask``.
        maskable: "all" dims may be hidden, or "ally_features", those that describe another agent.
        score_mode: "step" scores every step, "table" uses their running mean (cheap).
        score_transform: "raw" CLUB of the whole opposing group, or "halflog" of each opponent's (twice the cost).
        score_eps: dims at or below this score are never masked.
        score_every: steps between two looks at the scores; the masked dims stay the same in between.
        observation_head: form of the observation model: "gaussian", or "hurdle", which takes flags and zeros for events
            of their own: more nats, slightly better attribution, 8 times the cost of a look on 8m.
        p_ref: reference distribution of actions: "uniform" over legal ones, or "soft".
        eps_ref, t_ref: uniform share of the soft one, and temperature where the team has utilities, not a policy.
        action_score: "lagged", "klx", "kl", "pmi"; "auto" = lagged where overrides persist (P_act = 1 or a held
            trigger), klx where they come and go. Or a rule that needs no estimator: "random", "inert", "min_q" or the
            name of an action such as "stop" or "move west", see ``Scripted``.
        search: how G1's joint action is found: "independent", "coordinate" or "enumerate", see ``ActionRewrite``.
        exclude_intended, support_floor: candidates of the rewrite, see ``ActionRewrite``.
        strength: of evaluation: "as_trained" (k ~ Unif{1..K}, P_act = P_max) or "max" (k = K, P_act = 1).
        hidden, rank, lr: size and learning rate of the estimators.
        rows: transitions per estimator update.
        warmup_updates: estimator updates before the first attack.

    Raises:
        ValueError: an impossible group size, an unknown word, or a number outside its range.
    """

    obs_surface: ClassVar[ObsSurface] = "mask"
    acts: ClassVar[bool] = True
    fill: Tensor
    updates: Tensor
    plan: Plan | None = None

    def __init__(
        self,
        spec: EnvSpec,
        threat: Threat,
        *,
        K: int | None = None,
        p_floor: float | str = "auto",
        p_max_init: float | None = None,
        alpha: float = 1.1,
        eta: float = 0.6,
        window: int = 100,
        trigger: str = "step",
        hold: int = 8,
        coupling: str = "independent",
        observation: bool = True,
        action: bool = True,
        symmetric: bool = True,
        mask_rule: str = "guided",
        maskable: str = "all",
        score_mode: str = "step",
        score_transform: str = "raw",
        score_eps: float = 1e-6,
        score_every: int = 4,
        observation_head: str = "gaussian",
        p_ref: str = "soft",
        eps_ref: float = 0.2,
        t_ref: float = 0.5,
        action_score: str = "auto",
        search: str = "independent",
        exclude_intended: bool | None = None,
        support_floor: float = 0.0,
        strength: str = "as_trained",
        hidden: int = 64,
        rank: int = 6,
        lr: float = 1e-3,
        rows: int = 128,
        warmup_updates: int = 1000,
    ) -> None:
        super().__init__(spec, threat)
        check_counts(rows=rows, hidden=hidden, rank=rank)
        self.K, sizes = largest_group(spec.n_agents, K), {"hidden": hidden, "rank": rank}
        self.symmetric, self.lr, self.rows, self.warmup_updates = symmetric, lr, rows, warmup_updates
        masks = bool(self.K and observation and threat.obs and threat.max_dims(spec))
        acts = bool(self.K and action and threat.actions)
        self.planner = Planner(
            spec.n_agents, (masks, acts), K=self.K, p_floor=p_floor, coupling=coupling, strength=strength
        )
        p_max_init = self.planner.p_floor if p_max_init is None else p_max_init
        self.schedule = Schedule(p_max=p_max_init, alpha=alpha, eta=eta, window=window)
        self.trigger = Trigger(trigger, hold)
        looks = {"score_mode": score_mode, "transform": score_transform, "score_eps": score_eps}
        looks |= {"score_every": score_every, "head": observation_head}
        reference = Reference(p_ref, eps_ref, t_ref)
        self.mask = make_mask(spec, threat, reference, used=masks, rule=mask_rule, maskable=maskable, **looks, **sizes)
        candidates = {"exclude_intended": exclude_intended, "support_floor": support_floor, "search": search}
        persistent = self.planner.p_floor >= 1 or trigger != "step"
        self.rewrite, self.rule = make_rewrite(
            spec, self.K, used=acts, score=action_score, persistent=persistent, **candidates, **sizes
        )
        self.register_buffer("fill", threat.fill_obs(spec), persistent=False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

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
        needed = self.warmup_updates if self.training else min(self.warmup_updates, 1)
        return int(self.updates) >= needed or (self.guided is None and self.rewrite is None)

    def reset(self, num_envs: int, generator: torch.Generator) -> None:
        """Draw groups, probabilities and surfaces of B new episodes."""
        if not self.training:
            self.plan = self.planner.test(num_envs, self.schedule.p_max, generator)
        elif self.warm:
            self.plan = self.planner.training(num_envs, self.schedule.p_max, generator)
        else:
            self.plan = self.planner.clean(num_envs, generator)
        self.cut = opponents(self.plan.group, self.symmetric)
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
        games = (self.plan.masks & view.running).nonzero()[:, 0]
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
        if len(games) == 0 or (self.rewrite is None and self.rule is None):
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
        guided = self.guided
        if guided is None and self.rewrite is None:
            return None
        draw = int(self.updates)
        rows = draw_transitions(batch, self.rows, self.spec.episode_limit, draw)
        self.updates += 1
        losses, logs = [], {}
        if guided is not None:
            guided.model.update_moments(rows.now)
            loss, logs["observation_nats"] = guided.model.loss(rows)
            losses.append(loss)
            if draw % TABLE_EVERY == 0:
                guided.tabulate(rows)
        if self.rewrite is not None:
            self.rewrite.update_moments(rows.now)
            loss, logs["action_nats"] = self.rewrite.loss(rows, draw)
            losses.append(loss)
        return LossOutput(torch.stack(losses).sum(), logs)

    def optimizer(self) -> torch.optim.Optimizer | None:
        """Adam over the estimators; None where there is none."""
        parts = [part for part in (self.guided, self.rewrite) if part is not None]
        groups = [group for part in parts for group in parameter_groups(part, self.lr)]
        return torch.optim.Adam(groups, fused=True) if groups else None

    def observe(self, batch: EpisodeBatch) -> None:
        """Fresh training episodes: the schedule, and held-out health of the estimators before they learn from them."""
        if not self.training or not self.K:
            return
        self.schedule.update(batch.won[(batch.group > 0).any(1)])
        if self.updates == 0:
            return
        young = int(self.updates) < self.warmup_updates // 2  # such a model would tarnish its own record
        draw = -1 - int(self.updates)
        rows = draw_transitions(batch, HEALTH_ROWS, self.spec.episode_limit, draw)
        for part in (self.guided, self.rewrite):
            if part is not None:
                part.examine(rows, draw, young=young)

    def status(self) -> Mapping[str, float]:
        """``p_max``, the attacked win rate, and the estimators' health: held-out nats, chance, attribution."""
        numbers = {"p_max": self.schedule.p_max, "attacked_won": self.schedule.win_rate}
        for part in (self.guided, self.rewrite):
            if part is not None:
                numbers |= part.report()
        return numbers
