"""Secrets are found by name, by form and by value; ordinary words stay."""

from __future__ import annotations

import pytest

import trainwright.core.kinds as kinds
from trainwright.core.redaction import HIDDEN, hiding, is_secret, redacted, secrets_of, without_secrets
from trainwright.core.schema import options


@pytest.mark.parametrize(
    "name", ["api_key", "apiKey", "X-API-Key", "token", "hf_token", "HF_TOKEN", "client_secret", "Authorization"]
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["max_tokens", "tokenizer", "keys", "monkey", "keyword", "secretary", "width", ""])
def test_other_names_are_not_taken_for_secrets(name: str) -> None:
    assert not is_secret(name)


def test_no_option_of_ours_has_the_name_of_a_secret() -> None:
    named = {
        f"{kind}.{name}.{option}"
        for kind, registry in kinds.KINDS.items()
        for name in registry.names()
        for option in options(registry[name])
        if is_secret(option)
    }
    assert not named


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("no file at https://ann:s3cret@host/x.csv", "s3cret"),
        ("no file at /home/ann/https:/ann:s3cret@host/x.csv", "s3cret"),  # as a Path writes it
        ("GET https://host/x?token=abc123&size=3 failed", "abc123"),
        ("Authorization: Bearer abc123def", "abc123def"),
        ("data.api_key = sk-1234", "sk-1234"),
    ],
)
def test_secrets_are_found_by_their_form(text: str, hidden: str) -> None:
    assert hidden in text
    told = redacted(text)
    assert hidden not in told
    assert HIDDEN in told


@pytest.mark.parametrize(
    "text",
    [
        "step 3: loss 0.25, max_tokens=512, lr = 0.1",
        "write to ann@example.org, or see https://example.org/a/b?page=2",
        "data.api_key: required; write data.api_key=…",
        "is not a setting; write key=value",
        "a basic understanding, bearer of news",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert redacted(text) == text


def test_what_the_environment_holds_under_such_a_name_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    monkeypatch.setenv("SHORT_TOKEN", "true")
    monkeypatch.setenv("KEY_FILE", "/home/ann/key.pem")
    text = "0123456789abcdef is true of /home/ann/key.pem"
    assert redacted(text) == f"{HIDDEN} is true of /home/ann/key.pem"


def test_known_secrets_are_hidden_wherever_they_stand() -> None:
    hide = hiding(["hunter22", "tiny"])
    assert hide("the server refused hunter22, tiny") == f"the server refused {HIDDEN}, tiny"


def test_plain_data_loses_its_secrets_and_tells_which() -> None:
    value = {"headers": {"X-Api-Key": "k1"}, "url": "https://a:b@h/x", "many": [{"token": "t1"}], "width": 3}
    assert without_secrets(value, True) == {
        "headers": {"X-Api-Key": HIDDEN},
        "url": f"https://{HIDDEN}@h/x",
        "many": [{"token": HIDDEN}],
        "width": 3,
    }
    found = dict(secrets_of(value, "data", True))
    assert found == {"data.headers.X-Api-Key": "k1", "data.url": "https://a:b@h/x", "data.many.0.token": "t1"}


def test_keys_that_are_columns_or_weights_say_nothing() -> None:
    value = {"token": "text", "key.*": "2 epochs"}
    assert without_secrets(value, False) == value
    assert not list(secrets_of(value, "unfreeze", False))
