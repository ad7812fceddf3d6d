"""Groups of settings: a series, publication lags, the mail server."""

from __future__ import annotations

import datetime as dt
import difflib
import os
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from forecast_platform.forecasting.rolls import CATALOGUE, RollRule
from forecast_platform.settings.landing import DateOrder, DecimalMark
from forecast_platform.settings.values import day

_MARKET = ("open", "high", "low", "close", "volume", "close_2")
_ALWAYS_OPEN = ("24/7", "24/5")
_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_]*$")
_CURRENCY = re.compile(r"^[A-Za-z]{3}$")


class SettingsError(ValueError):
    """A setting is wrong; the message names it, its value and what is allowed."""


class RollRuleSettings(BaseModel):
    """The last session on which a contract is quoted as nearby: the `sessions`-th before the `day` of the month that
    lies `month` months after its delivery month. The series rolls on the session after it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    months: str = Field(description="Delivery months as exchange codes, such as HKNUZ.")
    month: int = Field(description="Months from the delivery month to the month of `day`: 1 is the one after.")
    day: int = Field(default=1, description="Day of that month.")
    sessions: int = Field(default=1, description="Sessions before that day: 1 is the last one before it.")

    @model_validator(mode="after")
    def _is_a_rule(self) -> RollRuleSettings:
        self.rule  # noqa: B018 - refuses, by ValueError, what is none
        return self

    @property
    def rule(self) -> RollRule:
        """As forecasts read it."""
        return RollRule(self.months, self.month, self.day, self.sessions)


class SeriesSettings(BaseModel):
    """One series: a commodity's price, what may explain it, and the exchange that it trades on."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(description="Name in the tables and the UI (column `commodity`), for example Coffee.")
    source: str | None = Field(
        default=None, description="File stem under market/ of the landing folder; the lower-case name where unset."
    )
    covariates: tuple[str, ...] = Field(
        default=(), description="Columns of macro.csv (or declared by the source) that models may read."
    )
    regions: tuple[str, ...] | None = Field(
        default=None, description="Weather regions averaged for this series; all where unset, none where empty."
    )
    exchange: str = Field(
        default="XNYS",
        description="Exchange calendar code of the exchange-calendars package, or US_COMMODITIES: XNYS and the days of "
        "mourning and storm on which commodity futures settled.",
    )
    step: Literal["daily", "24/7", "24/5", "weekly", "monthly"] | None = Field(
        default=None,
        description="How often there is a close: daily on the exchange's sessions (where unset), 24/7 (every day: "
        "crypto, power) or 24/5 (Monday to Friday: currencies). weekly and monthly are refused: the graph is daily.",
    )
    unit: str | None = Field(
        default=None, description="What a price is counted in, such as US cents/lb; shown on axes, cards and tables."
    )
    multiplier: float | None = Field(
        default=None,
        gt=0,
        description="Money that one contract gains where the price rises by 1: 375 for Coffee in US cents/lb (37,500 "
        "lb); a portfolio's positions are in contracts.",
    )
    currency: str | None = Field(
        default=None, description="That money, as ISO 4217 has it, such as USD; a portfolio is in one currency."
    )
    end_date: Annotated[dt.date, BeforeValidator(day)] | None = Field(
        default=None,
        description="Last forecast date of a series that has ended while others go on: nothing later is due of it, "
        "and what the setting end_date is for all series holds for it alone. Its partitions after it stay empty.",
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Column of the market file to date, open, high, low, close or volume, such as Last: close.",
    )
    dates: DateOrder | None = Field(
        default=None, description="Order of dates such as 03/04/2024 where no day above 12 proves it."
    )
    decimal: DecimalMark | None = Field(
        default=None,
        description="Mark before the decimals, point or comma, of a file read by `columns`, where no number proves it: "
        "1,234 may be either.",
    )
    confirmed: tuple[Annotated[dt.date, BeforeValidator(day)], ...] = Field(
        default=(),
        description="Days whose close was looked at and is right, however odd: what is held because of it goes on.",
    )
    roll_dates: tuple[Annotated[dt.date, BeforeValidator(day)], ...] = Field(
        default=(), description="Days on which the nearby contract changed; their moves stay out of residual pools."
    )
    roll_rule: RollRuleSettings | str | None = Field(
        default=None,
        description="The exchange's roll schedule, for a nearby series that is not adjusted for rolls: one of "
        f"{', '.join(CATALOGUE)}, or a rule of its own. Of past days, roll_dates and a column "
        "`contract` of the file go before it; rolls ahead are the rule's.",
    )
    ticker: str | None = Field(default=None, description="Symbol at the price feed (source feeds), such as KC=F.")

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not _NAME.match(value):
            raise ValueError("letters, digits and underscores only, beginning with a letter")
        if value.lower() == "actuals":
            raise ValueError("'actuals' is reserved")
        return value

    @field_validator("currency")
    @classmethod
    def _iso_code(cls, value: str | None) -> str | None:
        if value is not None and not _CURRENCY.match(value):
            raise ValueError("three letters as ISO 4217 has them, such as USD")
        return value if value is None else value.upper()

    @field_validator("roll_rule")
    @classmethod
    def _known_rule(cls, value: RollRuleSettings | str | None) -> RollRuleSettings | str | None:
        if isinstance(value, str) and value not in CATALOGUE:
            raise ValueError(
                f"no roll rule {value!r}{did_you_mean(value, CATALOGUE)}; or a mapping, see RollRuleSettings"
            )
        return value

    @property
    def rule(self) -> RollRule | None:
        """The roll schedule's rule; None where none is set."""
        if isinstance(self.roll_rule, str):
            return CATALOGUE[self.roll_rule]
        return None if self.roll_rule is None else self.roll_rule.rule

    @model_validator(mode="after")
    def _one_calendar(self) -> SeriesSettings:
        if self.step in _ALWAYS_OPEN and "exchange" in self.model_fields_set and self.exchange != self.step:
            raise ValueError(f"step {self.step} has a calendar of its own: leave exchange {self.exchange!r} out")
        return self

    @property
    def calendar(self) -> str:
        """The exchange-calendars code of its sessions: its step's own, or its exchange's."""
        return self.step if self.step in _ALWAYS_OPEN else self.exchange

    @property
    def stem(self) -> str:
        """File name without its ending under market/."""
        return self.source or self.name.lower()


class PublicationLag(BaseModel):
    """Days between a measurement and its being known, applied alike in backtest and live.

    A column of macro or weather files can have a lag of its own beside these, such as cot_net: 3.
    """

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    __pydantic_extra__: dict[str, Annotated[int, Field(ge=0, le=30)]]

    market: int = Field(default=0, ge=0, le=30, description="Prices: 0 is a close known on its own day.")
    macro: int = Field(default=0, ge=0, le=30, description="FX and volatility indices.")
    weather: int = Field(default=0, ge=0, le=30, description="Weather; reanalysis such as ERA5 is 5.")

    @property
    def by_column(self) -> dict[str, int]:
        """Lags of single columns, which go before those of their kind."""
        return dict(self.__pydantic_extra__ or {})

    def of(self, column: str, kind: Literal["market", "macro", "weather"]) -> int:
        """The lag of a column of a `kind` of file, in days."""
        own: int = self.by_column.get(column, getattr(self, kind))
        return own


def refuse_ambiguous(series: Sequence[SeriesSettings], lags: PublicationLag) -> None:
    """Raise ValueError where names of series differ by case alone, or a lag is of a column that there is not."""
    names = [one.name for one in series]
    if len({name.lower() for name in names}) < len(names):
        raise ValueError(f"series: names must differ by more than case, got {names}")
    covariates = {name for one in series for name in one.covariates}
    for name in lags.by_column:
        if name in _MARKET:
            raise ValueError(f"publication_lag_days.{name}: prices have one lag, `market`")
        if name not in covariates and not re.fullmatch(r"vix|usd_\w+|(temp|precipitation|humidity|wind)_\w+", name):
            known = sorted({*PublicationLag.model_fields, *covariates})
            raise ValueError(
                f"publication_lag_days.{name}: no such column; market, macro, weather, or the name of a covariate"
                f"{did_you_mean(name, known)}"
            )


def refuse_early_ends(series: Sequence[SeriesSettings], start: dt.date, end: dt.date | None) -> None:
    """Raise ValueError where all series, or one, end before the first forecast date."""
    if end is not None and end < start:
        raise ValueError(f"end_date: {end} lies before start_date {start}")
    for one in series:
        if one.end_date is not None and one.end_date < start:
            raise ValueError(f"series {one.name}: end_date {one.end_date} lies before start_date {start}")


class EmailSettings(BaseModel):
    """Where the notifier email sends from and to."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    host: str = Field(description="SMTP server.")
    port: int = Field(default=587, ge=1, le=65535, description="Its port.")
    sender: str = Field(description="Sender's address.")
    recipients: tuple[str, ...] = Field(min_length=1, description="Addresses that are told.")
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="none only for a server on this machine or network that needs no password."
    )
    user: str | None = Field(default=None, description="Account, where the server asks for one.")
    password: SecretStr | None = Field(
        default=None, description="Its password: FORECAST_PLATFORM_EMAIL__PASSWORD in the environment."
    )


class SparkSettings(BaseModel):
    """The Spark session that compute=spark works on."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    master: str = Field(
        default="auto",
        description="sail (embedded, needs the extra `sail`), local[N], spark://..., yarn, or sc://HOST:PORT for Spark "
        "Connect; auto is sail where it is installed, else local[*,4].",
    )
    config: dict[str, str] = Field(default_factory=dict, description="Configuration of the Spark session.")
    cores: int | None = Field(
        default=None, ge=1, le=4096, description="Cores of the cluster; asked of Spark where unset and it can tell."
    )
    partitions_per_core: int = Field(default=3, ge=1, le=8, description="Tasks a core of a Spark job.")
    writer: Literal["auto", "spark", "workers", "driver"] = Field(
        default="auto",
        description="Who writes the paths: spark (its own Delta, to a warehouse folder that is shared), workers (with "
        "delta-rs; shared too), driver (nothing is shared); auto is spark on sail and, with "
        "tables unity_catalog, where the volume is mounted; workers on local[N], else driver.",
    )


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """The end of a sentence about an unknown name: the one that was meant, or all; each begins with `prefix`."""
    names = sorted(one.removeprefix(prefix) for one in known)
    near = difflib.get_close_matches(name.removeprefix(prefix), names, 1)
    return f", perhaps {prefix}{near[0]}" if near else "; known: " + ", ".join(prefix + one for one in names)


def refuse_unknown_variables(fields: Iterable[str], prefix: str) -> None:
    """Raise SettingsError where a variable of the environment begins with `prefix` and names none of `fields`."""
    known = {f"{prefix}{name.upper()}" for name in fields}
    for variable in os.environ:
        if variable.startswith(prefix) and variable.split("__")[0] not in known:
            meant = did_you_mean(variable, known, prefix)
            # Without its value, which is a secret where the name of a secret was misspelt.
            raise SettingsError(f"{variable}: no such setting{meant}")


def web_address(value: str) -> str:
    """`value` without a slash at its end. Raises ValueError where it is no http address."""
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise ValueError("an address such as http://127.0.0.1:3001, with a port up to 65535")
    return value.rstrip("/")
