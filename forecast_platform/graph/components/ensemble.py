"""The component `Ensemble`: a workflow in the `obsrv` grammar, from its own file or inline, as assets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import yaml

from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.ensembles.yaml_lines import WorkflowError, text_of
from forecast_platform.graph.assets.ensembles import asset_name, broken_definitions, workflow_definitions

FILE = "workflow.yaml"

_SCAFFOLD = """\
# A workflow of tabular ensembles: docs/ensembles.md has every task and parameter.
obsrv:
  context:
    name: {name}
    source: {{catalog: main, schema: default, table: training_data, target: target}}
  job:
    - task: stack_top_any
      stack: {{top_n: 5}}
    - task: vote_weight
"""


class _Loaded:
    """Which names of assets are whose, by the component's place, in the project that is loaded now."""

    tree: Any = None
    names: ClassVar[dict[str, str]] = {}


def _names_of(context: dg.ComponentLoadContext) -> dict[str, str]:
    if _Loaded.tree is not context.component_tree:
        _Loaded.tree, _Loaded.names = context.component_tree, {}
    return _Loaded.names


class EnsembleScaffolder(dg.Scaffolder):
    """Writes defs.yaml and a workflow to begin with."""

    def scaffold(self, request: dg.ScaffoldRequest) -> None:
        """Put both files into the component's folder."""
        folder = Path(request.target_path)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text(_SCAFFOLD.format(name=folder.name), encoding="utf-8")
        dg.scaffold_component(request, {"file": FILE})


@dg.scaffold_with(EnsembleScaffolder)
class Ensemble(dg.Component, dg.Model, dg.Resolvable):
    """A workflow of tabular ensembles as assets: `file` beside defs.yaml, or the mapping `obsrv` itself.

    A workflow that cannot be read becomes one failing asset that says why; the code location loads all the same.
    """

    file: str | None = None
    obsrv: dict[str, Any] | None = None

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The assets of the workflow."""
        place = context.component_path.get_relative_key(Path(context.defs_module_path))
        try:
            workflow = read_workflow(self._text(Path(context.path)), self.file or "defs.yaml")
        except (WorkflowError, OSError) as error:
            return broken_definitions(self._own_name(context, place), str(error))
        # Two assets of one key would empty the whole code location.
        other = _names_of(context).setdefault(workflow.context.slug, place)
        if other != place:
            said = f"the workflow of {other} has the same asset names as {workflow.context.name!r}: rename one"
            return broken_definitions(self._own_name(context, place), said)
        return workflow_definitions(workflow)

    def _own_name(self, context: dg.ComponentLoadContext, place: str) -> str:
        """A name for what stands here in place of a workflow, which nothing else of the project has."""
        names = _names_of(context)
        return asset_name(place.removesuffix("[0]"), lambda name: names.setdefault(name, place) != place)

    def _text(self, folder: Path) -> str:
        if self.obsrv is not None:
            return str(yaml.safe_dump({"obsrv": self.obsrv}, sort_keys=False))
        return text_of(folder / (self.file or FILE))
