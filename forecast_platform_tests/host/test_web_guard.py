"""Who is answered: a pure decision over the head of a request."""

from __future__ import annotations

import base64
import ipaddress

import pytest

from forecast_platform.host.web_guard import Access, Asked, access_for, bears_token, decide, is_loopback
from forecast_platform.settings import SettingsError, build

TOKEN = "sixteen characters at least"
OPEN = Access(hosts=frozenset({"prices.example"}), origins=frozenset({"https://prices.example"}))
CLOSED = Access(tokens=(TOKEN,), proxies=(ipaddress.ip_network("10.0.0.0/28"),), identity_header="x-forwarded-user")
JSON = "application/json"


def asked(method: str = "GET", path: str = "/", *, peer: str = "127.0.0.1", websocket: bool = False, **headers: str):
    given = {"host": "127.0.0.1:3000", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Asked(method, path, {name: (value,) for name, value in given.items()}, "http", peer, websocket)


def status(request: Asked, access: Access = OPEN) -> int:
    refusal = decide(request, access)
    return 200 if refusal is None else refusal.status


@pytest.mark.parametrize(
    "host", ["127.0.0.1:3000", "localhost", "LOCALHOST:3000", "[::1]:3000", "127.8.8.8", "prices.example:443"]
)
def test_names_of_this_machine_and_allowed_ones_are_answered(host: str) -> None:
    assert status(asked(host=host)) == 200


@pytest.mark.parametrize(
    "host", ["", "elsewhere.example", "prices.example.elsewhere.example", "127.0.0.1.example", "10.0.0.1", "a b", "x:y"]
)
def test_a_name_that_is_not_known_is_refused_by_name(host: str) -> None:
    refusal = decide(asked(host=host), OPEN)
    assert refusal is not None
    assert refusal.status == 421
    assert repr(host) in refusal.text
    assert "allowed_hosts" in refusal.text


def test_two_hosts_are_none() -> None:
    request = Asked("GET", "/", {"host": ("127.0.0.1", "elsewhere.example")})
    assert status(request) == 421


@pytest.mark.parametrize("websocket", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_own_pages_and_allowed_ones_and_programs_are_answered_and_no_other_page_is(
    method: str, websocket: bool
) -> None:
    def origin(**headers: str) -> int:
        return status(asked(method, websocket=websocket, content_type=JSON, **headers))

    assert origin() == 200
    assert origin(origin="http://127.0.0.1:3000") == 200
    assert origin(origin="https://prices.example") == 200
    for other in ("http://127.0.0.1:3001", "https://127.0.0.1:3000", "http://prices.example", "null", "", "http://x"):
        assert origin(origin=other) == 403, other


def test_what_a_browser_sends_across_sites_without_an_origin_changes_nothing() -> None:
    for site in ("cross-site", "same-site"):
        assert status(asked("POST", content_type=JSON, sec_fetch_site=site)) == 403
        assert status(asked(websocket=True, sec_fetch_site=site)) == 403
        assert status(asked("GET", sec_fetch_site=site)) == 200, "a link may lead here"
    for site in ("same-origin", "none"):
        assert status(asked("POST", content_type=JSON, sec_fetch_site=site)) == 200


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "text/plain",
        "text/plain; application/json",
        "multipart/form-data; boundary=application/json",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "application/graphql",
    ],
)
def test_what_a_form_can_send_is_refused_also_from_the_own_page(kind: str | None) -> None:
    given = {} if kind is None else {"content_type": kind}
    assert status(asked("POST", **given)) == 415
    assert status(asked("POST", origin="http://127.0.0.1:3000", **given)) == 415
    assert status(asked("POST", content_type="Application/JSON; charset=utf-8")) == 200
    assert status(asked("POST", authorization="Bearer any", **given)) == 200, "no form sends that"


def test_a_control_character_in_a_path_is_refused() -> None:
    assert status(asked(path="/graphql\n")) == 400


def test_where_a_token_is_set_whoever_asks_bears_it_or_comes_through_the_proxy() -> None:
    def basic(password: str) -> str:
        return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()

    assert status(asked(), CLOSED) == 401
    for given in ("Bearer wrong", "Bearer ", "Basic", "Basic !!!", basic("wrong"), basic(""), TOKEN):
        assert status(asked(authorization=given), CLOSED) == 401, given
    assert status(asked(authorization=f"Bearer {TOKEN}"), CLOSED) == 200
    assert status(asked(authorization=basic(TOKEN)), CLOSED) == 200
    assert status(asked(peer="10.0.0.5", x_forwarded_user="ann"), CLOSED) == 200
    assert status(asked(peer="10.0.0.5"), CLOSED) == 401
    assert status(asked(peer="10.0.1.5", x_forwarded_user="ann"), CLOSED) == 401
    refusal = decide(asked(), CLOSED)
    assert refusal is not None
    assert refusal.headers[0][0] == "WWW-Authenticate"


def test_a_token_does_not_make_another_site_s_page_ours() -> None:
    request = asked("POST", content_type=JSON, authorization=f"Bearer {TOKEN}", origin="https://elsewhere.example")
    assert status(request, CLOSED) == 403
    assert status(asked(host="elsewhere.example", authorization=f"Bearer {TOKEN}"), CLOSED) == 421


def test_only_a_bearer_s_token_counts_as_sent_on_purpose() -> None:
    assert bears_token(asked(authorization=f"Bearer {TOKEN}"), CLOSED)
    encoded = base64.b64encode(f":{TOKEN}".encode()).decode()
    assert not bears_token(asked(authorization=f"Basic {encoded}"), CLOSED)
    assert not bears_token(asked(authorization="Bearer "), OPEN)


def test_beyond_this_machine_a_token_or_a_proxy_is_needed() -> None:
    for host in ("0.0.0.0", "", "::", "192.168.1.2", "prices.example"):
        with pytest.raises(SettingsError, match="FORECAST_PLATFORM_WEB_TOKEN"):
            access_for(build(), host)
        assert access_for(build(web_token=TOKEN), host).closed
        assert access_for(build(trusted_proxy={"addresses": ["10.0.0.5"]}), host).closed
    assert not access_for(build(), "127.0.0.1", key="of up").closed
    assert access_for(build(web_token=TOKEN), "192.168.1.2", key="of up").hosts == {"192.168.1.2"}
    assert TOKEN not in repr(access_for(build(web_token=TOKEN), "0.0.0.0"))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("allowed_hosts", ["https://prices.example"], "without scheme"),
        ("allowed_hosts", ["prices.example:3000"], "without scheme, port"),
        ("allowed_hosts", ["*"], "stars"),
        ("allowed_origins", ["*"], "an origin such as"),
        ("allowed_origins", ["prices.example"], "an origin such as"),
        ("allowed_origins", ["https://prices.example/ui"], "without a path"),
        ("allowed_origins", ["https://prices.example:x"], "an origin such as"),
        ("web_token", "short", "at least 16"),
        ("trusted_proxy", {"addresses": ["0.0.0.0/0"]}, "every address"),
        ("trusted_proxy", {"addresses": ["proxy"]}, "'proxy'"),
        ("trusted_proxy", {"addresses": []}, "at least 1"),
        ("trusted_proxy", {"addresses": ["10.0.0.5"], "header": "Authorization"}, "only the proxy sets"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(name: str, value: object, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as found:
        build(**{name: value})
    assert name in str(found.value)
    if name == "web_token":
        assert "short" not in str(found.value)


def test_settings_are_read_as_browsers_write_them() -> None:
    found = build(allowed_hosts="Prices.Example, [::2]", allowed_origins="https://Prices.example:443/,http://a.b:81")
    assert found.allowed_hosts == ("prices.example", "::2")
    assert found.allowed_origins == ("https://prices.example", "http://a.b:81")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("192.168.1.2", False), ("", False)],
)
def test_only_this_machine_s_addresses_are_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
