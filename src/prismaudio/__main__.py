"""``python -m prismaudio``."""

import sys

from prismaudio.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
