"""One clear message for every failure, and the exit code that goes with it."""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException, ValidationError
from yaml import YAMLError

from ibal_lightning.messages import did_you_mean, first_line
from ibal_lightning.offers import offers

EXIT_FAILED, EXIT_MISTAKE, EXIT_INTERRUPTED = 1, 2, 130
# What chooses the folder that a command writes to; those that are not named write to the run directory they read.
WHERE = "one run: hydra.run.dir=, several: hydra.sweep.dir=, sweep: dir=, tables and policies: out="


class Failure(Exception):
    """What was asked could not be done, through no mistake in the asking; the message says all there is to say."""


def explain(error: BaseException) -> tuple[str, int]:
    """The message for stderr and the exit code: 2 when what was asked cannot be done, 1 when doing it failed."""
    if isinstance(error, Failure):
        return f"error: {error}", EXIT_FAILED
    if isinstance(error, YAMLError):
        return f"error: a config file is not valid YAML: {error}", EXIT_MISTAKE
    if isinstance(error, HydraException | OmegaConfBaseException):
        return f"error: {_config_mistake(error)}", EXIT_MISTAKE
    if isinstance(error, OSError):
        return f"error: {_file_trouble(error)}", EXIT_MISTAKE if isinstance(error, FileNotFoundError) else EXIT_FAILED
    if isinstance(error, ValueError) and _raised_by_a_check(error):
        return f"error: {error}", EXIT_MISTAKE
    where = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"error: unexpected {type(error).__name__}: {error}\n"
        f"  at {where.filename}:{where.lineno}; run again with --debug for the traceback",
        EXIT_FAILED,
    )


def _raised_by_a_check(error: BaseException) -> bool:
    """Whether a ``raise`` statement made it, ours or a plugin's, and not a library deep inside a computation."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and (frames[-1].line or "").startswith("raise") and not _is_library(frames[-1].filename)


def _is_library(filename: str) -> bool:
    """Numerical libraries raise ValueError for our bugs, not for the user's words."""
    parts = Path(filename).parts
    return any(name in parts for name in ("torch", "numpy", "lightning", "numba", "polars", "scipy"))


def _file_trouble(error: OSError) -> str:
    reason = error.strerror or str(error)
    name = f": {error.filename}" if error.filename else ""
    advice = {
        errno.ENOSPC: "free some space or choose another disk",
        errno.EACCES: "choose a folder you may write to",
        errno.EROFS: "choose a folder you may write to",
        errno.ENOTDIR: "choose another folder",
    }.get(error.errno or 0)
    return f"{reason}{name}" + (f"; {advice} ({WHERE})" if advice else "")


def _config_mistake(error: BaseException) -> str:
    """Hydra's and OmegaConf's complaints in our words; the innermost cause knows most."""
    for cause in _causes(error):
        if isinstance(cause, MissingConfigException) and cause.missing_cfg_file is not None:
            return _missing_choice(cause)
        if isinstance(cause, OverrideParseException):
            hint = "; words in a list are quoted: ['a=b', 'c=d']" if re.search(r"=\[[^'\"]*=", cause.override) else ""
            hint = hint or ("" if "=" in cause.override else "; options are given as name=value")
            return f"cannot read the override {cause.override!r}: {first_line(cause)}{hint}"
        if isinstance(cause, ValidationError):
            return _wrong_type(cause, error)
        if isinstance(cause, MissingMandatoryValue):
            return f"{cause.full_key}: a value is required; give {cause.full_key}=..."
        if isinstance(cause, ConfigKeyError | AttributeError) and isinstance(cause, OmegaConfBaseException):
            return _unknown_key(cause, error)
        if isinstance(cause, ValueError) and not isinstance(cause, OmegaConfBaseException):
            return str(cause)
    return str(error).strip()


def _causes(error: BaseException) -> Iterator[BaseException]:
    """From the innermost cause outwards."""
    if error.__cause__ is not None:
        yield from _causes(error.__cause__)
    yield error


def _missing_choice(error: MissingConfigException) -> str:
    group, _, name = (error.missing_cfg_file or "").removesuffix(".yaml").rpartition("/")
    known = error.options or [known for found, known in offers() if found == group]
    listed = f"; there are {', '.join(known)}" if known else ""
    return f"{group}={name}: no such choice{did_you_mean(name, known)}{listed}"


def _wrong_type(error: ValidationError, outer: BaseException) -> str:
    """Names key, value and expected type. The override stands in Hydra's own message."""
    override = re.search(r"Error merging override (\S+)", str(outer))
    given = override.group(1).lstrip("+") if override else error.full_key
    kinds = {"Integer": "a whole number, written out (100000 or 100_000)", "Float": "a number", "bool": "true or false"}
    expected = re.search(r"could not be converted to (\w+)|not a valid (\w+)", str(error))
    kind = kinds.get(expected.group(1) or expected.group(2)) if expected is not None else None
    if kind is not None:
        return f"{given}: expected {kind}"
    if "not Optional" in str(error):
        return f"{given}: a value is needed"
    if "ListConfig" in str(error):
        return f"{given}: expected a list, such as [a,b]"
    return f"{given}: {first_line(error)}"


def _unknown_key(error: OmegaConfBaseException, outer: BaseException) -> str:
    """Names the nearest key beside the unknown one."""
    override = re.search(r"Could not override '([^']+)'", str(outer))
    key = override.group(1) if override else str(error.full_key)
    node = error.parent_node
    siblings = [str(name) for name in node] if node is not None and OmegaConf.is_dict(node) else []
    prefix, _, last = str(error.full_key or key).rpartition(".")
    known = sorted({*siblings} - {"_target_", "hydra"})
    groups = [] if prefix else [group for group, _ in offers() if "/" not in group]
    where = f"{prefix} has" if prefix else "there are"
    return f"{key}: no such option{did_you_mean(last, [*known, *groups])}; {where} {', '.join(known) or 'none'}"
