"""No installed package overwrites another's files: which one is imported would depend on the order of installation."""

from __future__ import annotations

from importlib.metadata import distributions


def test_no_package_overwrites_another_s_files() -> None:
    owners: dict[str, dict[str, str]] = {}
    for found in distributions():
        name = str(found.metadata["Name"]).lower()
        for file in found.files or ():
            if "__pycache__" not in file.parts and file.suffix == ".py" and file.hash is not None:
                owners.setdefault(str(file), {})[name] = file.hash.value
    # The parts of one project may ship the same file, with the same bytes.
    other = {file: sorted(by_name) for file, by_name in owners.items() if len(set(by_name.values())) > 1}
    assert other == {}
    assert len(owners["urllib3/__init__.py"]) == 1
