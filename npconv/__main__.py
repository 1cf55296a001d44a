"""``python -m npconv``: the command line."""

import sys

from npconv.cli import main

sys.exit(main())
