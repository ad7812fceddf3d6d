"""Runs docs/reading.md's recipes on JVM Spark: `python -m forecast_platform_tests.read.jvm_recipes WAREHOUSE`."""

from __future__ import annotations

import sys
from pathlib import Path

from forecast_platform.clients.spark_session import session_on
from forecast_platform.settings import build
from forecast_platform.warehouse import views
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import Table
from forecast_platform_tests.read.test_recipes import HERE, recipes, run


def main(root: str) -> None:
    HERE["/data/warehouse"] = root
    spark = session_on("local[1]", build(warehouse=root, spark={"config": {"spark.sql.shuffle.partitions": "1"}}))
    [block] = recipes("Spark without Delta")
    sys.stdout.write(f"{len(run(block, spark=spark)['frame'])} dates\n")
    # Databricks SQL is Spark's: its statements run over the same views, here of the tables' files.
    warehouse = DeltaWarehouse(Path(root))

    def relation(table: Table) -> str:
        frame = spark.read.option("basePath", str(warehouse.path(table))).parquet(*warehouse.files(table))
        frame.createOrReplaceTempView(f"all_{table.short_name}")
        return f"all_{table.short_name}"

    made = views.sql("databricks", warehouse.horizon, relation)
    for statement in made.split(";\n"):
        if statement.strip():
            spark.sql(statement.replace("CREATE OR REPLACE VIEW", "CREATE OR REPLACE TEMPORARY VIEW"))
    for statement in recipes("Databricks SQL", "sql"):
        found = spark.sql(statement.replace("commodity.forecast.", "")).collect()
        sys.stdout.write(f"{len(found)} rows\n")


if __name__ == "__main__":
    main(sys.argv[1])
