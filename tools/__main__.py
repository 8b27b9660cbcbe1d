"""`python -m tools` is `nasfeed`, for a checkout that is not installed."""

import sys

from tools.cli import main

sys.exit(main())
