"""The plugin door: what a third party gives is offered, refused or reported by name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize, initialize_config_dir
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf

from ibal_lightning import plugins
from ibal_lightning.attack import Threat
from ibal_lightning.offers import SUPPLIED, PluginError, names, offers
from ibal_lightning.signatures import NotStatic, runtime_options, static_options
from ibal_lightning.types import EnvSpec

Install = Callable[..., Path]
ATTACK = """
    from ibal_lightning.attack import Attack

    class Theirs(Attack):
        def __init__(self, spec, threat, *, rate: float = 0.5, mode: str = "hard", needed: int):
            super().__init__(spec, threat)
            self.rate, self.mode, self.needed = rate, mode, needed
"""
ENTRY = {"ibal_lightning.attack": {"theirs": "their_attack:Theirs"}}
SPEC = EnvSpec(2, 3, 4, 5, 6, ("a",) * 4, ("b",) * 3, torch.zeros(4), "test")


def composed(*overrides: str) -> DictConfig:
    """The config of ``train`` without anything of Hydra's own."""
    from ibal_lightning.cli.app import prepare

    prepare()
    with initialize(config_path=None, version_base="1.3"):
        return compose(config_name="train", overrides=["env=matrix_game", *overrides])


def test_a_class_alone_becomes_a_choice(install: Install) -> None:
    install("their-attack", {"their_attack.py": ATTACK}, ENTRY)
    node = composed("attack=theirs", "attack.rate=0.25", "attack.needed=3").attack
    assert OmegaConf.to_container(node) == {
        "_target_": "their_attack.Theirs",
        "rate": 0.25,
        "mode": "hard",
        "needed": 3,
    }
    attack = plugins.build(node, SPEC, Threat())
    assert (attack.rate, attack.mode, attack.needed) == (0.25, "hard", 3)


def test_a_required_option_is_asked_for_by_name(install: Install) -> None:
    install("their-attack", {"their_attack.py": ATTACK}, ENTRY)
    with pytest.raises(ValueError, match=r"attack\.needed: a value is required"):
        plugins.build(composed("attack=theirs").attack, SPEC, Threat())


def test_a_yaml_folder_joins_the_search_path_and_hides_the_class(install: Install) -> None:
    preset = "defaults:\n  - class/theirs@_here_\n  - _self_\n\nrate: 0.75\n"
    files = {
        "their_attack/__init__.py": ATTACK,
        "their_attack/configs/attack/theirs.yaml": preset,
        "their_attack/configs/attack/soft.yaml": "defaults:\n  - theirs\n  - _self_\n\nmode: soft\n",
    }
    entry = {
        "ibal_lightning.attack": {"theirs": "their_attack:Theirs"},
        "ibal_lightning.configs": {"x": "their_attack"},
    }
    install("their-attack", files, entry)
    assert composed("attack=theirs").attack.rate == 0.75
    soft = plugins.choice("attack", "soft")
    assert (soft.rate, soft.mode) == (0.75, "soft")
    assert soft["_target_"] == "their_attack.Theirs"


def test_composing_and_listing_imports_no_plugin(install: Install) -> None:
    install("their-attack", {"their_attack.py": "raise RuntimeError('boom')\n"}, ENTRY)
    assert "theirs" in names("attack")
    composed("attack=natural")
    assert "their_attack" not in sys.modules


def test_a_plugin_that_fails_on_import_is_named_and_breaks_nothing_else(install: Install) -> None:
    install("their-attack", {"their_attack.py": "raise RuntimeError('boom')\n"}, ENTRY)
    with pytest.raises(Exception, match=r"their-attack 1\.2") as caught:
        composed("attack=theirs")
    for word in ("attack=theirs", "their_attack:Theirs", "RuntimeError: boom"):
        assert word in str(caught.value)
    assert plugins.build(composed("attack=disabled").attack, SPEC, Threat()).count == 1


def test_a_plugin_that_fails_only_when_it_runs_is_named_too(install: Install) -> None:
    late = ATTACK + "\n    raise RuntimeError('boom')\n"
    install("their-attack", {"their_attack.py": late}, ENTRY)
    node = composed("attack=theirs", "attack.needed=1").attack
    with pytest.raises(PluginError, match=r"attack=theirs .*their-attack 1.2.*RuntimeError\('?boom|RuntimeError: boom"):
        plugins.build(node, SPEC, Threat())


def test_a_name_offered_twice_names_both_distributions(install: Install) -> None:
    install("their-attack", {"their_attack.py": ATTACK}, {"ibal_lightning.attack": {"ibal": "their_attack:Theirs"}})
    with pytest.raises(Exception, match="offered twice") as caught:
        composed("attack=ibal")
    assert "their-attack 1.2" in str(caught.value)
    assert "ibal-lightning" in str(caught.value)
    composed("attack=natural")


def test_a_preset_that_another_distribution_also_offers_is_a_clash(install: Install) -> None:
    files = {
        "their_attack/__init__.py": ATTACK,
        "their_attack/configs/attack/ibal.yaml": "_target_: their_attack.Theirs\n",
    }
    install("their-attack", files, {"ibal_lightning.configs": {"x": "their_attack"}})
    with pytest.raises(Exception, match="offered twice"):
        composed("attack=ibal")


def test_a_mistyped_name_lists_the_choices_and_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"attack=disabeld: no such choice; did you mean 'disabled'\?.*random_obs"):
        plugins.choice("attack", "disabeld")
    with pytest.raises(MissingConfigException):
        composed("attack=disabeld")


def test_choice_works_inside_a_running_hydra() -> None:
    plugins.register()
    with initialize(config_path=None, version_base="1.3"):
        assert plugins.choice("attack", "dis_2").count == 2
        assert compose(config_name="attack/dis_1").attack.count == 1


def test_presets_of_a_folder_on_the_command_line_are_choices(tmp_path: Path) -> None:
    (tmp_path / "attack").mkdir()
    (tmp_path / "attack" / "seldom.yaml").write_text("defaults:\n  - dis_2\n  - _self_\n\ncount: 1\n")
    plugins.register()
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        assert plugins.choice("attack", "seldom").count == 1
        with pytest.raises(ValueError, match=r"attack=seldon: no such choice; did you mean 'seldom'\?.*random_obs"):
            plugins.choice("attack", "seldon")


@pytest.mark.parametrize(("group", "name"), sorted((g, n) for g, n in offers() if g in SUPPLIED and g != "logger"))
def test_the_source_text_tells_the_same_signature_as_the_class(group: str, name: str) -> None:
    for offer in offers()[group, name]:
        if offer.entry is None:
            continue
        try:
            static = static_options(offer.entry.module, offer.entry.attr)
        except NotStatic:
            continue
        assert dict(static) == dict(runtime_options(offer.entry.load()))


@pytest.mark.parametrize("group", ["env", "backbone", "attack", "threat", "regularizer"])
def test_our_own_signatures_are_all_read_without_importing(group: str) -> None:
    for name in names(group):
        for offer in offers()[group, name]:
            if offer.entry is not None:
                static_options(offer.entry.module, offer.entry.attr)


@pytest.mark.parametrize("words", ["--help", "--cfg job", "list", "evaluate --help", "attack=nonsense"])
def test_looking_around_does_not_import_torch(words: str) -> None:
    code = (
        "import sys\nfrom ibal_lightning.cli.app import main\n"
        f"sys.argv = ['ibal', *{words.split()!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
