"""Asks a DNS server of this host about names, over UDP and over TCP.

python -m tests.lab.ask PORT NAME ...

For each it says `NAME by udp: ADDRESS ...`, and the same by tcp; where there is no answer, the reason in its place.
"""

from __future__ import annotations

import sys

import dns.message
import dns.query
import dns.rcode

_SECONDS = 10.0


def addresses(answer: dns.message.Message) -> str:
    found = [str(record) for records in answer.answer for record in records]
    return " ".join(found) or dns.rcode.to_text(answer.rcode())


def main() -> None:
    port, *names = sys.argv[1:]
    for name in names:
        for word, ask in (("udp", dns.query.udp), ("tcp", dns.query.tcp)):
            answer = ask(dns.message.make_query(name, "A"), "127.0.0.1", timeout=_SECONDS, port=int(port))
            print(f"{name} by {word}: {addresses(answer)}", flush=True)
    print("asked all", flush=True)


if __name__ == "__main__":
    main()
