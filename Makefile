# Every target makes .venv when it is missing. PYTHON chooses the interpreter that makes it.
PYTHON ?= python3
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo readme setup test test-all lint format bench bench-peers bench-parts speed-table consistency-table symmetry-tables golden clean

demo: .venv/.demo  ## compare degrees of sharing on handwritten digits; writes demo/report.html
	.venv/bin/weightshare study digits --out demo

readme: demo  ## the table and picture of the demo into README.md
	.venv/bin/python docs/readme.py demo

setup: .venv/.test  ## everything the tests and checks need

test: .venv/.test  ## the tests that fit in ten minutes
	.venv/bin/python -m pytest -m "not long"

test-all: .venv/.test  ## the long ones too
	.venv/bin/python -m pytest

lint: .venv/.test
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/pyright

format: .venv/.test
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

bench: .venv/.test  ## ours against the alternatives on this machine; best left alone for its twenty minutes
	.venv/bin/python benchmarks/layers.py

bench-peers: .venv-peers/.peers  ## JAX and tf_keras too, in an environment of their own (3.5 GB)
	.venv-peers/bin/python benchmarks/layers.py

bench-parts: .venv/.test  ## where the time of a layer that shares nothing goes
	.venv/bin/python benchmarks/parts.py

speed-table: .venv/.test  ## the results of the last bench into docs/speed.md
	.venv/bin/python docs/speed.py benchmarks/results/layers.json

consistency-table: .venv/.test  ## the results of the last benchmark of blur pooling into docs/consistency.md
	.venv/bin/python docs/consistency.py benchmarks/results/blur_pooling.json

symmetry-tables: .venv/.test  ## the tables of docs/symmetry.md, computed anew
	.venv/bin/python docs/symmetry.py

golden: .venv-golden/.golden  ## what Keras and Flax compute, anew into tests/golden
	.venv-golden/bin/python tests/golden/make_golden.py

.venv/bin/python:
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/.demo: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[study]'
	touch $@

.venv/.test: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[test,faces]'
	touch $@

.venv-peers/.peers: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[peers]'
	touch $@

.venv-golden/.golden: tests/golden/requirements.txt
	$(PYTHON) -m venv .venv-golden
	.venv-golden/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	touch $@

clean:
	rm -rf .venv .venv-golden .venv-peers
