.PHONY: demo test fast format

demo:
	scripts/demo

test:
	scripts/test

# Without the end-to-end tests.
fast:
	scripts/test -n auto --dist worksteal -m 'not e2e'

format:
	.venv/bin/python -m ruff check --fix .
	.venv/bin/python -m ruff format .
