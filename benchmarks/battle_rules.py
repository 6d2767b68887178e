"""The options with which benchmarks play under other battle rules than the default."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ibal_lightning.envs.skirmish.catalogue import smac_scenario
from ibal_lightning.envs.skirmish.stats import STATS
from ibal_lightning.envs.skirmish.switches import make_switches


def add_rules(parser: argparse.ArgumentParser) -> None:
    """``--stats``, and ``--set RULE=VALUE`` for the switches of ``envs/skirmish/switches.py``."""
    parser.add_argument("--stats", choices=STATS, default=STATS[0], help="weapons")
    parser.add_argument(
        "--set",
        nargs="*",
        action="extend",
        default=[],
        type=parse_setting,
        metavar="RULE=VALUE",
        help="battle switches",
    )


def chosen_rules(args: argparse.Namespace) -> dict[str, Any]:
    """What an environment's constructor takes; ends the program where there is no such rule or value."""
    switches = dict(args.set)
    try:
        make_switches(smac_scenario("3m"), switches)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    return {"stats": args.stats, "switches": switches}


def parse_setting(text: str) -> tuple[str, Any]:
    """A ``name=value`` battle switch; the value is read as JSON where it can be."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not RULE=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
