import pytest

from forecast_platform.host.prices import price_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (167.3, "167.30"),
        (1234.5678, "1,234.57"),
        (10.0, "10.00"),
        (2.386, "2.3860"),
        (1.08456, "1.0846"),
        (0.75, "0.7500"),
        (0.0072104, "0.007210"),
        (-36.98, "-36.98"),
        (-0.5, "-0.5000"),
        (0.0, "0.00"),
        (float("nan"), "–"),
    ],
)
def test_a_price_has_the_digits_that_count(value: float, text: str) -> None:
    assert price_text(value) == text
