"""Whose a fitted model is: manifests signed with a key of this warehouse, for models that are kept as pickles.

HMAC-SHA256 (RFC 2104) over the fit's key and its manifest, which holds the hash of each file. The key is the setting
`artifact_key`, or a file in the warehouse that only its owner may read, made at the first signature.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path

from forecast_platform.host.files import sync_folder
from forecast_platform.models.saved import ArtifactError
from forecast_platform.settings import PREFIX, Settings

_BYTES = 32


def sign(settings: Settings, key: Sequence[str], manifest: str) -> str:
    """The signature of a fit's manifest, hex; `key`: series, model, version, window. Raises ArtifactError: no key."""
    return _mac(_secret(settings, create=True), key, manifest)


def verify(settings: Settings, key: Sequence[str], manifest: str, signature: str | None) -> None:
    """Raises ArtifactError where this warehouse has not signed the manifest for this key."""
    if not signature or not hmac.compare_digest(signature, _mac(_secret(settings, create=False), key, manifest)):
        raise ArtifactError("it holds pickles, and this warehouse has not signed its manifest")


def key_file(settings: Settings) -> Path:
    """Where the warehouse's key is, unless it is set."""
    return settings.warehouse / "_keys" / "artifacts.key"


def _mac(secret: bytes, key: Sequence[str], manifest: str) -> str:
    return hmac.new(secret, "\x1f".join([*key, manifest]).encode(), hashlib.sha256).hexdigest()


def _secret(settings: Settings, *, create: bool) -> bytes:
    if settings.artifact_key is not None:
        return settings.artifact_key.get_secret_value().encode()
    path = key_file(settings)
    if settings.tables == "unity_catalog":
        raise ArtifactError(
            f"models kept as pickles need a key that every machine has: set {PREFIX}ARTIFACT_KEY in their environment"
        )
    if create and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass  # another process was first: its key is the one
        else:
            with os.fdopen(handle, "w") as sink:
                sink.write(secrets.token_hex(_BYTES))
                sink.flush()
                os.fsync(sink.fileno())
            sync_folder(path.parent)
    if not path.is_file():
        raise ArtifactError(f"the warehouse has no key {path}, so it has signed nothing")
    if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ArtifactError(
            f"{path} can be read by others than its owner: `chmod 600 {path}`, if nobody has changed it"
        )
    text = path.read_text().strip()
    if len(text) != 2 * _BYTES:
        raise ArtifactError(f"{path} is cut short: remove it, and train what it has signed again")
    return text.encode()
