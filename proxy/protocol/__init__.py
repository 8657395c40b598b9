"""The protocols, pure: bytes in, events out; time is an argument; no I/O. `docs/protocol.md` has the words."""
