"""Where the policies lie that were trained on the real game (docs/fidelity.md); tests skip where they are absent."""

from __future__ import annotations

import os
from pathlib import Path

ORACLE = Path(os.environ.get("IBAL_ORACLE_DIR", Path(__file__).parents[1] / "../shared/data/oracle"))
