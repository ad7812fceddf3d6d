"""What runs in a task's process: the task's code, with `spark`, `sc` and `dbutils`, and the workspace's paths.

Started by execution.py with the task on stdin; standalone, because the code under test must come from the task's own
wheels and paths. `/dbfs`, `/Volumes` and `/Workspace` are mapped to the workspace's folders in Python's own file
functions (open, os, pathlib, import); libraries that open files natively (delta-rs, Arrow, the JVM) do not see the
mapping, so give them real paths. `spark`, `sc` and SparkSession.getActiveSession start a JVM session when first used;
where there is no Spark or Java, using them raises. A workspace made with spark=False gives a stand-in instead, and one
with a Spark Connect server gives its serverless tasks a session there.
"""

# pathlib is among what is mapped, and whatever ends a task becomes its result.
# ruff: noqa: BLE001, PTH105, PTH118, PTH120, PTH123, T201

from __future__ import annotations

import builtins
import importlib.abc
import importlib.machinery
import importlib.util
import io
import json
import os
import sys
import traceback
import types

_DBUTILS = importlib.util.spec_from_file_location("_dbutils", os.path.join(os.path.dirname(__file__), "dbutils.py"))
dbutils_parts = importlib.util.module_from_spec(_DBUTILS)
_DBUTILS.loader.exec_module(dbutils_parts)

MOUNTS = ("dbfs", "Volumes", "Workspace")
SEPARATOR = "# COMMAND ----------"
HEADER = "# Databricks notebook source"


class NotebookExit(BaseException):
    """dbutils.notebook.exit: ends the notebook with a value."""

    def __init__(self, value):
        super().__init__(value)
        self.value = str(value)


class Mapping:
    """The workspace's paths in this process."""

    def __init__(self, root):
        self.root = root

    def path(self, path):
        """Where `path` is kept; anything else is returned as it is."""
        if isinstance(path, int) or path is None:
            return path
        text = os.fspath(path)
        if isinstance(text, bytes):
            return os.fsencode(self.path(os.fsdecode(text)))
        text = os.path.normpath(text) if text.startswith("/") else text
        if text.startswith("//"):
            text = text[1:]
        if text.startswith("/") and text.split("/")[1] in MOUNTS:
            return self.root + text
        return path

    def location(self, path):
        """Where a path in Databricks' own notation is kept: dbfs:/x, /dbfs/x, /Volumes/x, a notebook's /x."""
        if path.startswith("dbfs:"):
            rest = "/" + path[len("dbfs:") :].lstrip("/")
            return self.path(rest if rest.startswith("/Volumes/") else "/dbfs" + rest)
        mapped = self.path(path)
        return mapped if mapped != path else self.path("/Workspace" + path)

    def install(self):
        """Map the paths in Python's file functions."""
        builtins.open = io.open = self._first(io.open)
        for name in [
            "open",
            "stat",
            "lstat",
            "listdir",
            "scandir",
            "mkdir",
            "remove",
            "unlink",
            "rmdir",
            "chmod",
            "access",
            "utime",
            "truncate",
            "readlink",
            "chdir",
            "statvfs",
        ]:
            setattr(os, name, self._first(getattr(os, name)))
        for name in ("rename", "replace", "link", "symlink"):
            setattr(os, name, self._both(getattr(os, name)))
        sys.path_hooks.insert(0, self._import_hook)
        if sys.version_info < (3, 11):  # pathlib kept the functions themselves
            import pathlib

            for name in (
                "stat",
                "open",
                "listdir",
                "scandir",
                "mkdir",
                "unlink",
                "rmdir",
                "chmod",
                "rename",
                "replace",
            ):
                function = io.open if name == "open" else getattr(os, name)
                setattr(pathlib._NormalAccessor, name, staticmethod(function))

    def _first(self, function):
        def mapped(path=".", *rest, **named):
            return function(self.path(path), *rest, **named)

        return mapped

    def _both(self, function):
        def mapped(source, target, **named):
            return function(self.path(source), self.path(target), **named)

        return mapped

    def _import_hook(self, path):
        mapped = self.path(path)
        if mapped == path:
            raise ImportError("not a path of the workspace")
        return importlib.machinery.FileFinder(
            mapped, (importlib.machinery.SourceFileLoader, importlib.machinery.SOURCE_SUFFIXES)
        )


class Lazy:
    """Becomes what `make` gives when it is first used."""

    def __init__(self, make):
        self.__dict__["_make"] = make

    def now(self):
        """The thing itself."""
        if "_value" not in self.__dict__:
            self.__dict__["_value"] = self._make()
        return self.__dict__["_value"]

    def __getattr__(self, name):
        return getattr(self.now(), name)


def session(spec):
    """The process's Spark session: a JVM's, or (workspaces made with spark=False) the stand-in."""
    if spec["remote"]:
        return serverless_session(spec["remote"])
    if not spec["spark"]:
        return StandIn(spec["conf"])
    import shutil

    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise RuntimeError("this workspace has no Spark: pyspark is not installed") from error
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        raise RuntimeError("this workspace has no Spark engine: no Java")
    builder = SparkSession.builder.appName("databricks-workspace").master("local[2]")
    for name, value in {**spec["conf"], "spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1"}.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


SERVERLESS = (
    "spark.databricks.execution.timeout",
    "spark.sql.ansi.enabled",
    "spark.sql.files.maxPartitionBytes",
    "spark.sql.legacy.timeParserPolicy",
    "spark.sql.session.timeZone",
    "spark.sql.shuffle.partitions",
)
"""Settings that serverless compute takes; it refuses all others."""


def serverless_session(address):
    """A session of serverless compute: it speaks Spark Connect, and takes few settings."""
    from pyspark.errors import AnalysisException
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.conf import RuntimeConf

    made = SparkSession.builder.remote(address).create()
    take = RuntimeConf.set

    def take_known(self, key, value):
        if key not in SERVERLESS:
            raise AnalysisException(f"[CONFIG_NOT_AVAILABLE] Configuration {key} is not available. SQLSTATE: 42K0I")
        take(self, key, value)

    RuntimeConf.set = take_known
    return made


class StandIn:
    """Only a session's configuration, for tasks that do not compute with Spark: it is no Spark, and says so."""

    def __init__(self, conf):
        self.conf = types.SimpleNamespace(get=conf.get)

    def __getattr__(self, name):
        raise RuntimeError(f"spark.{name}: this workspace was made with spark=False, it has no Spark engine")


class ActiveSession(importlib.abc.MetaPathFinder):
    """Makes SparkSession.getActiveSession start the session: on a cluster it is there before the task is."""

    def __init__(self, task):
        self.task = task

    def find_spec(self, name, path, target=None):
        if name != "pyspark.sql.session":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        loader_exec = spec.loader.exec_module

        def exec_module(module):
            loader_exec(module)
            self.change(module)

        spec.loader.exec_module = exec_module
        return spec

    def change(self, module):
        """Let this module's sessions be the task's."""
        real = module.SparkSession.getActiveSession
        starting = []

        def active():
            if self.task.spec["remote"]:
                return self.task.spark.now()
            if self.task.spec["spark"] and (starting or real() is not None):
                return real()
            starting.append(True)
            return self.task.spark.now()

        module.SparkSession.getActiveSession = staticmethod(active)


class Notebooks:
    """dbutils.notebook."""

    def __init__(self, task):
        self._task = task

    def exit(self, value):
        raise NotebookExit(value)

    def run(self, path, timeout_seconds=0, arguments=None):
        return run_notebook(self._task, path, arguments or {})


class Task:
    """The task this process was started for."""

    def __init__(self, spec):
        self.spec = spec
        self.mapping = Mapping(spec["root"])
        self.spark = Lazy(lambda: session(spec))
        self.sc = Lazy(lambda: self.spark.sparkContext)

    def names(self, widgets):
        """The globals that Databricks gives to code."""
        dbutils = types.SimpleNamespace(
            widgets=dbutils_parts.Widgets(widgets),
            fs=dbutils_parts.FileSystem(self.mapping),
            secrets=dbutils_parts.Secrets(self.spec["secrets"]),
            notebook=Notebooks(self),
        )
        return {"__name__": "__main__", "spark": self.spark, "sc": self.sc, "dbutils": dbutils}


def cells(source):
    """The Python cells of a notebook in source format; markdown is left out, other languages are refused."""
    if not source.startswith(HEADER):
        raise ValueError(f"not a notebook: its first line is not {HEADER!r}")
    for cell in source.split("\n", 1)[1].split(SEPARATOR):
        magic = [line[len("# MAGIC") :].strip() for line in cell.splitlines() if line.startswith("# MAGIC")]
        if not magic:
            yield cell
        elif magic[0].startswith("%pip"):
            print(f"not installed, this workspace's packages are its interpreter's: {magic[0]}")
        elif not magic[0].startswith("%md"):
            raise ValueError(f"this workspace runs Python cells only, not {magic[0].split()[0]}")


def run_notebook(task, path, widgets):
    """Run a notebook; returns what it gave to dbutils.notebook.exit, an empty text where nothing."""
    names = task.names(widgets)
    with open(task.mapping.location(path), encoding="utf-8") as stream:
        source = stream.read()
    try:
        for number, cell in enumerate(cells(source), 1):
            exec(compile(cell, f"{path} cell {number}", "exec"), names)
    except NotebookExit as ended:
        return ended.value
    return ""


def run_file(task, entry):
    """Run a Python file as the main program."""
    where = task.mapping.location(entry["python_file"])
    sys.argv = [entry["python_file"], *entry.get("parameters", [])]
    with open(where, encoding="utf-8") as stream:
        source = stream.read()
    names = task.names({})
    main = types.ModuleType("__main__")
    main.__dict__.update(names)
    sys.modules["__main__"] = main
    exec(compile(source, entry["python_file"], "exec"), main.__dict__)


def run_wheel(task, entry):
    """Call a package's entry point: by its metadata, else the function of this name in the package."""
    from importlib import import_module
    from importlib.metadata import distribution

    named = [f"--{name}={value}" for name, value in entry.get("named_parameters", {}).items()]
    sys.argv = ["python", *(entry.get("parameters") or named)]
    points = [p for p in distribution(entry["package_name"]).entry_points if p.name == entry["entry_point"]]
    if points:
        points[0].load()()
    else:
        getattr(import_module(entry["package_name"].replace("-", "_")), entry["entry_point"])()


def main():
    """Run the task and leave what became of it in its result file."""
    spec = json.load(sys.stdin)
    sys.stdin = open(os.devnull)  # noqa: SIM115
    task = Task(spec)
    found = {}
    for folder in spec["wheels"]:  # unpacked
        sys.path.insert(0, folder)
    task.mapping.install()
    if spec["conf"] or spec["remote"]:
        if loaded := sys.modules.get("pyspark.sql.session"):
            ActiveSession(task).change(loaded)
        else:
            sys.meta_path.insert(0, ActiveSession(task))
    dbutils_parts.install_runtime(task.names({}), spec["host"], spec["token"])
    asked = spec["task"]
    try:
        if spec["fail"]:
            raise RuntimeError("this failure was asked for")
        if "notebook_task" in asked:
            entry = asked["notebook_task"]
            found["notebook"] = run_notebook(task, entry["notebook_path"], entry.get("base_parameters", {}))
        elif "spark_python_task" in asked:
            run_file(task, asked["spark_python_task"])
        else:
            run_wheel(task, asked["python_wheel_task"])
    except SystemExit as ended:
        if ended.code not in (None, 0):
            found = {"error": f"SystemExit: {ended.code}", "trace": traceback.format_exc()}
    except NotebookExit:
        pass
    except BaseException as error:
        found = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        traceback.print_exc()
    sys.stdout.flush()
    with open(spec["result"] + ".part", "w") as stream:
        json.dump(found or {"ended": True}, stream)
    os.replace(spec["result"] + ".part", spec["result"])
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that the task left must not keep the run from ending, as they do not on a cluster.
    os._exit(1 if "error" in found else 0)


if __name__ == "__main__":
    main()
