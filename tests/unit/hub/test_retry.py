from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError

from circuitlapse.hub import Patience
from circuitlapse.hub.retry import may_pass, told_wait_s


def refusal(status, **headers):
    request = httpx2.Request("GET", "http://127.0.0.1/")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx2.Response(status, headers=named, request=request)
    return HfHubHTTPError("no", response=response)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (refusal(503, Retry_After="7"), 7.0),
        (refusal(429, RateLimit='"api";r=0;t=55'), 55.0),
        (refusal(429, RateLimit='"api";r=3;t=55'), None),
        (refusal(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), 0.0),
        (refusal(503, Retry_After="soon"), None),
        (refusal(503), None),
        (httpx2.ReadError("lost"), None),
    ],
)
def test_a_hub_says_how_long_to_wait_in_one_of_three_ways(error, seconds):
    assert told_wait_s(error) == seconds


def test_a_date_to_come_is_waited_for():
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < told_wait_s(refusal(503, Retry_After=date)) <= 90


@pytest.mark.parametrize("error", [httpx2.ReadError(""), httpx2.ConnectTimeout(""), refusal(502)])
def test_what_may_pass_is_tried_again(error):
    assert may_pass(error)


@pytest.mark.parametrize(
    "error", [refusal(404), refusal(429, Retry_After="901"), httpx2.ProxyError(""), OSError()]
)
def test_what_will_not_pass_is_not_tried_again(error):
    assert not may_pass(error)


def test_waits_double_up_to_the_longest(monkeypatch):
    waits = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)

    def fail():
        raise httpx2.ReadError("lost")

    with pytest.raises(httpx2.ReadError):
        Patience(attempts=6, first_wait_s=1.0, longest_wait_s=5.0).retrying("a")(fail)
    least = [1.0, 2.0, 4.0, 5.0, 5.0]
    assert all(low <= wait <= low + 1 for low, wait in zip(least, waits, strict=True))
