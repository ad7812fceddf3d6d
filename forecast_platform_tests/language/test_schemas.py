"""The JSON schemas of the files that others read are schemas, and refuse a file that lacks what is read."""

from __future__ import annotations

import jsonschema
import pytest

from forecast_platform.language.schemas import EVALUATION_RESULTS, RECOMMENDATION, TRAINING_METRICS


@pytest.mark.parametrize("schema", [TRAINING_METRICS, EVALUATION_RESULTS, RECOMMENDATION])
def test_a_file_that_lacks_a_key_has_not_the_form(schema: dict) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({}, schema)
