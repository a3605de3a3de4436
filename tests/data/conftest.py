"""What do the tests of the image room share? Helpers beside this file, which spawned processes must find too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
