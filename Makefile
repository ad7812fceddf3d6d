# The everyday tasks; each is `python3 tasks.py <name>`, which makes .venv first.
PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help quickstart up doctor test slow year check format bench docs lock

help:
	@$(PYTHON) tasks.py --help

quickstart up doctor test slow year check format bench docs lock:
	@$(PYTHON) tasks.py $@ $(ARGS)
