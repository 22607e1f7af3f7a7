"""`python -m examples.hideandseek`."""

import sys

from .command import main

sys.exit(main())
