"""MQTT, as Messenger spoke it for years: mosquitto with TLS, paho over TCP and over a WebSocket, and mosquitto's clients."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.e2e.apps.interruption import NAMES, PLAN, by_its_words
from tests.e2e.chat import Chat

if TYPE_CHECKING:
    from tests.e2e.apps.interruption import Way
    from tests.e2e.servers import Mosquitto

pytestmark = pytest.mark.e2e


def test_paho_over_tcp_and_over_a_websocket(way: Way, mosquitto: Mosquitto) -> None:
    ports = {"tcp": mosquitto.port, "websockets": mosquitto.websocket_port}
    people = [
        way.join("mqtt", me, ports[transport], f"--transport={transport}", f"--scheme={scheme}")
        for me, transport, scheme in zip(NAMES, ports, ("socks5", "http"), strict=True)
    ]
    way.finish(people)


def test_the_clients_of_mosquitto(way: Way, mosquitto: Mosquitto) -> None:
    chat = Chat(way.programs, way.pair, mosquitto, way.authority)
    listeners = [by_its_words(chat.listen(f"mosquitto-{name}", messages=PLAN.messages)) for name in NAMES]
    with ThreadPoolExecutor(len(NAMES)) as threads:
        speaking = [threads.submit(chat.say_all, f"mosquitto-{name}", map(str, PLAN.moments())) for name in NAMES]
        way.finish(listeners, connected="connack")
        for each in speaking:
            each.result()
