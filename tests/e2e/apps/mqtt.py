"""Somebody at an MQTT broker by way of the proxy, with paho: TLS, over TCP or a WebSocket, every message acknowledged (QoS 1)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
import socks
from paho.mqtt.enums import CallbackAPIVersion

from tests.e2e.talk import PATIENCE_SECONDS, Ear, Part, part, tell

if TYPE_CHECKING:
    from argparse import Namespace

#: The proxy's protocol by the scheme of its URL.
_KINDS = {"socks5": socks.SOCKS5, "http": socks.HTTP}
_QOS = 1


class Person:
    def __init__(self, given: Part, more: Namespace) -> None:
        self._given = given
        self._ear = Ear(given.me, given.plan)
        self._ready = threading.Event()
        self._heard_all = threading.Event()
        self._client = client = paho.Client(CallbackAPIVersion.VERSION2, given.me, transport=more.transport)
        client.proxy_set(
            proxy_type=_KINDS[more.scheme], proxy_addr="127.0.0.1", proxy_port=given.proxy, proxy_rdns=True
        )
        client.tls_set(given.authority)
        client.on_connect = self._connected
        client.on_message = self._hear

    def talk(self) -> None:
        self._client.connect("localhost", self._given.port, keepalive=60)
        self._client.loop_start()
        assert self._ready.wait(PATIENCE_SECONDS)
        for number in self._given.plan.moments():
            said = self._client.publish(f"chat/{self._given.other}", str(number), _QOS)
        assert self._heard_all.wait(PATIENCE_SECONDS)
        said.wait_for_publish(PATIENCE_SECONDS)
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: paho.Client, *_: Any) -> None:
        tell(f"{self._given.me} connected")
        client.subscribe([(f"chat/{self._given.me}", _QOS), (f"there/{self._given.other}", _QOS)])
        client.publish(f"there/{self._given.me}", "yes", _QOS, retain=True)  # for who comes later, too

    def _hear(self, _client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        if message.topic.startswith("there/"):
            self._ready.set()
        elif self._ear.hear(message.payload.decode()):
            self._heard_all.set()


if __name__ == "__main__":
    Person(*part("transport", "scheme")).talk()
