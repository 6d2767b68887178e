"""The observation attack: hide from each agent the dims that tell it most about the other group (ALGORITHMS 2.2)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ibal_lightning.attack import Threat
from ibal_lightning.attacks.ibal.options import IbalOptions
from ibal_lightning.attacks.ibal.reference import Reference
from ibal_lightning.estimators.behaviour import BehaviourModel
from ibal_lightning.estimators.health import Health
from ibal_lightning.estimators.history import JointHistory
from ibal_lightning.estimators.hurdle import HurdleModel
from ibal_lightning.estimators.observation_model import ObservationModel
from ibal_lightning.estimators.running_mean import SLOW
from ibal_lightning.estimators.transitions import Context, Transitions
from ibal_lightning.functional.mutual_information import uniform_legal
from ibal_lightning.functional.options import check_choice, check_range
from ibal_lightning.functional.random import stream
from ibal_lightning.functional.subsets import top_dims
from ibal_lightning.types import EnvSpec, EpisodeBatch, VictimView

TABLE_EVERY = 10  # updates between two looks at the table: a look costs half an update
ABOVE_ZERO = 1e-6  # added to random ranks: those of 0 are of dims that nobody may hide
HEADS = {"gaussian": ObservationModel, "hurdle": HurdleModel}


def aggregate(score: Tensor, cut: Tensor) -> Tensor:
    """(B, N, O) what each dim tells an agent about its opponents.

    Scores (B, N, O, N) do not know the groups: another partition ``cut`` (B, N, N) only sums them anew.
    """
    return torch.einsum("biod,bid->bio", score, cut.to(score.dtype))


def maskable_dims(about: Tensor, maskable: str) -> Tensor:
    """(N, O) bool the dims that may be hidden from each agent; ``about`` (N, O, N) says whom a dim describes."""
    describes = about.any(-1)
    if maskable == "all":
        return torch.ones_like(describes)
    if not describes.any():
        raise ValueError("attack.maskable=ally_features: no dim of this environment is named after an agent")
    return describes


class ObservationMask(nn.Module):
    """Scores every (agent, dim, source) and picks the top-L dims.

    Scores for o_{t+1} come from what is known at t ("step"), or from their running mean ("table"), which also serves
    the first step, where nobody has acted yet. While the observation model explains no more than its null model or
    chance, dims are random, fixed for the episode.

    Args:
        threat: gives L, the dims per agent and step, and what a hidden dim reads.
        options: of IBAL. The sum of "raw" scores is exactly that of the whole opposing group in the joint additive
            model; "halflog" scores are equally strong (IBAL_STUDY 2). ``mask_rule="bottom"`` picks the L dims of lowest
            score above ``score_eps``, any other rule the highest. "ally_features" goes by the observation's names.

    Raises:
        ValueError: an unknown word, or names that tell of no agent.
    """

    def __init__(self, spec: EnvSpec, threat: Threat, options: IbalOptions) -> None:
        super().__init__()
        self.reference = Reference(options.p_ref, options.eps_ref, options.t_ref)
        check_choice("attack.maskable", options.maskable, ("all", "ally_features"))
        check_choice("attack.history", options.history, ("state", "gru"))
        check_choice("attack.observation_head", options.observation_head, list(HEADS))
        check_choice("attack.score_mode", options.score_mode, ("step", "table"))
        check_choice("attack.score_transform", options.score_transform, ("halflog", "raw"))
        check_range("attack.score_eps", options.score_eps, 0)
        check_range("attack.score_every", options.score_every, 1)
        self.limit, self.shape = spec.episode_limit, (spec.n_agents, spec.obs_dim)
        self.dims, self.lowest = threat.max_dims(spec), options.mask_rule == "bottom"
        self.score_mode, self.transform = options.score_mode, options.score_transform
        self.score_eps, self.score_every = options.score_eps, options.score_every
        self.history = JointHistory(spec) if options.history == "gru" else None
        read = spec if self.history is None else replace(spec, state_dim=self.history.width)
        modelled = options.p_ref == "behaviour_model" and options.score_mode == "step"  # the table asks nobody
        self.behaviour = BehaviourModel(spec, hidden=options.hidden) if modelled else None
        self.model = HEADS[options.observation_head](
            read,
            hidden=options.hidden,
            rank=options.rank,
            layers=options.layers,
            bounds=(options.logvar_low, options.logvar_high),
        )
        self.table: Tensor
        self.register_buffer("table", torch.zeros(spec.n_agents, spec.obs_dim, spec.n_agents))
        self.health = Health(spec)
        self.maskable: Tensor
        self.register_buffer("maskable", maskable_dims(self.health.about, options.maskable), persistent=False)
        self.before: tuple[Tensor, Tensor, Tensor, Tensor] | None = None
        self.hidden: Tensor | None = None  # memory of the current episodes

    def begin(self, num_envs: int, warm: bool, generator: torch.Generator) -> None:
        """Start B episodes; the dims are random where the model is not warm or explains nothing."""
        self.before = self.hidden = None
        self.chosen = torch.zeros(num_envs, *self.shape, dtype=torch.bool, device=generator.device)
        rank = torch.rand(num_envs, *self.shape, generator=generator, device=generator.device)
        self.rank = None if warm and self.health.good else rank + ABOVE_ZERO

    def choose(self, view: VictimView, games: Tensor, cut: Tensor, generator: torch.Generator) -> Tensor:
        """(G, N, O) bool dims to hide in the given games (G,) from agents that live; ``cut`` is (G, N, N)."""
        del generator
        alive = view.alive[games][..., None]
        if self._looks(view.step):
            value = self._value(view, games, cut) * alive * self.maskable
            floor = self.score_eps if self.rank is None else 0.0  # ranks are no nats
            if self.lowest:
                value, floor = torch.where(value > floor, 1 / value, 0.0), 0.0
            self.chosen[games] = top_dims(value, self.dims, floor=floor)
        self._remember(view)
        return self.chosen[games] & alive

    def _looks(self, step: int) -> bool:
        """Whether the scores are computed at this step; always at the first two, as only the second one has scores."""
        return step <= 1 or step % self.score_every == 0

    def _remember(self, view: VictimView) -> None:
        """Keep state (or history), obs, alive and reference: with the actions of now they make the next scores."""
        if self.rank is not None or self.score_mode != "step":
            return
        state = view.state
        if self.history is not None:
            state, self.hidden = self.history.advance(
                self._standardised(view.obs), view.last_actions_taken, self.hidden
            )
        if self._looks(view.step + 1):
            p_ref = self.reference(view, self.behaviour)
            self.before = state.clone(), view.obs.clone(), view.alive.clone(), p_ref

    def _value(self, view: VictimView, games: Tensor, cut: Tensor) -> Tensor:
        """(G, N, O) what each dim that the agents are about to read tells about their living opponents, or ranks."""
        if self.rank is None and self.before is not None:
            return self._scores(view, games, cut)
        heard = cut & view.alive[games][:, None, :]
        if self.rank is not None:
            return self.rank[games] * heard.any(-1)[..., None]
        return aggregate(self.table.expand(len(games), *self.table.shape), heard)

    def _scores(self, view: VictimView, games: Tensor, cut: Tensor) -> Tensor:
        """(G, N, O) the scores by what was known one step ago, when the opponents acted."""
        assert self.before is not None
        state, obs, alive, p_ref = (x[games] for x in self.before)
        time = torch.full_like(state[:, 0], (view.step - 1) / self.limit)
        then = Context(state, obs, view.last_actions_taken[games], alive, time)
        if self.transform == "raw":
            return self.model.group_score(then, p_ref, cut)
        return aggregate(self.model.score(then, p_ref, transform=self.transform), cut)

    def recall(self, rows: Transitions, batch: EpisodeBatch, b: Tensor, t: Tensor) -> Transitions:
        """The steps t of episodes b as the model conditions on them, a code of the history in place of the state."""
        if self.history is None:
            return rows
        codes = self.history.unroll(self._standardised(batch.obs), batch.actions_taken)
        return replace(rows, now=replace(rows.now, state=codes[b, t]))

    def _standardised(self, obs: Tensor) -> Tensor:
        """(..., O) observations in standard deviations of each dim."""
        return self.model.joint.trunk.obs_moments.normalise(obs)

    def learn(self, rows: Transitions, draw: int) -> Tensor:
        """() loss of everything that is learnt here; keeps the table."""
        self.model.update_moments(rows.now)
        loss = self.model.loss(rows, draw)
        if draw % TABLE_EVERY == 0:
            self.tabulate(rows)
        return loss if self.behaviour is None else loss + self.behaviour.learn(rows)

    def examine(self, rows: Transitions, draw: int, *, young: bool) -> None:
        """Look at the health on transitions that the model has not learnt from; ``draw`` numbers the look."""
        self.health.examine(self.model, rows, stream(draw, "health"), young=young)

    def report(self) -> dict[str, float]:
        """The health of the masks, to be logged."""
        return self.health.report(self.model)

    @torch.no_grad()
    def tabulate(self, rows: Transitions) -> None:
        """Move the table towards the mean scores of these transitions."""
        score = self.model.score(rows.now, uniform_legal(rows.avail_actions), transform=self.transform)
        both = (rows.now.alive[:, :, None] & rows.now.alive[:, None, :]).sum(0)[:, None]
        mean = score.sum(0) / both.clamp(min=1)
        fresh = torch.where(self.table == 0, mean, SLOW * self.table + (1 - SLOW) * mean)
        self.table.copy_(torch.where(both > 0, fresh, self.table))
