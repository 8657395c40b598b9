"""A chat: mosquitto with TLS, and its clients through SOCKS5 with names resolved at the exit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.chat import SILENCE_SECONDS
from tests.e2e.machine import wait_until

if TYPE_CHECKING:
    import threading

    from tests.e2e.chat import Chat
    from tests.e2e.machine import Program

pytestmark = pytest.mark.e2e


def test_messages_go_both_ways(chat: Chat) -> None:
    alice, bob = chat.listen("alice"), chat.listen("bob")
    chat.say("bob", "Is anybody there?")
    bob.wait_for("is anybody there?")
    chat.say("alice", "Yes: 你好, سلام, привет")
    alice.wait_for("你好, سلام, привет")
    wait_until(lambda: not alice.alive and not bob.alive, "the end of both clients")


@pytest.mark.last("silence")
def test_a_message_arrives_after_two_minutes_of_silence(chat: Chat, silence: tuple[Program, threading.Event]) -> None:
    carol, over = silence
    assert over.wait(SILENCE_SECONDS + 10)
    assert carol.alive, carol.text()
    chat.say("carol", "good morning")
    assert carol.wait_for("good morning", seconds=10)
    wait_until(lambda: not carol.alive, "the end of the client")
    assert carol.stop() == 0
    assert "pingreq" not in carol.text().lower()
