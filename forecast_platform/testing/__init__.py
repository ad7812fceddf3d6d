"""The test kit for models from outside: `check_model(MyModel)` holds a model to the contract. Public."""

from forecast_platform.testing.checks import CHECKS, ContractError, Subject, check_model
from forecast_platform.testing.histories import changed_from, random_history

__all__ = ["CHECKS", "ContractError", "Subject", "changed_from", "check_model", "random_history"]
