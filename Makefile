# make demo              sets everything up and runs the demo; make demo ARGS=--once ends after the three questions
# make test              everything that CI runs
.PHONY: demo test build check models setup-test

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)

build:
	$(CARGO) build --release --locked

models: build
	$(TARGET)/release/cervella models pull demo

demo: models
	$(TARGET)/release/cervella demo $(ARGS)

setup-test:
	scripts/setup_test.sh

check: setup-test
	$(CARGO) fmt --check
	$(CARGO) clippy --release --all-targets --locked -- -D warnings
	scripts/deny.sh

test: export RUST_TEST_THREADS = 1
test: check models
# One test at a time: each may run models on all cores, and two of them at once wait for each other at every barrier.
	$(CARGO) test --release --locked
	$(TARGET)/release/cervella demo --once
