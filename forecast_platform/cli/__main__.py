"""`python -m forecast_platform.cli`."""

import sys

from forecast_platform.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
