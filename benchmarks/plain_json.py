"""JSON that every reader takes: Infinity and NaN, which JSON does not have, become null."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ibal_lightning.functional.files import write_then_rename


def finite(value: Any) -> Any:
    """The same content with None for every number that is not finite."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, content: Any) -> None:
    """Write it whole or not at all."""
    text = json.dumps(finite(content), indent=1, allow_nan=False) + "\n"
    write_then_rename(path, lambda temporary: temporary.write_text(text))
