"""Runs of the graph from a shell: submit, status, cancel."""
