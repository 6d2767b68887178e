"""Every choice that any installed distribution offers composes, and what it composes to can be built."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import optuna
import pytest
from hydra import compose, initialize
from omegaconf import DictConfig, OmegaConf

from ibal_lightning import plugins
from ibal_lightning.attack import Threat
from ibal_lightning.cli.app import main, prepare, verbs
from ibal_lightning.cli.availability import availability
from ibal_lightning.cli.list import chosen_from
from ibal_lightning.cli.naming import task
from ibal_lightning.cli.search_space import Space
from ibal_lightning.env import Env
from ibal_lightning.offers import SUPPLIED, config_folder, names, offers
from ibal_lightning.types import EnvSpec

CONFIGS = config_folder("ibal_lightning")
assert CONFIGS is not None
SWEEPS = Path(__file__).parents[2] / "sweeps"
USABLE = [key for key, items in sorted(offers().items()) if availability(items)[0]]
CHOICES = [(group, name) for group, name in USABLE if chosen_from(group)]
ELSEWHERE = ("estimator", "sweep")  # chosen inside attacks, and by another command
IN_MAIN_JOB = [(group, name) for group, name in CHOICES if group not in ELSEWHERE]
REQUIRED = {"ega": ["weights"]}  # released files of others, which we do not ship


def composed(*overrides: str) -> DictConfig:
    """The config of ``train``."""
    prepare()
    with initialize(config_path=None, version_base="1.3"):
        return compose(config_name="train", overrides=list(overrides))


@pytest.fixture(scope="module")
def spec() -> EnvSpec:
    """Sizes of a small game of three players."""
    env = plugins.choice("env", "lbf")
    env.task = "Foraging-5x5-3p-1f-v3"
    return plugins.build(env, num_envs=1, seed=0).spec


@pytest.mark.parametrize(("group", "name"), IN_MAIN_JOB, ids=lambda word: word)
def test_every_choice_composes_into_the_main_job(group: str, name: str) -> None:
    config = composed(f"{group}={name}")
    if group in SUPPLIED:
        missing = {key.rpartition(".")[2] for key in OmegaConf.missing_keys(config[group])}
        required = set(REQUIRED.get(name, []))
        assert missing == required, f"{group}={name} alone does not run: {missing} have no default"


@pytest.mark.parametrize("name", [name for group, name in CHOICES if group == "sweep"])
def test_every_search_composes_and_varies_options_that_its_runs_have(name: str) -> None:
    prepare()
    with initialize(config_path=None, version_base="1.3"):
        sweep = compose(config_name="sweep", overrides=[f"sweep={name}"])
    assert sweep.name == name
    space = Space.parse(OmegaConf.to_container(sweep.space), list(sweep.overrides))
    composed(*sweep.overrides, *space.words(space.suggest(optuna.create_study().ask())))


@pytest.mark.parametrize("name", [name for group, name in CHOICES if group == "env"])
def test_every_env_builds(name: str) -> None:
    env = plugins.build(plugins.choice("env", name), num_envs=2, seed=0)
    assert isinstance(env, Env)
    assert env.num_envs == 2
    env.close()


@pytest.mark.parametrize("name", ["smac", "smacv2"])
def test_commands_let_time_limits_cut_episodes_although_constructors_end_them(name: str) -> None:
    assert plugins.choice("env", name).continuing_episode is True


@pytest.mark.parametrize("name", [name for group, name in CHOICES if group == "backbone"])
def test_every_backbone_builds(name: str, spec: EnvSpec) -> None:
    backbone = plugins.build(plugins.choice("backbone", name), spec)
    assert backbone.initial_hidden(2).shape[:2] == (2, spec.n_agents)


@pytest.fixture(scope="module")
def battle_spec() -> EnvSpec:
    """Sizes of 3m, whose observations name allies."""
    return plugins.build(plugins.choice("env", "smac"), num_envs=1, seed=0).spec


@pytest.mark.parametrize("name", [name for group, name in CHOICES if group == "attack" and name not in REQUIRED])
def test_every_attack_builds(name: str, battle_spec: EnvSpec) -> None:
    attack = plugins.build(plugins.choice("attack", name), battle_spec, Threat())
    assert attack.spec is battle_spec


@pytest.mark.parametrize("name", [name for group, name in CHOICES if group == "estimator"])
def test_every_estimator_builds(name: str) -> None:
    assert plugins.build(plugins.choice("estimator", name), 2, 3).bound in ("lower", "upper", "model")


@pytest.mark.parametrize("name", [name for group, name in CHOICES if group == "regularizer"])
def test_every_regularizer_builds(name: str, spec: EnvSpec) -> None:
    assert plugins.build(plugins.choice("regularizer", name), spec).spec is spec


@pytest.mark.parametrize("name", [name for group, name in CHOICES if group == "logger"])
def test_every_logger_builds(name: str, tmp_path: Path) -> None:
    logger = plugins.build(plugins.choice("logger", name)[name], save_dir=str(tmp_path))
    logger.log_metrics({"x": 1.0}, step=1)


def test_the_command_line_overrules_the_method() -> None:
    assert composed("method=ibal", "attack=dis_2").attack.count == 2
    assert composed("method=random_obs").attack["_target_"].endswith("RandomObs")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["env=smac"], "3m"),
        (["env=smacv2"], "terran_5_vs_5"),
        (["env=lbf", "env.device=cpu"], "Foraging-8x8-2p-3f-v3"),
        (["env=matrix_game"], "climbing"),
    ],
)
def test_a_run_is_named_after_its_task(words: list[str], name: str) -> None:
    assert task(composed(*words)) == name


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("", "ibal"),
        ("method=vanilla", "vanilla"),
        ("attack=fgsm", "fgsm"),
        ("method=vanilla attack=disabled", "disabled"),
        ("method=ibal_no_obs attack=ibal_no_obs", "ibal_no_obs"),
        ("experiment=ibal_ceilings attack=hp_15", "ceiling_of_hp_15"),
    ],
)
def test_a_run_is_called_by_what_it_trained_against(words: str, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):
        main(["--config-dir", str(SWEEPS), *words.split(), "--cfg", "job", "-p", "method_name"])
    assert capfd.readouterr().out.strip() == name


@pytest.mark.parametrize("name", sorted(path.stem for path in SWEEPS.glob("experiment/ibal_*.yaml")))
def test_a_sweep_of_the_protocol_goes_on_from_a_policy_as_finetune_does(name: str) -> None:
    sweeps = f"hydra.searchpath=[file://{SWEEPS}]"
    swept, finetune = composed(sweeps, f"experiment={name}").backbone, composed("experiment=finetune").backbone
    assert (swept.epsilon_start, swept.lr) == (finetune.epsilon_start, finetune.lr) == (0.05, 5e-4)


def test_list_shows_what_is_offered(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    for group, name in offers():
        if chosen_from(group):
            assert re.search(rf"\b{re.escape(name)}\b", said), f"{group}={name} is not listed"


def test_files_entry_points_and_choices_agree() -> None:
    files = {(path.parent.name, path.stem) for path in CONFIGS.glob("*/*.yaml")}
    assert files <= set(offers())
    for group in SUPPLIED:
        assert {name for found, name in files if found == group} <= set(names(group))
    commands = {path.stem for path in (Path(plugins.__file__).parent / "cli").glob("*.py")}
    assert {verb.replace("-", "_") for verb in verbs()} <= commands


# words, key of the composed config, value: each from the source that the preset's file names
PROFILES = [
    ("training=fast", "backbone.target_tau", 0.02),
    ("training=fast backbone=vdn env=lbf", "training.updates_per_episode", 0.5),
    ("training=fast backbone=mappo", "training.updates_per_episode", 0.125),
    ("training=faithful", "training.num_envs", 1),
    ("training=faithful backbone=qplex", "backbone.optimizer", "rmsprop"),
    ("training=faithful", "backbone.td_lambda", 0.0),
    ("training=faithful backbone=mappo", "training.env_steps", 10_000_000),
    ("training=faithful backbone=mappo env.map_name=3m", "backbone.epochs", 15),
    ("training=faithful backbone=ippo env.map_name=5m_vs_6m", "backbone.epochs", 10),
    ("training=faithful backbone=mappo env.map_name=5m_vs_6m", "backbone.clip", 0.05),
    ("training=faithful backbone=mappo env.map_name=corridor", "backbone.use_rnn", False),
    ("training=faithful backbone=mappo env.map_name=3s_vs_4z", "backbone.use_rnn", True),
    ("training=faithful backbone=mappo env=smacv2 env.scenario=zerg_5_vs_5", "backbone.use_rnn", True),
    ("training=faithful backbone=ippo env=smacv2 env.scenario=terran_5_vs_5", "backbone.use_rnn", False),
    ("training=faithful backbone=mappo env.map_name=MMM2", "backbone.minibatches", 2),
    ("training=faithful backbone=mappo env.map_name=MMM2 training.num_envs=5", "backbone.minibatches", 1),
    ("training=fast backbone=mappo", "backbone.minibatches", 4),
    ("training=fast backbone=mappo env=smacv2", "backbone.minibatches", 1),
    ("training=fast backbone=mappo training.num_envs=6", "backbone.minibatches", 3),
    ("training=fast backbone=ippo training.num_envs=7", "backbone.minibatches", 1),
    ("training=fast backbone=ippo debug=fast training.num_envs=2", "backbone.minibatches", 2),
    ("training=fast backbone=mappo training.num_envs=6 backbone.minibatches=4", "backbone.minibatches", 4),
    ("training=faithful backbone=mappo env=smacv2 env.scenario=zerg_5_vs_5", "backbone.epochs", 5),
    ("training=faithful backbone=mappo env=smacv2", "training.env_steps", 20_000_000),
    ("training=pymarl2 env.map_name=6h_vs_8z", "backbone.td_lambda", 0.3),
    ("training=pymarl2 env.map_name=6h_vs_8z", "backbone.epsilon_anneal", 500_000),
    ("training=pymarl2 env.map_name=8m", "backbone.td_lambda", 0.6),
    ("training=pymarl2 backbone=vdn env.map_name=6h_vs_8z", "backbone.td_lambda", 0.6),
    ("training=pymarl2 backbone=qplex env.map_name=6h_vs_8z", "backbone.epsilon_anneal", 100_000),
    ("training=pymarl2 backbone=qplex env.map_name=3s5z_vs_3s6z", "training.num_envs", 8),
    ("training=pymarl2 env.map_name=3s5z_vs_3s6z", "training.num_envs", 4),
    ("training=pymarl2 backbone=vdn", "env.continuing_episode", False),
    ("training=faithful", "env.continuing_episode", False),
    ("training=faithful env=smacv2", "env.continuing_episode", False),
    ("training=faithful env.continuing_episode=true", "env.continuing_episode", True),
    ("training=faithful backbone=mappo", "env.continuing_episode", False),
    ("training=fast env=smacv2", "env.continuing_episode", True),
    ("backbone=mappo", "env.continuing_episode", True),
    ("", "env.continuing_episode", True),
    ("training=faithful", "training.env_steps", 3_050_000),
    ("training=faithful env=smacv2 backbone=vdn", "training.env_steps", 10_050_000),
    ("training=faithful env=lbf backbone=qplex", "training.env_steps", 2_050_000),
    ("training=pymarl2 env.map_name=3s5z_vs_3s6z", "backbone.hidden_dim", 256),
    ("training=pymarl2 backbone=qplex", "backbone.num_kernel", 4),
    ("training=pymarl2 backbone.td_lambda=0.9 env.map_name=6h_vs_8z", "backbone.td_lambda", 0.9),
    ("experiment=finetune training=faithful", "backbone.epsilon_start", 0.05),
    ("experiment=finetune training=faithful", "backbone.optimizer", "rmsprop"),
]


@pytest.mark.parametrize(("words", "key", "value"), PROFILES)
def test_a_profile_fits_the_backbone_and_the_map(words: str, key: str, value: object) -> None:
    assert OmegaConf.select(composed(*words.split()), key) == value


@pytest.mark.parametrize("profile", ["fast", "faithful", "pymarl2"])
@pytest.mark.parametrize("backbone", ["vdn", "qmix", "qplex", "mappo", "ippo"])
def test_every_profile_builds_every_backbone(profile: str, backbone: str, spec: EnvSpec) -> None:
    config = composed(f"training={profile}", f"backbone={backbone}", "env=lbf")
    assert plugins.build(config.backbone, spec).spec is spec


def test_an_experiment_may_set_anything_that_the_main_file_sets(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nseed: 7\nevaluation: {attacks: [natural]}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    prepare()
    with initialize(config_path=None, version_base="1.3"):
        words = [f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine"]
        config = compose(config_name="train", overrides=words, return_hydra_config=False)
    assert config.seed == 7
    assert list(config.evaluation.attacks) == ["natural"]


def test_every_method_is_evaluated_under_the_same_interaction_breaking() -> None:
    """Whatever IBAL's training starts from, the attack that tables compare by strikes with one probability."""
    assert composed().evaluation.attacks[-1] == "ibal_fitted"
    assert composed("attack=ibal_fitted").attack.p_floor == 0.25
    assert composed("attack=ibal").attack.p_floor == 0.1
