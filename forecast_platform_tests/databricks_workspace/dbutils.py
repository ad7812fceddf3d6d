"""What the runtime gives to code: dbutils' widgets, fs and secrets, and the modules that databricks-sdk looks for.

Loaded by runner.py from its file.
"""

# The runner maps os and open, and keeps pathlib out of its way.
# ruff: noqa: PTH103, PTH107, PTH110, PTH112, PTH116, PTH118, PTH120, PTH123, PTH208

from __future__ import annotations

import os
import sys
import types


class Widgets:
    """dbutils.widgets: what the job gives wins over the notebook's defaults."""

    def __init__(self, given):
        self._given = dict(given)
        self._defaults = {}

    def text(self, name, defaultValue, label=None):
        self._defaults[name] = defaultValue

    def dropdown(self, name, defaultValue, choices, label=None):
        if self._given.get(name, defaultValue) not in choices:
            raise ValueError(f"{self._given.get(name, defaultValue)!r} is not one of {list(choices)}")
        self._defaults[name] = defaultValue

    combobox = text

    def multiselect(self, name, defaultValue, choices, label=None):
        self._defaults[name] = defaultValue

    def get(self, name):
        found = {**self._defaults, **self._given}
        if name not in found:
            raise ValueError(f"InputWidgetNotDefined: No input widget named {name} is defined")
        return found[name]

    def getAll(self):
        return {**self._defaults, **self._given}

    def remove(self, name):
        self._defaults.pop(name, None)

    def removeAll(self):
        self._defaults.clear()


class FileInfo(tuple):
    """One row of dbutils.fs.ls."""

    path = property(lambda self: self[0])
    name = property(lambda self: self[1])
    size = property(lambda self: self[2])

    def isDir(self):
        return self.name.endswith("/")


class FileSystem:
    """dbutils.fs over the workspace's folders."""

    def __init__(self, mapping):
        self._at = mapping.location

    def ls(self, path):
        place = self._at(path)
        if not os.path.isdir(place):
            raise FileNotFoundError(f"java.io.FileNotFoundException: No such file or directory {path}")
        found = []
        for name in sorted(os.listdir(place)):
            inner = os.path.join(place, name)
            mark = "/" if os.path.isdir(inner) else ""
            size = 0 if mark else os.stat(inner).st_size
            found.append(FileInfo((f"{path.rstrip('/')}/{name}{mark}", name + mark, size)))
        return found

    def mkdirs(self, path):
        os.makedirs(self._at(path), exist_ok=True)
        return True

    def put(self, path, contents, overwrite=False):
        place = self._at(path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "w" if overwrite else "x", encoding="utf-8") as stream:
            stream.write(contents)
        return True

    def head(self, path, maxBytes=65536):
        with open(self._at(path), "rb") as stream:
            return stream.read(maxBytes).decode("utf-8", "replace")

    def cp(self, source, target, recurse=False):
        import shutil

        (shutil.copytree if recurse else shutil.copyfile)(self._at(source), self._at(target))
        return True

    def mv(self, source, target, recurse=False):
        import shutil

        shutil.move(self._at(source), self._at(target))
        return True

    def rm(self, path, recurse=False):
        import shutil

        place = self._at(path)
        if os.path.isdir(place):
            (shutil.rmtree if recurse else os.rmdir)(place)
            return True
        if not os.path.exists(place):
            return False
        os.remove(place)
        return True


class Secrets:
    """dbutils.secrets."""

    def __init__(self, scopes):
        self._scopes = scopes

    def get(self, scope, key):
        if key not in self._scopes.get(scope, {}):
            raise ValueError(f"IllegalArgumentException: Secret does not exist with scope: {scope} and key: {key}")
        return self._scopes[scope][key]

    def getBytes(self, scope, key):
        return self.get(scope, key).encode()


def install_runtime(names, host, token):
    """The `dbruntime` modules, through which databricks-sdk finds the run's own credentials and the globals."""
    runtime = types.ModuleType("dbruntime")
    credentials = types.ModuleType("dbruntime.sdk_credential_provider")
    credentials.init_runtime_native_auth = lambda: (host, lambda: {"Authorization": f"Bearer {token}"})
    initializer = types.SimpleNamespace(get_namespace_globals=lambda: names)
    runtime.UserNamespaceInitializer = types.SimpleNamespace(getOrCreate=lambda: initializer)
    runtime.sdk_credential_provider = credentials
    sys.modules["dbruntime"] = runtime
    sys.modules["dbruntime.sdk_credential_provider"] = credentials
