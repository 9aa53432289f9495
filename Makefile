# Penstock. `make run` and `make test` need Debian 12 and Go; what else they
# need they install themselves and say so (test/run).
GO      ?= go
# Twelve digits: how many git needs depends on what else a clone holds.
VERSION ?= $(shell git describe --tags --always --dirty --abbrev=12 2>/dev/null || echo unknown)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)

.PHONY: build man deb run test test-vm mutants unit e2e load ui lab prometheus escape chaos bench record fuzz slow powercuts chaos-long containers needrestart clis-newest proxies clean

build: ## bin/penstock: static, no cgo
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/penstock ./cmd/penstock

man: build ## bin/man: the manual, from the tree of commands and the keys of the configuration
	bin/penstock man bin/man

deb: build ## bin/penstock_*.deb: the Debian package, reproducible
	GO=$(GO) systemd/deb/build

run: build ## in the foreground on 127.0.0.1:3344
	bin/penstock serve --banner

test: ## all: unit, package, dashboards, live page, end to end with the real CLIs, load, the kernel lab, the guests
	GO=$(GO) test/run all

test-vm: ## the unit we ship in whole Debian guests (part of test where they can be built)
	GO=$(GO) test/run vm

unit e2e load ui lab prometheus escape chaos bench record fuzz: ## one part alone
	GO=$(GO) test/run $@

slow: ## what takes longer than test may: every life of the unit, power cuts, the long chaos, containers, the newest CLIs, proxies
	GO=$(GO) test/run slow

powercuts chaos-long containers needrestart proxies: ## one of them alone
	GO=$(GO) test/run $@

clis-newest: build ## the newest CLIs that npm has, beside the pinned ones, against the scripted model: a table
	GO=$(GO) test/run $@

mutants: ## takes mechanisms out one by one and wants their tests to fail
	GO=$(GO) test/mutants/run

clean:
	rm -rf bin test/.cache
