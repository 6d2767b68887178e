"""Options, sizes, names and capabilities of SMAC and SMACv2: what is asked for in words, before any battle."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ibal_lightning.envs.skirmish.capabilities import apply_capabilities, complete, shipped_capabilities
from ibal_lightning.envs.skirmish.catalogue import load_facts, smac_maps, smac_scenario, smacv2_scenario
from ibal_lightning.envs.skirmish.names import action_names, obs_names
from ibal_lightning.envs.skirmish.options import FIXED, Options, SmacOptions, smac_options, smacv2_options
from ibal_lightning.envs.skirmish.rules import RULES, make_rules
from ibal_lightning.envs.smac import Smac
from ibal_lightning.envs.smacv2 import SmacV2, find_scenario
from ibal_lightning.signatures import runtime_options, static_options

# obs, state, actions measured with the genuine smacv2.
SECOND_SIZES = {
    "terran_5_vs_5": (82, 120, 11), "zerg_5_vs_5": (82, 120, 11), "protoss_5_vs_5": (92, 130, 11),
    "terran_10_vs_10": (162, 290, 16), "zerg_10_vs_10": (162, 290, 16), "protoss_10_vs_10": (182, 310, 16),
    "terran_20_vs_20": (322, 780, 26), "zerg_20_vs_20": (322, 780, 26), "protoss_20_vs_20": (362, 820, 26),
    "terran_10_vs_11": (170, 306, 17), "zerg_10_vs_11": (170, 306, 17), "protoss_10_vs_11": (191, 327, 17),
    "terran_20_vs_23": (346, 858, 29), "zerg_20_vs_23": (346, 858, 29), "protoss_20_vs_23": (389, 901, 29),
}  # fmt: skip
SHIPPED = {"obs_own_pos": True, "use_unit_ranges": True}  # of SMACv2's YAML files


@pytest.mark.parametrize("name", smac_maps())
def test_smac_sizes(name: str) -> None:
    facts, rules = load_facts("maps")["maps"][name], make_rules(smac_scenario(name), smac_options({}))
    assert (rules.obs_dim, rules.state_dim, rules.n_actions) == (
        facts["obs_size"], facts["state_size"], facts["n_actions"],
    )  # fmt: skip


@pytest.mark.parametrize("name", SECOND_SIZES)
def test_smacv2_sizes(name: str) -> None:
    rules = make_rules(smacv2_scenario(name), smacv2_options(SHIPPED))
    assert (rules.obs_dim, rules.state_dim, rules.n_actions) == SECOND_SIZES[name]


FLAGS = [field.name for field in dataclasses.fields(Options) if field.type == "bool"]
FIRST_FLAGS = [field.name for field in dataclasses.fields(SmacOptions) if field.type == "bool"]


@pytest.mark.parametrize("flag", [None, *FIRST_FLAGS])
@pytest.mark.parametrize("name", ["3m", "2s3z", "MMM"])
def test_every_feature_of_smac_has_one_name(name: str, flag: str | None) -> None:
    options = smac_options({} if flag is None else {flag: not getattr(Options(), flag), "obs_own_health": True})
    check_names(smac_scenario(name), make_rules(smac_scenario(name), options))


@pytest.mark.parametrize("flag", [None, *FLAGS])
@pytest.mark.parametrize("name", ["protoss_5_vs_5", "terran_10_vs_11"])
def test_every_feature_of_smacv2_has_one_name(name: str, flag: str | None) -> None:
    changed = {} if flag is None else {flag: not getattr(Options(), flag)}
    changed.pop("reward_only_positive", None)  # levels of health forbid it
    options = smacv2_options({"obs_timestep_number": flag == "obs_starcraft", **changed})
    drawn = {"attack": bounds(0.5, 1), "health": bounds(0.1, 0.5)}
    scenario, capabilities = apply_capabilities(smacv2_scenario(name), drawn)
    check_names(scenario, make_rules(scenario, options, capabilities=capabilities))


def check_names(scenario, rules) -> None:
    names = obs_names(scenario, rules)
    assert len(names) == rules.obs_dim == len(set(names))
    assert len(action_names(rules)) == rules.n_actions == len(set(action_names(rules)))


def test_names_say_what_stands_where() -> None:
    scenario = smac_scenario("2s3z")
    names = obs_names(scenario, make_rules(scenario, smac_options({})))
    assert names[:4] == ("can move north", "can move south", "can move east", "can move west")
    assert names.index("enemy 3: health") == 4 + 3 * 8 + 4
    assert names.index("ally 1: relative x") == 4 + 5 * 8 + 2
    # SMAC's types are reversed between the sides.
    assert names.index("enemy 0: is zealot") < names.index("enemy 0: is stalker")
    assert names.index("ally 1: is stalker") < names.index("ally 1: is zealot")
    assert names[-4:] == ("own: health", "own: shield", "own: is stalker", "own: is zealot")


def test_a_medivacs_targets_are_named() -> None:
    rules = make_rules(smac_scenario("MMM"), smac_options({}))
    assert action_names(rules)[6] == "attack enemy 0 / heal ally 0"


@pytest.mark.parametrize(("env", "own"), [(Smac, {}), (SmacV2, SHIPPED)])
def test_constructors_take_every_genuine_flag_with_its_default(env: type, own: dict) -> None:
    given = {name: option.default for name, option in runtime_options(env).items()}
    kind = SmacOptions if env is Smac else Options
    expected = {field.name: getattr(Options(), field.name) for field in dataclasses.fields(kind)} | own
    expected |= {name: value for name, (value, _) in FIXED.items()}
    by_scenario = {} if env is Smac else {"prob_obs_enemy": None, "action_mask": None}
    assert {name: given[name] for name in expected} == expected | by_scenario


@pytest.mark.parametrize("name", FIXED)
def test_flags_that_cannot_be_played_are_refused_with_a_reason(name: str) -> None:
    played, reason = FIXED[name]
    smac_options({name: played})
    with pytest.raises(ValueError, match=name) as refusal:
        smac_options({name: "other"})
    assert reason in str(refusal.value)
    other = {"difficulty": "A", "replay_dir": "there", "replay_prefix": "a", "game_version": "4.10"}
    smac_options({name: other.get(name, 4 if isinstance(played, int) and played > 1 else True)}, genuine=True)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"obs_last_actoin": True}, "did you mean obs_last_action"),
        ({"conic_fov": True}, "smac has no option 'conic_fov'"),
        ({"obs_last_action": "yes"}, "obs_last_action must be a finite bool"),
        ({"reward_win": True}, "reward_win must be a finite float"),
        ({"reward_win": float("nan")}, "reward_win must be a finite float"),
        ({"move_amount": 0}, "move_amount must be positive"),
        ({"move_amount": 1.5, "obs_pathing_grid": True}, "whole move_amount"),
        ({"reward_scale_rate": 0}, "reward_scale_rate must be positive"),
    ],
)
def test_bad_flags_of_smac(flags: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        smac_options(flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"prob_obs_enemy": 1.5}, "prob_obs_enemy must lie in"),
        ({"num_fov_actions": 0}, "num_fov_actions must be at least 1"),
        ({"num_fov_actions": 2.5}, "num_fov_actions must be a finite int"),
        ({"min_attack_range": -1}, "min_attack_range must not be negative"),
        ({"obs_starcraft": False}, "leaves the observation empty"),
        ({"kill_unit_step_mul": 2.5}, "kill_unit_step_mul must be a finite int"),
    ],
)
def test_bad_flags_of_smacv2(flags: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        smacv2_options(flags)


def test_numpy_values_are_values() -> None:
    flags = {"reward_win": np.float32(3), "obs_all_health": np.bool_(False), "num_fov_actions": np.int64(3)}
    assert smacv2_options(flags) == smacv2_options({"reward_win": 3.0, "obs_all_health": False, "num_fov_actions": 3})


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ({"difficulty": "B"}, "difficulty='B': the package has no such text"),
        ({"difficulty": 7}, "did you mean 7"),
        ({"step_mul": None}, "step_mul must be a whole number above 0"),
        ({"heuristic_ai": "no"}, "heuristic_ai must be true or false"),
    ],
)
def test_what_the_genuine_package_would_stumble_over(flag: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        smac_options(flag, genuine=True)
    smac_options({"difficulty": "A", "step_mul": 4, "heuristic_ai": True, "replay_dir": "x"}, genuine=True)


def test_epo_scenarios_hide_and_widen() -> None:
    scenario, own = find_scenario("zerg_5_vs_5_epo")
    assert (scenario.name, own) == ("zerg_5_vs_5_epo", {"prob_obs_enemy": 0.0, "action_mask": False})
    assert find_scenario("zerg_5_vs_5")[1] == {"prob_obs_enemy": 1.0, "action_mask": True}
    with pytest.raises(ValueError, match="did you mean zerg_5_vs_5"):
        find_scenario("zerg_5vs_5")


def test_rules_of_all_battles_compile_once() -> None:
    """One record type, whatever the battle and however a number was written: each other type would be compiled anew."""
    for scenario, options in [
        (smac_scenario("3m"), smac_options({"reward_win": 1, "move_amount": 2.5})),
        (smacv2_scenario("zerg_20_vs_23"), smacv2_options({"conic_fov": True, "num_fov_actions": 7})),
    ]:
        assert make_rules(scenario, options).dtype == RULES


def test_more_agents_than_enemies_gives_medivacs_their_targets() -> None:
    scenario, _ = apply_capabilities(smacv2_scenario("terran_5_vs_5"), {"n_units": 7, "n_enemies": 4})
    assert make_rules(scenario, smacv2_options(SHIPPED)).n_actions == 6 + 7
    scenario, _ = apply_capabilities(smacv2_scenario("zerg_5_vs_5"), {"n_units": 7, "n_enemies": 4})
    assert make_rules(scenario, smacv2_options(SHIPPED)).n_actions == 6 + 4


@pytest.mark.parametrize("name", SECOND_SIZES)
def test_shipped_capabilities_describe_the_scenario(name: str) -> None:
    scenario = smacv2_scenario(name)
    again, _ = apply_capabilities(scenario, shipped_capabilities(scenario))
    assert (again.teams, again.n_agents, again.n_enemies) == (scenario.teams, scenario.n_agents, scenario.n_enemies)


def team(*units: str) -> dict:
    """Weighted teams of these units, all alike."""
    return {"dist_type": "weighted_teams", "unit_types": list(units), "weights": [1 / max(len(units), 1)] * len(units)}


def bounds(low: float, high: float) -> dict:
    """Attack probabilities in that range."""
    return {"dist_type": "per_agent_uniform", "lower_bound": [low], "upper_bound": [high]}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"health": {"dist_type": "per_agent_uniform"}}, "health.lower_bound is missing"),
        ({"health": bounds(1, 1)}, "health.lower_bound must lie below 1"),
        ({"team_gen": team("marine") | {"dist_type": ["weighted_teams"]}}, r"dist_type=\['weighted_teams'\] cannot be"),
        ({"team_gen": team("marine") | {"exception_unit_types": "medivac"}}, "exception_unit_types must be a list"),
        ({"team_gen": team("marine") | {"exception_unit_types": 3}}, "exception_unit_types must be a list"),
        ({"team_gen": team("marine") | {"dist_type": "all_teams"}}, "all_teams draws every team alike"),
        (
            {"n_enemies": 6, "team_gen": {"dist_type": "all_teams", "unit_types": ["marine"]}},
            "n_units must equal n_enemies",
        ),
        ({"atack": {}}, "did you mean attack"),
        ({"start_positions": {"dist_type": "fixed"}}, "start_positions.dist_type='fixed' cannot be played"),
        ({"enemy_mask": {"dist_type": "mask", "mask_probability": 2}}, r"mask_probability must lie in \[0, 1\]"),
        (
            {"team_gen": {"dist_type": "weighted_teams", "unit_types": ["zealot"], "weights": [1]}},
            "unknown unit 'zealot'",
        ),
        ({"team_gen": {"dist_type": "weighted_teams", "unit_types": ["marine"], "weights": [0.5]}}, "add up to 1"),
        ({"n_units": 0}, "n_units must be a whole number from 1 to 441"),
        ({"n_enemies": 10**12}, "n_enemies must be a whole number from 1 to 441"),
        ({"team_gen": 3}, "team_gen must be a mapping with a dist_type, not 3"),
        ({"team_gen": {"unit_types": ["marine"]}}, "team_gen.dist_type is missing"),
        ({"team_gen": team() | {"exception_unit_type": []}}, "no key 'exception_unit_type'; did you mean exception_"),
        ({"team_gen": {"dist_type": "weighted_teams", "weights": [1]}}, "team_gen.unit_types is missing"),
        ({"team_gen": {"dist_type": "weighted_teams", "unit_types": ["marine"]}}, "team_gen.weights is missing"),
        ({"team_gen": team("marine", "mariner")}, "unknown unit 'mariner' for this race; did you mean marine"),
        ({"team_gen": team("marine") | {"unit_types": "marine"}}, "unit_types must be a list"),
        ({"team_gen": team("marine") | {"weights": ["all"]}}, "1 shares that add up to 1"),
        ({"team_gen": team("marine") | {"exception_unit_types": ["marine"]}}, "every unit type is an exception"),
        ({"team_gen": team("marine", "marauder", "medivac", "marine")}, "at most 3 units, not 4"),
        ({"start_positions": {"dist_type": "surrounded_and_reflect"}}, "start_positions.p is missing"),
        ({"start_positions": {"dist_type": "surrounded", "map_x": 64}}, "map_x must be 32, the map's size, not 64"),
        ({"attack": {"dist_type": "per_agent_uniform", "upper_bound": [1]}}, "attack.lower_bound is missing"),
        ({"attack": bounds(0.8, 0.2)}, "lower_bound=0.8 lies above upper_bound=0.2"),
        ({"attack": bounds(0.1, 0.2) | {"upper_bound": [0.2, 0.3]}}, "upper_bound must lie in"),
        ({"enemy_mask": {"dist_type": "mask"}}, "enemy_mask.mask_probability is missing"),
        (7, "capability_config must be a mapping, not 7"),
    ],
)
def test_bad_capabilities(config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        apply_capabilities(smacv2_scenario("terran_5_vs_5"), config)


def test_the_package_is_given_a_whole_config_with_all_that_it_insists_on() -> None:
    config = complete(smacv2_scenario("zerg_5_vs_5"), {"attack": bounds(0.5, 1) | {"lower_bound": 0.5}})
    assert config["attack"] == bounds(0.5, 1) | {"observe": True}
    assert config["start_positions"]["dist_type"] == "surrounded_and_reflect"
    assert (config["n_units"], config["n_enemies"]) == (5, 5)
    own = {"dist_type": "weighted_teams", "unit_types": ["zergling"], "weights": [1.0]}
    config = complete(smacv2_scenario("zerg_5_vs_5"), {"team_gen": own})
    assert config["team_gen"] == own | {"observe": True}
    assert "start_positions" not in config


def test_fixed_maps_have_no_capabilities() -> None:
    with pytest.raises(ValueError, match="fixed teams"):
        apply_capabilities(smac_scenario("3m"), {"n_units": 4})


@pytest.mark.parametrize(("env", "module"), [(Smac, "smac"), (SmacV2, "smacv2")])
def test_the_command_line_knows_every_flag_without_importing_the_engine(env: type, module: str) -> None:
    assert static_options(f"ibal_lightning.envs.{module}", env.__name__) == runtime_options(env)
