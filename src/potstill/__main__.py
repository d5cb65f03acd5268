"""`python -m potstill`, also under `accelerate launch -m potstill`."""

import sys

from potstill.cli import main

if __name__ == "__main__":
    sys.exit(main())
