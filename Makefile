# make demo              sets everything up and runs the demo; make demo ARGS=--once ends after the three questions
# make test              everything that CI runs
# make soak             the daemon between both platforms, played, while everything goes wrong; ARGS="kills --kills 300"
# make fuzz             every decoder under libFuzzer, a minute each; ARGS="600 html": ten minutes of one
# make sbom             what the program is made of, as CycloneDX: target/cervella.cdx.json
# make install           as root: the program and its systemd units, into $(DESTDIR)$(PREFIX)
# make deb               a Debian package, in target/debian; scripts/real_systemd.sh tries it in a clean Debian
.PHONY: demo test build check models setup-test soak fuzz sbom install deb

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
	$(CARGO) clippy --release --test soak --locked -- -D warnings
	scripts/deny.sh
	scripts/exposure.sh

test: export RUST_TEST_THREADS = 1
test: check models
# One test at a time: each may run models on all cores, and two of them at once wait for each other at every barrier.
	$(CARGO) test --release --locked
	$(TARGET)/release/cervella demo --once

soak: models
	$(CARGO) test --release --locked --test soak -- $(ARGS)

fuzz:
	scripts/fuzz.sh $(ARGS)

sbom:
	scripts/sbom.sh

PREFIX ?= /usr
UNITS := $(DESTDIR)$(PREFIX)/lib/systemd/system

install:
	install -D -m 0755 $(TARGET)/release/cervella $(DESTDIR)$(PREFIX)/bin/cervella
	install -d $(UNITS)
	install -m 0644 systemd/*.service systemd/*.timer $(UNITS)
	install -D -m 0644 systemd/cervella.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/cervella.conf
	install -d -m 0755 $(DESTDIR)/etc/cervella
	install -d -m 0700 $(DESTDIR)/etc/cervella/credentials
	test -e $(DESTDIR)/etc/cervella/cervella.toml || install -m 0644 cervella.example.toml $(DESTDIR)/etc/cervella/cervella.toml

deb: build
	scripts/deb.sh
