"""Errors: their family, their numbers, and that each has one line for the user."""

from __future__ import annotations

import pytest

from proxy.errors import (
    REASON_TEXT,
    AuthorityError,
    CarrierError,
    ConfigError,
    DesktopError,
    LocalPortError,
    LocalProtocolError,
    OpenError,
    Reason,
    RemoteProtocolError,
    RopewayError,
    ServiceError,
    UsageError,
)


def test_what_a_user_may_read_is_one_family_and_protocol_errors_are_not_in_it() -> None:
    of_users = {ConfigError, OpenError, LocalPortError, CarrierError}
    of_systems = {ServiceError, DesktopError, AuthorityError, UsageError}
    assert of_users | of_systems == set(RopewayError.__subclasses__())
    for kind in (LocalProtocolError, RemoteProtocolError):
        assert not issubclass(kind, RopewayError)


def test_reasons_have_the_numbers_of_the_protocol_without_gaps() -> None:
    assert [reason.value for reason in Reason] == list(range(10))


def test_every_byte_reads_as_a_reason() -> None:
    assert [Reason.from_wire(number) for number in range(256)] == [*Reason, *[Reason.FAILED] * 246]


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_one_line(reason: Reason) -> None:
    text = REASON_TEXT[reason]
    assert text.isprintable()
    assert text
    assert not text.endswith(".")
    error = OpenError(reason)
    assert error.reason is reason
    assert str(error) == text


def test_texts_tell_reasons_apart() -> None:
    assert len(set(REASON_TEXT.values())) == len(Reason)


def test_what_somebody_said_better_stands() -> None:
    error = OpenError(Reason.REFUSED, "port 25 is closed")
    assert str(error) == "port 25 is closed"
    assert error.reason is Reason.REFUSED


def test_a_configuration_error_names_its_field() -> None:
    error = ConfigError("exit.port", "65536 is not a port")
    assert str(error) == "exit.port: 65536 is not a port"
    assert error.field == "exit.port"


def test_a_configuration_error_of_the_whole_file_names_none() -> None:
    error = ConfigError("", "the file is empty")
    assert str(error) == "the file is empty"
    assert error.field == ""
