"""Who is answered by the servers of `up`: names, origins, tokens and proxies."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")
_HEADER = re.compile(r"[A-Za-z0-9-]+")
_PORTS = {"http": 80, "https": 443}


class TrustedProxy(BaseModel):
    """A proxy that authenticates, and says whom it let in by a header that it takes out of what others send."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    addresses: tuple[str, ...] = Field(
        min_length=1, description="Addresses or networks that it connects from, such as 10.0.0.5 or 10.0.0.0/28."
    )
    header: str = Field(default="X-Forwarded-User", description="Header that names who was let in.")

    @field_validator("addresses")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            network = ipaddress.ip_network(one)
            if network.prefixlen == 0:
                raise ValueError(f"{one} is every address: whoever connects could say who it is")
        return value

    @field_validator("header")
    @classmethod
    def _is_a_header(cls, value: str) -> str:
        if not _HEADER.fullmatch(value) or value.lower() in ("host", "origin", "authorization", "cookie"):
            raise ValueError("the name of a header that only the proxy sets, such as X-Forwarded-User")
        return value

    @property
    def networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """The addresses as networks."""
        return tuple(ipaddress.ip_network(one) for one in self.addresses)


def host_names(value: tuple[str, ...]) -> tuple[str, ...]:
    """Names of hosts in lower case. Raises ValueError for what is none, such as an address with a port or a pattern."""
    found = tuple(name.lower().strip("[]") for name in value)
    for name in found:
        if not _NAME.fullmatch(name) and not is_address(name):
            raise ValueError(f"{name!r}: a name or an address without scheme, port and stars, such as prices.example")
    return found


def origins(value: tuple[str, ...]) -> tuple[str, ...]:
    """Origins as browsers send them (RFC 6454): scheme://host[:port]. Raises ValueError for anything else."""
    found = []
    for one in value:
        try:
            parts = urlsplit(one.lower().rstrip("/"))
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        name = parts.hostname or ""
        if parts.scheme not in _PORTS or parts.path or parts.query or parts.username or not name or "*" in name:
            raise ValueError(f"{one!r}: an origin such as https://prices.example, without a path")
        shown = f"[{name}]" if ":" in name else name
        found.append(f"{parts.scheme}://{shown}" + ("" if port in (None, _PORTS[parts.scheme]) else f":{port}"))
    return tuple(found)


def plain_secret(value: SecretStr | None) -> SecretStr | None:
    """A token as it can stand in a header of HTTP. Raises ValueError, without repeating it."""
    if value is not None and not re.fullmatch(r"[\x20-\x7e]+", value.get_secret_value()):
        raise ValueError("letters, digits and signs of ASCII")
    return value


def is_address(name: str) -> bool:
    """Whether a host is an IP address, and no name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
