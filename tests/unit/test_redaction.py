"""Secrets in every form in which they reach a log."""

import base64
import io
import logging
import subprocess
import sys

import pytest

from circuitlapse.redaction import SecretFilter, hide, redact

ENDPOINT = "https://lab:open%2Bsesame@hub.example"
BASIC = base64.b64encode(b"lab:open+sesame").decode()
TOKEN = "hf_SesameSesameSesame"
SIGNED = "https://cdn.example/a?X-Amz-Signature=sesame&Expires=9"


@pytest.fixture(autouse=True)
def secrets(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", ENDPOINT)
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.mark.parametrize(
    "text",
    [
        f"GET {ENDPOINT}/api",
        "the password is open+sesame",
        "the password is open%2bsesame",
        f"Basic {BASIC}",
        f"curl -H 'authorization: Basic {BASIC}'",
        f"token {TOKEN}",
        "another token hf_abcdefghijklmnopqrstuvwxyz0123sesame",
        "Authorization: Bearer sesame-sesame",
        "(b'Authorization', b'Bearer sesame-sesame')",
        "{'authorization': 'sesame'}",
        SIGNED,
        f"'{SIGNED}'",
        "/a?Policy=sesame&Signature=sesame&Key-Pair-Id=sesame",
        "GET /a?X-Amz-Credential=sesame%2F1&x-amz-security-token=sesame HTTP/1.1",
        "http://other:sesame@127.0.0.1/a",
        "http://sesame@127.0.0.1/a",
    ],
)
def test_no_form_of_a_secret_is_left(text):
    assert "sesame" not in redact(text).lower()
    assert BASIC not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "model.safetensors: 6468304 bytes downloaded, SHA-256 checked",
        "lab/model at step1000: gated on hub.example; set a token with access (HF_TOKEN)",
        "the basic authorization of hf_hub_download, and of hf_transfer",
        "https://hub.example/lab/model",
        "layer 0, head 1: 0.5 = 1/2; policy: keep",
    ],
)
def test_everything_else_stays(text):
    assert redact(text) == text


def test_a_short_password_is_hidden_in_addresses_only(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://lab:in@hub.example")
    assert redact("begin https://lab:in@hub.example") == "begin https://hub.example"


def test_a_token_from_a_file_can_be_hidden():
    hide("letmeinplease")
    assert redact("Send letmeinplease") == "Send ***"


def written(logger_name="httpx"):
    """Log a message, arguments, an exception with a cause and a wrong record; return the text."""
    stream = io.StringIO()
    handler, logger = logging.StreamHandler(stream), logging.getLogger(logger_name)
    handler.addFilter(SecretFilter())
    logger.addHandler(handler)
    try:
        logger.warning("asked %s of %d", f"{ENDPOINT}/a", 7)
        try:
            try:
                raise ValueError(f"no {SIGNED}")
            except ValueError as error:
                command = ["curl", "-H", f"Authorization: Bearer {TOKEN}", ENDPOINT]
                raise subprocess.CalledProcessError(1, command) from error
        except subprocess.CalledProcessError:
            logger.exception("failed with %s", TOKEN, stack_info=True)
        logger.warning("clean %s", "text")
    finally:
        logger.removeHandler(handler)
    return stream.getvalue()


def test_messages_arguments_tracebacks_and_causes_are_clean():
    text = written()
    assert "sesame" not in text.lower()
    assert "asked https://hub.example/a of 7" in text
    assert "CalledProcessError" in text
    assert "ValueError" in text
    assert "clean text" in text


CODE = f"""
import logging, sys
logging.basicConfig(level="DEBUG", stream=sys.stdout)
import circuitlapse.jobs
logging.getLogger("urllib3").debug("GET %s", {SIGNED!r})
logging.getLogger("new").error("%s", {ENDPOINT!r}, exc_info=ValueError({TOKEN!r}))
raise ValueError("from {ENDPOINT}")
"""


def test_every_handler_and_uncaught_exceptions_are_clean_in_a_job():
    """Also handlers that were there before, and loggers that nobody knows."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert "GET https://cdn.example/a" in said
    assert "ValueError: from https://hub.example" in said
    assert "sesame" not in said.lower()
