"""`python -m examples.wesad`."""

import sys

from .command import main

sys.exit(main())
