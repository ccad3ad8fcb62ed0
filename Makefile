# seuss: `make demo` shows it, `make test` checks it. Both work from a clean
# clone; what is missing is installed by tools/setup.sh.

GO ?= go
BIN := bin/seussctl
# The suites that a fresh machine needs packages for are named in setup.sh.
SETUP := ./tools/setup.sh

# Tests run on KVM where there is one, else on the process platform. Where there
# is KVM the process platform's turn comes in a second round.
HAVE_KVM := $(wildcard /dev/kvm)

.PHONY: readme test-cpython test-gostd all build demo test check generate generated fmt vet unit e2e process race fuzz test-debian-node test-nested test-nested-all test-container test-sdk test-soak load bench clean setup

all: build

setup:
	@$(SETUP)

build:
	@mkdir -p bin
	$(GO) build -o $(BIN) ./tools/seussctl

demo: setup build
	$(BIN) demo

## What CI runs, in this order: the cheap checks first.
test: setup check unit e2e test-sdk test-debian-node process race fuzz test-container test-nested

check: fmt vet generated

fmt:
	@out=$$(gofmt -l .); test -z "$$out" || { echo "not gofmt-ed: $$out"; exit 1; }

vet:
	$(GO) vet ./...

generate:
	$(GO) generate ./guest ./vmm/process/stub

## The committed kernel library, stub and Go mirrors are what the sources give.
GENERATED := guest/abi_gen.go guest/kernel.elf guest/driver/node/host.node vmm/process/stub/stub_gen.go vmm/process/stub/stub.elf
generated: generate
	@git diff --exit-code --stat -- $(GENERATED) || \
		{ echo "these differ from their sources: run make generate and commit them"; exit 1; }

unit:
	$(GO) test $(shell $(GO) list ./... | grep -v /tests)

e2e: build
	$(GO) test -timeout 20m ./tests/...

## The process platform where the other suites ran on KVM.
process: build
ifneq ($(HAVE_KVM),)
	SEUSS_TEST_PLATFORM=process $(GO) test -count=1 -timeout 20m ./vmm ./dispatcher ./dispatcher/instance ./tests
else
	@echo "no /dev/kvm: the suites above ran on the process platform"
endif

## A hundred thousand invocations on either platform: minutes.
test-soak:
	SEUSS_SOAK=100000 $(GO) test -count=1 -timeout 60m -v -run 'TestManyInvocations' ./tests

## CPython's own test suite, a module a guest: from some minutes to half an hour on 2 cores, by the host.
test-cpython: setup
	tests/cpython/setup.sh
	$(GO) test -count=1 -timeout 120m ./tests/cpython -all

## The tests of Go's standard library, compiled static, a package a guest.
test-gostd:
	$(GO) test -count=1 -timeout 60m ./tests/gostd -all

## The README's tables of system calls.
readme:
	SEUSS_UPDATE_README=1 $(GO) test -count=1 -run TestReadmeShowsTheSyscallTable ./tests

race:
	$(GO) test -race -short -timeout 20m ./lineage/... ./dirtytrack/... ./images/... ./dispatcher/...

## A few seconds of each fuzz target; the corpora's named cases run with unit.
fuzz:
	$(GO) run ./tools/fuzzall -time 5s

## The whole end-to-end suite on KVM in that machine: half an hour.
test-nested-all:
	tests/nested/test.sh all

test-nested:
	tests/nested/test.sh

## Guests as processes in a container: no root, no capabilities, Docker's system call filter.
test-container: build
	tests/container/test.sh

## AWS SDK for JavaScript, from npm, against the daemon. (AWS SDK for Go runs with e2e.)
test-sdk: setup build
	tests/sdk/install.sh .cache/sdk-js
	SEUSS_JS_SDK=$(CURDIR)/.cache/sdk-js $(GO) test -count=1 -run TestJavaScriptSDK ./tests

## The daemon under load: mixed workload at 1x, 2x and 5x of what it sustains, and a burst.
## WORK=100000 makes each invocation compute for 1 to 2 ms.
load: setup build
	tests/load.sh $(or $(SECONDS),20) $(or $(WORK),0)

## Node.js functions with Debian's own nodejs, which the machine need not have.
test-debian-node: setup
	tests/debiannode/test.sh

bench: setup build
	$(BIN) bench start

clean:
	rm -rf bin
