"""Which requests a web server of ours answers: under a known name, from its own pages, of people who may.

A browser sends requests to this machine for every page that its user visits. What tells them apart: `Host` is the name
that the page's script believes to talk to, `Origin` and `Sec-Fetch-Site` say whose page it is (Fetch standard), and a
request with a JSON body cannot be sent to another site without asking first. The decision is a pure function of a
request's head, which `guarded_app.Guarded` puts before an ASGI app, and `guarded_handler.answered` before a handler of
the standard library's server.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from forecast_platform.settings import PREFIX, Settings, SettingsError
from forecast_platform.settings.web import is_address

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

READS = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?", re.I)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Asked:
    """The head of a request. headers: lower-case names; path: decoded, without its query; peer: who is connected."""

    method: str
    path: str
    headers: Mapping[str, tuple[str, ...]]
    scheme: str = "http"
    peer: str | None = None
    websocket: bool = False

    def one(self, name: str) -> str | None:
        """The header's value where there is exactly one, else None."""
        values = self.headers.get(name, ())
        return values[0] if len(values) == 1 else None

    @property
    def changes(self) -> bool:
        """Whether the request may change something: a websocket carries whatever its page sends."""
        return self.websocket or self.method not in READS


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered: a status of HTTP and a text that names the mend."""

    status: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Access:
    """Who is answered. hosts: names beside those of this machine, lower case; origins: scheme://host[:port];
    tokens: each lets its holder in; proxies: addresses whose `identity_header` is believed."""

    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    tokens: tuple[str, ...] = field(default=(), repr=False)
    proxies: tuple[Network, ...] = ()
    identity_header: str = "x-forwarded-user"
    open_paths: frozenset[str] = frozenset()
    """Paths for which nobody has to say who it is."""
    any_address: bool = False
    """Whether every address is a name of the server, which binds all: a page's name may be made to point here, but is
    then what its browser sends, and never an address."""

    @property
    def closed(self) -> bool:
        """Whether whoever asks must be known."""
        return bool(self.tokens or self.proxies)


def access_for(settings: Settings, host: str, *, option: str = "--host", key: str | None = None) -> Access:
    """Who is answered by a server that binds `host`. key: a token of one's own, valid beside the configured one.

    Raises SettingsError where other machines reach that address and nothing says who may.
    """
    token, proxy = settings.web_token, settings.trusted_proxy
    if not is_loopback(host) and token is None and proxy is None:
        raise SettingsError(
            f"{option} {host or '(every address)'} can be reached from other machines, and nothing says who may ask: "
            f"set web_token ({PREFIX}WEB_TOKEN, at least 16 characters, in the environment) or trusted_proxy, or keep "
            "to 127.0.0.1 and use an SSH tunnel"
        )
    closed = token is not None or proxy is not None
    tokens = [token.get_secret_value() if token is not None else None, key if closed else None]
    names = {*settings.allowed_hosts, *([] if _everywhere(host) else [host.lower()])}
    return Access(
        hosts=frozenset(names),
        origins=frozenset(settings.allowed_origins),
        tokens=tuple(one for one in tokens if one),
        proxies=() if proxy is None else proxy.networks,
        identity_header="" if proxy is None else proxy.header.lower(),
        any_address=_everywhere(host),
    )


def decide(asked: Asked, access: Access) -> Refusal | None:
    """Why the request is refused; None where it is answered."""
    return (
        _addressed(asked, access) or _from_here(asked, access) or _identified(asked, access) or _sent_on_purpose(asked)
    )


def is_unasked(asked: Asked) -> bool:
    """Whether a page of another site made a browser send this: nothing is done for it, and what is there is shown.

    Another server of this machine, such as the UI, is the same site (Fetch standard, 3.2); a page of `allowed_origins`,
    which `decide` has let in, says who it is.
    """
    sites = (site.strip().lower() for site in asked.headers.get("sec-fetch-site", ()))
    return "cross-site" in sites and not asked.headers.get("origin")


def is_known(asked: Asked, access: Access) -> bool:
    """Whether whoever asks is known, or need not be: on an open path, too, whoever is not learns little."""
    return not access.closed or _identified(asked, replace(access, open_paths=frozenset())) is None


def bears_token(asked: Asked, access: Access) -> bool:
    """Whether the request carries a token as programs do (RFC 6750): no browser adds one by itself."""
    kind, _, given = (asked.one("authorization") or "").partition(" ")
    return kind.lower() == "bearer" and _is_token(given.strip(), access)


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _everywhere(host: str) -> bool:
    return host in ("", "0.0.0.0", "::")  # noqa: S104 - compared


def _addressed(asked: Asked, access: Access) -> Refusal | None:
    """A page whose name was made to point here sends that name."""
    if _CONTROL.search(asked.path):
        return Refusal(400, "the path holds a control character")
    given = asked.one("host") or ""
    found = _HOST.fullmatch(given)
    name = found["name"].lower() if found else ""
    bare = name.strip("[]")
    if name and (is_loopback(name) or bare in access.hosts or (access.any_address and is_address(bare))):
        return None
    return Refusal(421, f"Host {given[:200]!r} is no name of this server: add it to allowed_hosts if it is one")


def _from_here(asked: Asked, access: Access) -> Refusal | None:
    """A page of another site says whose it is; a program says nothing."""
    origins = asked.headers.get("origin", ())
    if not origins:
        site = asked.one("sec-fetch-site")
        if asked.changes and site not in (None, "same-origin", "none"):
            return Refusal(403, f"sent by a page of another site (Sec-Fetch-Site: {site[:40]})")
        return None
    here = f"{asked.scheme}://{asked.one('host')}".lower()
    if len(origins) == 1 and origins[0].lower() in (here, *access.origins):
        return None
    return Refusal(403, f"sent by a page of {', '.join(origins)[:200]!r}: add it to allowed_origins if it is yours")


def _identified(asked: Asked, access: Access) -> Refusal | None:
    if not access.closed or asked.path in access.open_paths or bears_token(asked, access):
        return None
    kind, _, given = (asked.one("authorization") or "").partition(" ")
    if kind.lower() == "basic" and _is_token(_password(given.strip()), access):
        return None
    if _is_trusted(asked.peer, access.proxies) and (asked.one(access.identity_header) or "").strip():
        return None
    ask = (("WWW-Authenticate", 'Basic realm="forecast-platform", charset="UTF-8"'),) if access.tokens else ()
    return Refusal(401, "say who you are: the web token as password (any user name), or as a Bearer token", ask)


def _sent_on_purpose(asked: Asked) -> Refusal | None:
    """What a form can send, and what a script can without asking first, changes nothing (Fetch standard, 2.2.2)."""
    bearer = (asked.one("authorization") or "").lower().startswith("bearer ")
    if asked.websocket or asked.method != "POST" or bearer:
        return None
    if (asked.one("content-type") or "").partition(";")[0].strip().lower() == "application/json":
        return None
    return Refusal(415, "send it with Content-Type: application/json")


def _password(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _is_token(given: str, access: Access) -> bool:
    # Each is compared: how long it takes must not say which one was nearly right.
    found = [hmac.compare_digest(given.encode(), token.encode()) for token in access.tokens]
    return bool(given) and any(found)


def _is_trusted(peer: str | None, proxies: Iterable[Network]) -> bool:
    try:
        address = ipaddress.ip_address(peer or "")
    except ValueError:
        return False
    return any(address in network for network in proxies)
