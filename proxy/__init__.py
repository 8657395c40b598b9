"""Ropeway: one TLS connection carries everything a browser and chat apps say to an exit of the user's own."""
