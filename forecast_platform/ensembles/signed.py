"""Whose fits with pickles are: each bundle is signed with the key of its warehouse, and opened with that key alone.

What is signed is the fit's key, which names all that it follows from, and the hash of each of its files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from forecast_platform.settings import Settings, load
from forecast_platform.work import signing

SIGNATURE = "signature.txt"
_NOT_OF_THE_MODEL = (SIGNATURE, "valid.npy")


@dataclass(frozen=True)
class Signer:
    """Signs and verifies bundles of fits, with the key that `work/signing.py` has for these settings.

    settings: None are those of this process, read when a bundle with pickles is met.
    """

    settings: Settings | None = None

    def signature(self, place: str, files: Mapping[str, bytes]) -> bytes:
        """The signature of a fit's files; place: the fit's key and split. Raises ArtifactError: no key can be had."""
        return signing.sign(self._settings, ("ensembles", place), _manifest(files)).encode()

    def verify(self, place: str, files: Mapping[str, bytes]) -> None:
        """Raises ArtifactError where this warehouse has not signed these files for this place."""
        found = files.get(SIGNATURE, b"").decode("ascii", errors="replace")
        signing.verify(self._settings, ("ensembles", place), _manifest(files), found)

    @property
    def _settings(self) -> Settings:
        return load() if self.settings is None else self.settings


def _manifest(files: Mapping[str, bytes]) -> str:
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name not in _NOT_OF_THE_MODEL}
    return json.dumps(hashes, sort_keys=True)
