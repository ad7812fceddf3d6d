"""Serve a workspace until interrupted: `python -m forecast_platform_tests.databricks_workspace ROOT [PORT]`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from forecast_platform_tests.databricks_workspace import Workspace


def main() -> None:
    """Print what a client needs, then serve."""
    with Workspace(Path(sys.argv[1]), port=int(sys.argv[2]) if len(sys.argv) > 2 else 0) as workspace:
        sys.stdout.write(f"export DATABRICKS_HOST={workspace.host}\nexport DATABRICKS_TOKEN={workspace.token}\n")
        sys.stdout.flush()
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
