"""`python -m creditsim` is the command line."""

import sys

from creditsim.cli import main

sys.exit(main())
