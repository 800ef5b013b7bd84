"""``python -m trainwright`` is the command ``trainwright``."""

import os
import sys

from trainwright.cli import main

if __name__ == "__main__":
    code = main()
    if "RANK" in os.environ:  # one of several processes
        from trainwright.engine.ranks import leave

        leave(code)
    sys.exit(code)
