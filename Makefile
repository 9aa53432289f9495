# Penstock. `make run` and `make test` need Debian 12 and Go 1.21 or newer, which fetches the toolchain that go.mod
# names; what else they need they install themselves and say so (test/run). `make help` has every target.
GO      ?= go
# Of the environment neither is taken, which may have a VERSION of something else: make VERSION=... sets it.
VERSION := $(shell cat VERSION)
# That of this clone, also where root builds another's, but not that of a repository which a tarball was unpacked in.
# Twelve digits: how many git needs depends on what else a clone holds.
COMMIT  := $(shell [ -e .git ] && git -c safe.directory='*' rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
BIN     := bin/penstock
# Process 1 of runs in images, which the tag process1 embeds in the program.
PROCESS1 := cmd/penstock/process1/program

# The modules test and tools name the root by a replace line: a developer's go.work changes no build.
export GO
export GOWORK := off

.PHONY: help build run fast test lint unit e2e load ui lab prometheus deb-check escape test-vm slow lab-whole powercuts chaos-long \
	containers needrestart clis-newest proxies clis-image e2e-whole chaos mutants fuzz bench record man deb clean go

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name does; do \
		printf '  make %-12s %s\n' "$$name" "$$does"; done

# An old Go says "invalid go version '1.26.0'" of go.mod, and no more; one that may fetch nothing
# (GOTOOLCHAIN=local, as in the Go containers) says what it is, and not what to do.
go:
	@v=$$(cd / && GOTOOLCHAIN=local $(GO) version 2>/dev/null | sed -n 's/.* go1\.\([0-9]*\).*/\1/p'); \
	if [ "$${v:-0}" -lt 21 ]; then \
		echo "make: install Go 1.21 or newer from https://go.dev/dl/ (Debian 12 has 1.19, which is too old): it fetches the version that go.mod names" >&2; \
		exit 1; \
	fi; \
	$(GO) list -m >/dev/null || { \
		echo "make: $(GO) can't fetch the Go that go.mod names: set GOTOOLCHAIN=auto, or install that version from https://go.dev/dl/" >&2; \
		exit 1; \
	}

build: go ## bin/penstock (BIN=PATH: another): static, no cgo; seconds, a minute the first time
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w' -o $(PROCESS1) ./cmd/process1
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -tags process1 -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/penstock

run: build ## build, then serve in the foreground on 127.0.0.1:3344
	bin/penstock serve --banner

fast: go ## vet, lint, house rules and unit tests without -race: before each commit; under 45 s once it has run
	test/run fast

test: go ## all that decides whether main may land: some 25 minutes, as root on Debian 12
	test/run all

lint: go ## vet, gofmt, tidy modules and golangci-lint (.golangci.yml), in every module
	test/run lint

unit: go ## of test: lint, and every package's tests with -race
	test/run unit

e2e: go ## of test: the six real CLIs through other makers' clients
	test/run e2e

load: go ## of test: 32 streams, health under load, shares
	test/run load

ui: go ## of test: the live page in headless Chromium
	test/run ui

lab: go ## of test: User-Mode Linux, where the kernel holds all limits
	test/run lab

prometheus: go ## of test: a real Prometheus asks every query that is shipped
	test/run prometheus

deb-check: go ## of test: the Debian package, built twice, and lintian
	test/run deb

test-vm: go ## of test: the unit we ship in whole Debian guests, where they can be built
	test/run vm

slow: go ## what takes longer than test may: the next ten
	test/run slow

lab-whole: go ## of slow: the lab with the tests that unit has had, too
	test/run lab-whole

powercuts: go ## of slow: 200 power cuts under durable runs
	test/run powercuts

chaos-long: go ## of slow: 10 000 runs of known ends, the daemon killed among them
	test/run chaos-long

containers: go ## of slow: docker, podman, LXC and nspawn in guests
	test/run containers

needrestart: go ## of slow: Debian's needrestart leaves runs alone
	test/run needrestart

clis-newest: go ## of slow: the newest CLIs that npm has beside the pinned ones, as a table
	test/run clis-newest

proxies: go ## of slow: nginx and Caddy with the settings of docs/reverse-proxy.md
	test/run proxies

e2e-whole: go ## of slow: e2e with each of the six CLIs where three stand for all
	test/run e2e-whole

clis-image: go ## of slow: the real CLIs in an image made by mmdebstrap, umoci and skopeo
	test/run clis-image

chaos: go ## a thousand runs whose ends are known
	test/run chaos

escape: go ## every way out of a run, in every guest: an hour
	test/run escape

mutants: go ## takes mechanisms out one by one and wants their tests to fail
	test/mutants/run

fuzz: go ## every parser, FUZZTIME each (60s)
	test/run fuzz

bench: go ## what Penstock costs beside the least that does the same, as ratios: about ten minutes; ROWS=name,... for some
	test/run bench

record: go ## the backends' test data anew, from the real CLIs
	test/run record

man: build ## bin/man: the manual, from the tree of commands and the keys of the configuration
	bin/penstock man bin/man

deb: build ## bin/penstock_*.deb: the Debian package, reproducible
	systemd/deb/build

# What lints and packs, at the versions of tools/go.mod. The first build takes minutes.
bin/tools/golangci-lint: tools/go.mod | go
	$(GO) -C tools build -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

clean: ## removes what was built
	rm -rf bin test/.cache $(PROCESS1)
