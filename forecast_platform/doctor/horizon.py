"""The part of `forecast-platform doctor` that looks at the horizon that the stored forecasts have."""

from __future__ import annotations

from collections.abc import Iterator

from forecast_platform.host.finding import Finding
from forecast_platform.settings import Settings
from forecast_platform.warehouse.base import HorizonError, Warehouse, WarehouseError, require_horizon


def horizon(settings: Settings, warehouse: Warehouse) -> Iterator[Finding]:
    """The settings and the stored forecasts have the same horizon."""
    try:
        require_horizon(warehouse)
    except HorizonError as error:
        found, _, mend = str(error).partition(": ")
        yield Finding("horizon", "error", found, mend)
    except WarehouseError:
        return  # a table that does not open is told of by itself
    else:
        yield Finding("horizon", "good", f"{settings.horizon} days")
