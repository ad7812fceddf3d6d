"""Workflows for tests: the example that every guide shows, and small ones over frames."""

from __future__ import annotations

import yaml

EXAMPLE = """\
obsrv:
  context:
    name: credit_risk_ensemble
    compute: {serverless: [GPU]}
    timeout: 15 minutes
    metric: {classification: [accuracy, f1, auc]}
    sample: {size: 50000, method: [stratified]}
    fold_type: [stratified]
    source: {catalog: main, schema: credit_risk, table: training_data, target: default_label}
  job:
    - task: route_cluster
      route: {cluster: {kmeans: {n_clusters: 3}}}
    - task: stack_top_any
      stack: {top_n: 5}
      depends_on: [{task: route_cluster}]
    - task: vote_top_alg
      vote: {top_alg: 3}
"""


def text_of(*tasks: dict, target: str = "target", **context) -> str:
    """A workflow over `table.parquet` (or what `source` says) as YAML."""
    source = {"path": "table.parquet", "target": target, **context.pop("source", {})}
    values = {"context": {"name": "small", "source": source, **context}, "job": list(tasks)}
    return yaml.safe_dump({"obsrv": values}, sort_keys=False)
