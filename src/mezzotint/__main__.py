"""What does ``python -m mezzotint`` do? The same as the command ``mezzotint``."""

from __future__ import annotations

import sys

from mezzotint.cli import main

if __name__ == "__main__":
    sys.exit(main())
