"""Databricks from a shell: deploy the package and notebooks, submit a run, watch it, explain its errors, cancel it.

`entry` is what runs there; everything else runs here and speaks to the workspace through databricks-sdk.
"""
