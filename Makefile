# The four ways in: `make demo`, `make test`, `make lint`, `make protos`. Each sets up .venv first.
PYTHON ?= python3
# Where pip finds torch, when it is not the default index: make TORCH_INDEX=URL test
TORCH_INDEX ?=

BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test lint protos

demo: $(READY)
	$(BIN)/weft demo

test: $(READY)
	$(BIN)/pytest -n auto --dist loadgroup

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

protos: $(READY)
	$(BIN)/python -m grpc_tools.protoc -Isrc -I$(wildcard .venv/lib/python3*/site-packages) --python_out=src --pyi_out=src --grpc_python_out=src src/weft/protos/v1/*.proto

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[server,dev]'
	touch $@
