"""What do the tests of the commands share? The configuration of a small run, in a module beside them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
