"""What is wrong with documents, models or a run of training, told by name, value and mend."""

from __future__ import annotations

from importlib.util import find_spec


class LanguageError(ValueError):
    """The request cannot be done; the message says why and what to do."""


class RegistryError(LanguageError):
    """The model registry does not answer: nothing is wrong with the request."""


def require_extra() -> None:
    """Raise LanguageError where the libraries of the extra `language` are not installed."""
    lacking = [name for name in ("torch", "transformers", "peft", "accelerate") if find_spec(name) is None]
    if lacking:
        raise LanguageError(f"{', '.join(lacking)} not installed: `pip install 'forecast-platform[language]'`")
