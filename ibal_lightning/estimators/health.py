"""Whether an observation model's scores mean anything: held-out nats, chance, attribution (IBAL_STUDY 1 and 5.2)."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from ibal_lightning.estimators.observation_model import ObservationModel
from ibal_lightning.estimators.running_mean import RunningMean
from ibal_lightning.estimators.transitions import Transitions
from ibal_lightning.functional.mutual_information import uniform_legal
from ibal_lightning.functional.null_band import Redraw, nearest_rows, null_band, redraw_near
from ibal_lightning.functional.obs_names import described_agents
from ibal_lightning.types import EnvSpec

NEIGHBOURS = 16  # moments of similar state that lend their actions
DRAWS = 9  # redraws of each look: chance stays below the highest of them nine times in ten
ATTRIBUTED_ROWS = 32  # moments whose scores are attributed at each look

logger = logging.getLogger(__name__)


class Health(nn.Module):
    """Running health of an observation model, from transitions that it has not learnt from.

    ``explained`` is the gain over the action-free null model, ``chance`` the gain that actions from other moments of
    similar state would have reached, ``attribution`` the share of a pair's score in the dims that describe the source.
    All are NaN until there is something to say, attribution also where the names of observations do not tell.
    """

    def __init__(self, spec: EnvSpec) -> None:
        super().__init__()
        self.explained, self.chance, self.attribution = RunningMean(), RunningMean(), RunningMean()
        self.about: Tensor
        self.register_buffer("about", described_agents(spec), persistent=False)
        self.distrusted = False  # whether the last word in the log was a warning

    @property
    def good(self) -> bool:
        """Whether the model has been seen to explain more than its null and more than chance does."""
        return float(self.explained) > max(float(self.chance), 0.0)

    @torch.no_grad()
    def examine(
        self, model: ObservationModel, rows: Transitions, generator: torch.Generator, *, young: bool = False
    ) -> None:
        """Move the running figures towards those of these transitions; a model's failure is logged, once.

        Of a ``young`` model only the latest look counts, and nothing is logged.
        """
        if len(rows.intended) < 2:
            return  # nobody could lend an action
        gains, present = model.gains(rows), rows.seen.sum(0) / rows.seen.sum().clamp(min=1)

        def explained(actions: Tensor) -> Tensor:
            return gains(actions) @ present

        chance = null_band(explained, strata(rows), generator, draws=DRAWS, level=0.1)
        p_ref = uniform_legal(rows.avail_actions[:ATTRIBUTED_ROWS])
        score = model.score(rows.now.map(lambda x: x[:ATTRIBUTED_ROWS]), p_ref).mean(0)
        if young:
            for figure in (self.explained, self.chance, self.attribution):
                figure.forget()
        self.explained.update(explained(rows.now.actions))
        self.chance.update(chance)
        self.attribution.update(attribution(score, self.about))
        if not young:
            self.tell()

    def tell(self) -> None:
        """Log when the masks become random, and when they are guided again."""
        if not self.good and not self.distrusted:
            logger.warning(
                "the observation model explains nothing (%.3f nats held out beyond its null model, %.3f by chance): "
                "IBAL masks random dims until it does",
                float(self.explained),
                float(self.chance),
            )
        elif self.good and self.distrusted:
            logger.warning(
                "the observation model explains %.3f nats: IBAL's masks are guided again", float(self.explained)
            )
        self.distrusted = not self.good

    def report(self, model: ObservationModel) -> dict[str, float]:
        """The figures to log; those of attribution only where the observations' names say who is who."""
        numbers = {"explained_nats": float(self.explained), "chance_nats": float(self.chance)}
        if self.about.any():
            numbers |= {
                "attribution_share": float(self.attribution),
                "attribution_chance": float(chance_share(self.about, model.varies)),
            }
        return numbers


def attribution(score: Tensor, about: Tensor) -> Tensor:
    """() share of an ordered pair's score in the dims that describe its source, mean over pairs that have a score.

    Args:
        score: (N, O, N) of agent, dim, source.
        about: (N, O, N) 1 where the dim describes the source, else 0.
    """
    total = score.sum(1)
    share = (score * about).sum(1) / total
    return share[(total > 0) & about.any(1)].mean()


def chance_share(about: Tensor, varies: Tensor) -> Tensor:
    """() the attribution of scores that know nothing: the share of the varying dims (O,) that describe the source."""
    described = (about * varies[:, None]).sum(1)
    return described[about.any(1)].mean() / varies.sum()


def strata(rows: Transitions) -> Redraw:
    """Redraws every agent's action from a moment of similar state in which it also lived, each on its own."""
    state = rows.now.state
    state = (state - state.mean(0)) / state.std(0).clamp(min=1e-6)
    alive = rows.now.alive
    by_agent = [
        redraw_near(rows.now.actions[:, j], nearest_rows(state, NEIGHBOURS, alive[:, j] & alive[:, j, None]))
        for j in range(alive.shape[1])
    ]
    return lambda generator: torch.stack([redraw(generator) for redraw in by_agent], 1)


def pair_bands(
    model: ObservationModel,
    rows: Transitions,
    redraw: Redraw,
    generator: torch.Generator,
    *,
    draws: int,
    level: float,
) -> tuple[Tensor, Tensor]:
    """What each source's action explains of each agent's next observation, and what it would by chance.

    Args:
        redraw: joint actions (M, N) under the null, such as ``strata(rows)`` or ``redraw_from(policy)``.

    Returns:
        (N, N) nats per step over the null model, agent first, and the upper end (N, N) of the null band, where the
        source's actions alone are redrawn and the others' held.
    """
    real, n = rows.now.actions, rows.now.actions.shape[1]

    gains = model.gains(rows)

    def with_redrawn(actions: Tensor) -> Tensor:
        return torch.stack([gains(torch.where(torch.arange(n) == j, actions, real)) for j in range(n)], 1)

    return with_redrawn(real), null_band(with_redrawn, redraw, generator, draws=draws, level=level)
