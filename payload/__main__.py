"""`python3 -m payload`: see `payload.cli`."""

import sys

from payload.cli import main

sys.exit(main())
