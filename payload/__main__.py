"""`python3 -m payload`: see `payload.cli.main`."""

import sys

from payload.cli.main import main

sys.exit(main())
