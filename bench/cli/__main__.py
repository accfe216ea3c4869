"""`python -m unlearnbench.bench.cli`."""

import sys

from .main import main

sys.exit(main())
