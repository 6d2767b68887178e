"""Every SMAC map and SMACv2 scenario, with variants, plays and shows finite numbers of the right sizes."""

from __future__ import annotations

import pytest
import torch

from ibal_lightning.envs.skirmish.catalogue import smac_maps, smacv2_scenarios
from ibal_lightning.envs.smac import Smac
from ibal_lightning.envs.smacv2 import SmacV2

ALL_OBS = {
    "obs_pathing_grid": True, "obs_last_action": True, "obs_timestep_number": True,
    "state_timestep_number": True, "reward_only_positive": False,
}  # fmt: skip


def play(env: Smac | SmacV2, steps: int = 12) -> None:
    now, generator = env.reset(), torch.Generator().manual_seed(0)
    for _ in range(steps):
        assert now.obs.shape[2] == env.spec.obs_dim == len(env.spec.obs_names)
        assert torch.isfinite(now.obs).all()
        assert torch.isfinite(now.state).all()
        assert now.avail_actions.any(-1).all()
        weights = now.avail_actions.float()
        actions = torch.multinomial(weights.flatten(0, 1), 1, generator=generator).view(weights.shape[:2])
        now = env.step(actions)
        over = now.terminated | now.truncated
        if over.any():
            now = env.reset(mask=over)


@pytest.mark.parametrize("name", smac_maps())
def test_smac(name: str) -> None:
    play(Smac(num_envs=2, map_name=name, engine="skirmish"))


@pytest.mark.parametrize("name", smacv2_scenarios())
@pytest.mark.parametrize("variant", ["", "_epo", "conic"])
def test_smacv2(name: str, variant: str) -> None:
    conic = variant == "conic"
    play(SmacV2(num_envs=2, scenario=name + ("" if conic else variant), conic_fov=conic, engine="skirmish"))


@pytest.mark.parametrize("name", ["3m", "MMM2", "1c3s5z", "corridor"])
def test_smac_with_every_block(name: str) -> None:
    play(Smac(num_envs=2, map_name=name, engine="skirmish", **ALL_OBS))


@pytest.mark.parametrize("name", smacv2_scenarios())
def test_smacv2_with_every_block(name: str) -> None:
    play(SmacV2(num_envs=2, scenario=name, engine="skirmish", conic_fov=True, prob_obs_enemy=0.5, **ALL_OBS))


@pytest.mark.parametrize("start", ["surrounded", "reflect_position"])
@pytest.mark.parametrize("name", ["terran_5_vs_5", "zerg_5_vs_5"])
def test_more_agents_than_enemies(name: str, start: str) -> None:
    positions = {"dist_type": start, "map_x": 32, "map_y": 32}
    config = {"n_units": 6, "n_enemies": 4, "start_positions": positions}
    play(SmacV2(num_envs=4, scenario=name, engine="skirmish", capability_config=config))
