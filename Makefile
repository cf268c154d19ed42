# Everything a newcomer needs. `make demo` does the main job, `make test` proves it.
PYTHON ?= python3
BIN := .venv/bin
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false

.PHONY: demo test lint bench ui lock wheel clean

# The environment: the lock's exact files, checked by hash. --no-deps because the lock is complete, and because
# pip 23 refuses `sqlalchemy[asyncio]` in a hash-checked file.
.venv/ready: requirements.lock pyproject.toml
	@rm -rf .venv
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --python $(PYTHON) .venv && \
	  uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements.lock && \
	  uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . ; \
	else \
	  $(PYTHON) -m venv .venv && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . ; \
	fi
	@touch $@

demo: .venv/ready
	@$(BIN)/backorder demo --store demo/store --out demo/queue

# In as many processes as WORKERS says; 0 is one that a debugger can stop in.
WORKERS ?= 2
test: .venv/ready
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

lint: .venv/ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# Figures beside their goals and peers; two hours in all. QUICK=--quick for a first look. Files without either are parts.
bench: .venv/ready
	@for b in $$(grep -lE '(options|measure)\((str|__doc__)' tests/benchmarks/*.py); do echo "== $$b"; $(BIN)/python $$b $(QUICK) || exit 1; done

# MLflow's page on this machine only: http://127.0.0.1:5001
STORE ?= demo/store
ui: .venv/ready
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false $(BIN)/mlflow server \
	  --backend-store-uri sqlite:///$(abspath $(STORE))/mlflow.db --host 127.0.0.1 --port 5001 --allowed-hosts 127.0.0.1:5001,localhost:5001

# Needs uv: it writes hashes and no addresses.
lock:
	uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --extra dev --extra bench --extra postgres --extra tryton pyproject.toml -o requirements.lock

wheel: .venv/ready
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || uv pip install --quiet --python $(BIN)/python pip
	@$(BIN)/python -m hatchling build -t wheel

clean:
	rm -rf .venv demo dist
