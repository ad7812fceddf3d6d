"""Who may do what: tokens from OAuth (also Azure's), permissions, secret scopes, the current user."""

from __future__ import annotations

import base64
import secrets as random
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from forecast_platform_tests.databricks_workspace.faults import ApiError, exists, not_found

if TYPE_CHECKING:
    from forecast_platform_tests.databricks_workspace.server import Request, Workspace


class LoginError(ApiError):
    """An error of the token endpoints, in OAuth's own form."""

    @property
    def body(self) -> dict[str, Any]:
        return {"error": self.code, "error_description": self.message}


class Access:
    """Permissions by (kind, id), and secrets by scope."""

    def __init__(self) -> None:
        self.lists: dict[tuple[str, str], dict[str, str]] = {}
        self.scopes: dict[str, dict[str, str]] = {}


def _object(workspace: Workspace, request: Request) -> tuple[str, str]:
    kind, number = request.parts["kind"], request.parts["id"]
    if kind == "jobs":
        workspace.jobs.job(int(number))
    elif kind == "clusters":
        workspace.clusters.get(number)
    return kind, number


def permissions(workspace: Workspace, request: Request) -> dict[str, Any]:
    key = _object(workspace, request)
    granted = workspace.access.lists.setdefault(key, {request.user: "IS_OWNER" if key[0] == "jobs" else "CAN_MANAGE"})
    if request.method != "GET":
        asked = {}
        for entry in request.json.get("access_control_list", []):
            who = entry.get("user_name") or entry.get("group_name") or entry.get("service_principal_name")
            asked[who] = entry["permission_level"]
        if request.method == "PUT":
            granted.clear()
        granted.update(asked)
    entries = [
        {"user_name": who, "all_permissions": [{"permission_level": level, "inherited": False}]}
        for who, level in granted.items()
    ]
    return {"object_id": f"/{key[0]}/{key[1]}", "object_type": key[0][:-1], "access_control_list": entries}


def create_scope(workspace: Workspace, request: Request) -> dict[str, Any]:
    name = request.need("scope")
    if name in workspace.access.scopes:
        raise exists(f"Scope {name} already exists!")
    workspace.access.scopes[name] = {}
    return {}


def _scope(workspace: Workspace, name: str) -> dict[str, str]:
    if name not in workspace.access.scopes:
        raise not_found(f"Scope {name} does not exist!")
    return workspace.access.scopes[name]


def put_secret(workspace: Workspace, request: Request) -> dict[str, Any]:
    body = request.json
    value = body.get("string_value")
    if value is None:
        value = base64.b64decode(request.need("bytes_value")).decode()
    _scope(workspace, request.need("scope"))[request.need("key")] = value
    return {}


def get_secret(workspace: Workspace, request: Request) -> dict[str, Any]:
    scope, key = request.need("scope"), request.need("key")
    kept = _scope(workspace, scope)
    if key not in kept:
        raise not_found(f"Failed to get secret {key} for scope {scope}.")
    return {"key": key, "value": base64.b64encode(kept[key].encode()).decode()}


def list_secrets(workspace: Workspace, request: Request) -> dict[str, Any]:
    return {"secrets": [{"key": key} for key in _scope(workspace, request.need("scope"))]}


def list_scopes(workspace: Workspace, request: Request) -> dict[str, Any]:
    return {"scopes": [{"name": name, "backend_type": "DATABRICKS"} for name in workspace.access.scopes]}


def me(workspace: Workspace, request: Request) -> dict[str, Any]:
    return {"userName": request.user, "id": "1", "active": True, "displayName": request.user}


def endpoints(workspace: Workspace, request: Request) -> dict[str, Any]:
    return {
        "token_endpoint": f"{workspace.host}/oidc/v1/token",
        "authorization_endpoint": f"{workspace.host}/oidc/v1/authorize",
    }


def token(workspace: Workspace, request: Request) -> dict[str, Any]:
    kind, _, encoded = request.headers.get("Authorization", "").partition(" ")
    form = dict(parse_qsl(request.body.decode()))
    client, secret = form.get("client_id", ""), form.get("client_secret", "")
    if kind.lower() == "basic":
        client, _, secret = base64.b64decode(encoded).decode().partition(":")
    if form.get("grant_type") != "client_credentials" or workspace.oauth_clients.get(client) != secret:
        raise LoginError(401, "invalid_client", "Client authentication failed")
    issued = f"oauth{random.token_hex(16)}"
    workspace.tokens[issued] = client
    return {"access_token": issued, "token_type": "Bearer", "expires_in": 3600}


_P = r"/api/2\.0/permissions/(?P<kind>jobs|clusters)/(?P<id>[^/]+)"
_S = r"/api/2\.0/secrets/"
ROUTES = {
    ("GET", _P): permissions,
    ("PATCH", _P): permissions,
    ("PUT", _P): permissions,
    ("POST", _S + "scopes/create"): create_scope,
    ("GET", _S + "scopes/list"): list_scopes,
    ("POST", _S + "put"): put_secret,
    ("GET", _S + "get"): get_secret,
    ("GET", _S + "list"): list_secrets,
    ("GET", r"/api/2\.0/preview/scim/v2/Me"): me,
    ("GET", r"/oidc/\.well-known/oauth-authorization-server"): endpoints,
    ("POST", r"/oidc/v1/token"): token,
    ("POST", r"/(?P<tenant>[\w-]+)/oauth2/token"): token,
}
