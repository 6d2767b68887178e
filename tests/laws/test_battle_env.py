"""Laws of the battle environments on the embedded engine: the Env contract, SMAC's legality, exact resume."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ibal_lightning.env import Env
from ibal_lightning.envs.pymarl import PymarlEnv
from ibal_lightning.envs.smac import Smac
from ibal_lightning.envs.smacv2 import SmacV2
from ibal_lightning.types import Timestep

FIELDS = ("obs", "state", "avail_actions", "alive", "reward", "terminated", "truncated")


def make(kind: str, num_envs: int = 6, **options) -> Smac | SmacV2:
    if kind.count("_vs_") and not kind[0].isdigit():
        return SmacV2(num_envs=num_envs, scenario=kind, engine="skirmish", **options)
    return Smac(num_envs=num_envs, map_name=kind, engine="skirmish", **options)


def random_actions(now: Timestep, generator: torch.Generator) -> torch.Tensor:
    weights = now.avail_actions.float()
    return torch.multinomial(weights.flatten(0, 1), 1, generator=generator).view(weights.shape[:2])


def play(env: Smac | SmacV2, now: Timestep, steps: int, seed: int = 0) -> list[dict[str, torch.Tensor]]:
    """What ``steps`` random legal steps show, copied; games that end are reset."""
    generator, shown = torch.Generator().manual_seed(seed), []
    for _ in range(steps):
        now = env.step(random_actions(now, generator))
        shown.append(
            {name: getattr(now, name).clone() for name in FIELDS} | {k: v.clone() for k, v in now.info.items()}
        )
        over = now.terminated | now.truncated
        if over.any():
            now = env.reset(mask=over)
    return shown


def assert_same(first: list[dict[str, torch.Tensor]], second: list[dict[str, torch.Tensor]]) -> None:
    for a, b in zip(first, second, strict=True):
        for name in a:
            assert torch.equal(a[name], b[name]), name


BATTLES = ("3m", "MMM", "2s3z", "terran_5_vs_5", "protoss_5_vs_5_epo")


@pytest.mark.parametrize("kind", BATTLES)
def test_contract(kind: str) -> None:
    env = make(kind)
    spec, now = env.spec, env.reset()
    assert isinstance(env, Env)
    b, n = env.num_envs, spec.n_agents
    assert now.obs.shape == (b, n, spec.obs_dim) == (b, n, len(spec.obs_names))
    assert now.state.shape == (b, spec.state_dim)
    assert now.avail_actions.shape == (b, n, spec.n_actions) == (b, n, len(spec.action_names))
    assert now.obs.dtype == now.state.dtype == now.reward.dtype == torch.float32
    assert now.avail_actions[:, :, spec.inert_action].all()
    assert not spec.null_obs.any()
    for step in play(env, now, 60):
        assert all(torch.isfinite(step[name]).all() for name in ("obs", "state", "reward"))
        alive = step["alive"]
        assert not step["obs"][~alive].any()
        assert torch.equal(step["avail_actions"][:, :, 0], ~alive)
        assert torch.equal(step["avail_actions"].sum(-1)[~alive], torch.ones_like(alive)[~alive].long())
        assert torch.equal(step["won"], step["battle_won"])
        assert torch.equal(step["dead_allies"], (~alive).sum(-1).float())
        assert not (step["terminated"] & step["truncated"]).any()


def test_tensors_are_the_engines_own_arrays_and_info_stays_where_it_is() -> None:
    env = make("2s3z")
    out, now = env._games.engine.outputs, env.reset()
    arrays = {"avail_actions": out.avail} | {name: getattr(out, name) for name in FIELDS if name != "avail_actions"}
    places = {name: values.data_ptr() for name, values in now.info.items()}
    assert len(set(places.values())) == len(places) - 1  # won and battle_won are one
    for _ in range(40):
        for name, array in arrays.items():
            assert getattr(now, name).data_ptr() == array.ctypes.data, name
        for name, values in now.info.items():
            assert values.data_ptr() == places[name], name
            assert values.tolist() == getattr(out, "won" if name == "battle_won" else name).tolist()
        now = env.step(now.avail_actions.float().argmax(-1))


def test_a_step_allocates_nothing_that_grows_with_the_games() -> None:
    env, stop = make("3m", num_envs=1000), torch.ones(1000, 3, dtype=torch.long)
    env.reset()
    env.step(stop)
    with torch.profiler.profile(profile_memory=True) as profile:
        env.step(stop)
    assert max((abs(event.self_cpu_memory_usage) for event in profile.events()), default=0) < 1000


@pytest.mark.parametrize("kind", BATTLES)
def test_the_same_seed_plays_the_same(kind: str) -> None:
    first, second = make(kind, seed=5), make(kind, seed=6)
    before = play(first, first.reset(), 30)
    play(second, second.reset(), 7)
    assert_same(before, play(second, second.reset(seed=5), 30))


@pytest.mark.parametrize("kind", ["3m", "terran_5_vs_5", "zerg_5_vs_5_epo"])
def test_resume_in_the_middle_of_a_battle(kind: str) -> None:
    env, other = make(kind), make(kind, seed=9)
    play(env, env.reset(), 9)
    saved = env.state_dict()
    now = env.step(torch.ones(env.num_envs, env.spec.n_agents, dtype=torch.long) * now_inert(env))
    expected = play(env, now, 25)
    other.reset()
    other.load_state_dict(saved)
    now = other.step(torch.ones(env.num_envs, env.spec.n_agents, dtype=torch.long) * now_inert(other))
    assert_same(expected, play(other, now, 25))


def test_a_restored_battle_says_what_it_said_when_it_was_saved() -> None:
    env, other = make("3m"), make("3m", seed=9)
    play(env, env.reset(), 40)  # the last look: some games are over, with dead on both sides
    shown = {name: value.clone() for name, value in env._games._now.info.items()}
    assert shown["dead_allies"].sum() > 0
    other.reset()
    other.load_state_dict(env.state_dict())
    for name, value in other._games._now.info.items():
        assert torch.equal(value, shown[name]), name


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"seed": 2**64}, "The seed must be a whole number of at most 64 bits"),
        ({"seed": 3, "mask": torch.ones(2, dtype=torch.bool)}, "The reset mask must be bool of shape"),
    ],
)
def test_a_refused_reset_changes_nothing(request_: dict, message: str) -> None:
    env, same = make("3m"), make("3m")
    for each in (env, same):
        each.reset()
    with pytest.raises(ValueError, match=message):
        env.reset(**request_)
    assert_same(play(env, env.reset(), 20), play(same, same.reset(), 20))


def test_whole_numbers_may_be_numpys() -> None:
    numbers = {"num_envs": np.int64(4), "seed": np.uint8(3), "threads": np.int32(2)}
    env, same = make("3m", **numbers), make("3m", num_envs=4, seed=3, threads=2)
    assert type(env.num_envs) is int
    assert_same(play(env, env.reset(seed=np.int64(5)), 5), play(same, same.reset(seed=5), 5))
    with pytest.raises(ValueError, match=r"seed must be a whole number, not 0\.5"):
        env.reset(seed=0.5)


def now_inert(env: Smac | SmacV2) -> torch.Tensor:
    """(B, N) the inert action, no-op for the dead."""
    alive = env._games._now.alive
    return torch.where(alive, env.spec.inert_action, 0)


def test_a_finished_game_keeps_its_last_look_and_earns_nothing() -> None:
    env = make("3m", num_envs=2)
    now = env.reset()
    while not now.terminated.any() and not now.truncated.any():
        now = env.step(now.avail_actions.float().argmax(-1))
    over = now.terminated | now.truncated
    obs, won = now.obs[over].clone(), now.info["won"][over].clone()
    actions = torch.where(over[:, None], torch.full((2, 3), 99), now.avail_actions.float().argmax(-1))
    now = env.step(actions)
    assert torch.equal(now.obs[over], obs)
    assert torch.equal(now.info["won"][over], won)
    assert not now.reward[over].any()
    now = env.reset(mask=over)
    assert not (now.terminated | now.truncated)[over].any()


@pytest.mark.parametrize("goes_on", [False, True])
def test_the_time_limit_ends_an_episode_unless_it_goes_on(goes_on: bool) -> None:
    """The enemy of 2s_vs_1sc cannot move, so an idle team meets the limit."""
    env = make("2s_vs_1sc", num_envs=2, continuing_episode=goes_on)
    game = PymarlEnv(make("2s_vs_1sc", num_envs=1, continuing_episode=goes_on))
    now, stop = env.reset(), env.spec.inert_action
    game.reset()
    for _ in range(env.spec.episode_limit):
        assert not (now.terminated | now.truncated).any()
        now, (_, over, info) = env.step(torch.full((2, 2), stop)), game.step([stop, stop])
    assert now.terminated.tolist() == [not goes_on] * 2
    assert now.truncated.tolist() == [goes_on] * 2
    assert now.info["timeout"].tolist() == [1.0, 1.0]
    assert over
    assert info.get("episode_limit", False) == goes_on
    assert (game.get_stats()["timeouts"], game.get_stats()["battles_draw"], game.get_stats()["win_rate"]) == (1, 1, 0)


@pytest.mark.parametrize("kind", BATTLES)
def test_what_a_time_limit_means_changes_no_battle(kind: str) -> None:
    ends, goes_on = make(kind), make(kind, continuing_episode=True)
    for a, b in zip(play(ends, ends.reset(), 150), play(goes_on, goes_on.reset(), 150), strict=True):
        assert torch.equal(a.pop("terminated") | a.pop("truncated"), b.pop("terminated") | b.pop("truncated"))
        assert_same([a], [b])
    assert ends.spec.fingerprint == goes_on.spec.fingerprint


@pytest.mark.parametrize("action", [0, 6, -1, 9, 10**6])
def test_illegal_actions_move_nobody(action: int) -> None:
    env = make("3m", num_envs=2)
    now = env.reset()
    obs, state = now.obs.clone(), now.state.clone()
    actions = torch.ones(2, 3, dtype=torch.long)
    actions[1, 2] = action
    with pytest.raises(ValueError, match=f"(?s)action {action} of agent 2 in game 1.*legal") as error:
        env.step(actions)
    assert "[1, 2, 3, 4, 5]" in str(error.value)
    assert torch.equal(env._games._now.obs, obs)
    assert torch.equal(env._games._now.state, state)


def test_fewer_hit_points_at_the_start() -> None:
    env = make("2s3z")
    healthy = env.reset(seed=3)
    names = env.spec.obs_names
    health, shield = names.index("own: health"), names.index("own: shield")
    assert torch.equal(healthy.obs[..., health], torch.ones(6, 5))
    env.configure(ally_health=0.85)
    assert torch.equal(healthy.obs[..., health], torch.ones(6, 5))  # from the next reset on
    weak = env.reset(seed=3)
    torch.testing.assert_close(weak.obs[..., health], torch.full((6, 5), 0.85))
    assert torch.equal(weak.obs[..., shield], torch.ones(6, 5))
    scale = torch.from_numpy(env._games.engine.arena.memory.max_reward)
    torch.testing.assert_close(scale, torch.full((6,), 1020.0).double())
    env.configure()  # conditions that are not named return to their defaults
    assert torch.equal(env.reset(seed=3).obs[..., health], torch.ones(6, 5))
    for options in ({"enemy_health": 1.0}, {"ally_health": 0.0}, {"ally_health": 1.5}):
        with pytest.raises(ValueError, match="ally_health"):
            env.configure(**options)


def test_fingerprints_tell_battles_apart() -> None:
    base = make("3m", num_envs=1)
    same = make("3m", num_envs=3, seed=1, threads=2)
    others = [
        make("3m", num_envs=1, obs_last_action=True),
        make("3m", num_envs=1, stats="liberty"),
        make("8m", num_envs=1),
    ]
    assert same.spec.fingerprint == base.spec.fingerprint
    assert len({env.spec.fingerprint for env in [base, *others]}) == 4
    assert base.spec.fingerprint.startswith("skirmish-")
    assert "/smac/3m/" in base.spec.fingerprint
    assert "/smacv2/zerg_5_vs_5_epo/" in make("zerg_5_vs_5_epo", num_envs=1).spec.fingerprint


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Smac(map_name="3n"), "Unknown SMAC map '3n'.*3m"),
        (lambda: Smac(map_name=["3m"]), r"Unknown SMAC map \['3m'\]"),
        (lambda: SmacV2(scenario="teran_5_vs_5"), "did you mean terran_5_vs_5"),
        (lambda: make("3m").load_state_dict({}), "no saved battle"),
        (lambda: make("3m").load_state_dict({"arrays": {"units.x": [0.0]}}), "no saved battle"),
        (lambda: Smac(num_envs=0), "num_envs must be a whole number of at least 1"),
        (lambda: Smac(num_envs=True), "num_envs must be a whole number of at least 1, not True"),
        (lambda: Smac(num_envs=2.0), "num_envs must be a whole number of at least 1, not 2.0"),
        (lambda: Smac(seed=1.5), "seed must be a whole number, not 1.5"),
        (lambda: Smac(seed=2**64), "The seed must be a whole number of at most 64 bits"),
        (lambda: Smac(threads=0), "threads must be a whole number of at least 1, not 0"),
        (lambda: Smac(device="cuda"), "device='cuda'"),
        (lambda: Smac(engine="skirmish", heuristic_ai=True), "heuristic_ai=True cannot be played"),
        (
            lambda: Smac(engine="skirmish", obs_terrain_height=True),
            "obs_terrain_height=True cannot be .*no terrain height",
        ),
    ],
)
def test_bad_requests(build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_pymarl_reads_the_same_battle() -> None:
    env, game = make("3m", num_envs=1, seed=2), PymarlEnv(make("3m", num_envs=1, seed=2))
    now, (obs, state) = env.reset(), game.reset()
    info = game.get_env_info()
    assert (info["obs_shape"], info["state_shape"], info["n_actions"]) == (30, 48, 9)
    over, total = False, 0.0
    while not over:
        assert torch.equal(now.obs[0], torch.from_numpy(np.stack(obs)))
        assert torch.equal(now.state[0], torch.from_numpy(state))
        assert now.avail_actions[0].int().tolist() == game.get_avail_actions()
        actions = now.avail_actions.float().argmax(-1)
        now = env.step(actions)
        reward, over, shown = game.step(actions[0].tolist())
        obs, state, total = game.get_obs(), game.get_state(), total + reward
        assert reward == now.reward[0]
        assert shown["dead_allies"] == now.info["dead_allies"][0]
        enemies_in_sight = now.obs[0, :, 5:19:5] > 0  # their distances
        np.testing.assert_array_equal(game.get_visibility_matrix()[:, 3:], enemies_in_sight)
    assert game.get_stats()["battles_game"] == 1
    assert "episode_limit" not in shown
    with pytest.raises(ValueError, match="one game at a time"):
        PymarlEnv(make("3m", num_envs=2))


@pytest.mark.parametrize("kind", ["3m", "MMM", "2s3z", "terran_5_vs_5", "protoss_5_vs_5"])
@pytest.mark.parametrize("second", [{}, {"conic_fov": True}])
def test_the_state_is_made_of_the_features_that_pymarl_is_told(kind: str, second: dict) -> None:
    info = PymarlEnv(make(kind, num_envs=1, **(second if "_vs_" in kind else {}))).get_env_info()
    agent, enemy = info["agent_features"], info["enemy_features"]
    enemies = 10 if kind == "MMM" else 3 if kind == "3m" else 5
    rows = info["n_agents"] * (len(agent) + info["n_actions"]) + enemies * len(enemy)
    assert rows == info["state_shape"]
    assert (agent[:4], enemy[:3]) == (["health", "energy/cooldown", "rel_x", "rel_y"], ["health", "rel_x", "rel_y"])
    assert ("shield" in agent) == (kind in ("2s3z", "protoss_5_vs_5"))
    assert ("type_2" in enemy) == (kind not in ("3m", "2s3z"))


def test_masked_enemies_and_failing_attacks() -> None:
    """Capabilities: an enemy masked for an agent shows where it is and nothing else; attack shares stay in range."""
    config = {
        "attack": {"dist_type": "per_agent_uniform", "lower_bound": [0.3], "upper_bound": [0.6], "observe": True},
        "enemy_mask": {"dist_type": "mask", "mask_probability": 0.0},
    }
    env = make("protoss_5_vs_5", capability_config=config, fully_observable=True)
    now, names = env.reset(), env.spec.obs_names
    share = now.obs[..., names.index("own: attack probability")]
    assert ((share >= 0.3) & (share <= 0.6)).all()
    assert share.unique().numel() > 10
    hidden = [
        k
        for k, name in enumerate(names)
        if name.startswith("enemy") and not name.endswith(("targeted", "distance", "x", "y"))
    ]
    place = [k for k, name in enumerate(names) if name.startswith("enemy") and name.endswith("distance")]
    assert not now.obs[..., hidden].any()
    assert now.obs[..., place].any()
