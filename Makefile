# `make demo` shows it, `make test` checks it, `make help` lists the rest. Both work
# from a clean clone; what is missing is installed by tools/setup.sh.

GO ?= go
BIN := bin/seussctl
# Nothing here is cgo's, and what is built without it runs in any root: one build of each
# package for all suites. The race detector needs it.
export CGO_ENABLED := 0
RACE := CGO_ENABLED=1 $(GO) test -race
# What check has vetted is not vetted again with each suite.
TEST := $(GO) test -vet=off
# The suites that a fresh machine needs packages for are named in setup.sh.
SETUP := ./tools/setup.sh

# Tests run on KVM where there is one, else on the process platform. Where there
# is KVM the process platform's turn comes in a second round.
HAVE_KVM := $(wildcard /dev/kvm)

.DEFAULT_GOAL := build

##@ Everyday

.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' Makefile

.PHONY: setup
setup: ## install what this machine lacks (apt)
	@$(SETUP)

.PHONY: build
build: ## bin/seussctl
	@mkdir -p bin
	$(GO) build -o $(BIN) ./tools/seussctl

.PHONY: demo
demo: setup build ## seven functions on every start path, and their lineage
	$(BIN) demo

.PHONY: quick
quick: check unit-quick ## what needs no guest: formats, vet, staticcheck, tests

.PHONY: clean
clean: ## remove bin/
	rm -rf bin

##@ What CI runs

# In this order: the cheap checks first. The last three run side by side: the machine of
# test-nested has one CPU, which it gets before the others, and fuzzing takes its time
# however fast a machine is.
.PHONY: test
test: setup check generated unit sdk e2e test-debian-node process race ## everything
	$(MAKE) -j 3 --output-sync=target test-nested NICE='nice -n 10' fuzz test-deploy

.PHONY: check
check: fmt vet staticcheck ## formats, vet, staticcheck

.PHONY: fmt
fmt: ## fail where gofmt would change something
	@out=$$(git ls-files -co --exclude-standard '*.go' | xargs -r gofmt -l); test -z "$$out" || { echo "not gofmt-ed: $$out"; exit 1; }

.PHONY: vet
vet: ## go vet
	$(GO) vet ./...

.PHONY: staticcheck
staticcheck: ## honnef.co/go/tools, as a module tool; staticcheck.conf
	$(GO) tool staticcheck ./...

# The kernel library under gcc's sanitizers is a minute of compiling: unit has it. Without
# guests tests wait more than they compute: two packages a processor are a quarter faster.
.PHONY: unit-quick
unit-quick: ## tests that run no guest
	SEUSS_TEST_PLATFORM=none $(TEST) -short -p $$((2 * $$(nproc))) $(shell $(GO) list ./... | grep -v /guest/hosttest)

.PHONY: unit
unit: ## tests beside the code
	$(TEST) $(shell $(GO) list ./... | grep -v /tests)

.PHONY: e2e
e2e: build ## end-to-end tests; those that have a daemon of their own (t.Parallel) three at a time
	SEUSS_JS_SDK="$$(test -f $(SDK)/installed && echo $(SDK))" $(TEST) -timeout 30m -parallel 3 ./tests/...

.PHONY: process
process: build ## the process platform, where the other suites ran on KVM
ifneq ($(HAVE_KVM),)
	SEUSS_TEST_PLATFORM=process $(TEST) -count=1 -timeout 20m ./vmm ./dispatcher ./dispatcher/instance ./tests
else
	@echo "no /dev/kvm: the suites above ran on the process platform"
endif

# Races need two at a time. Long loops of one goroutine are left out, or are shorter (-short):
# unit has them whole, and race-all under the detector.
# What starts no goroutine, in its tests neither, has none.
LOCKS = $(shell grep -rlE '\bsync\.(Mutex|RWMutex|WaitGroup|Map|Pool|Cond)|sync/atomic|^\s*go [a-z]|httptest' --include='*.go' \
	--exclude-dir=testdata lineage dirtytrack images dispatcher vmm/vsock | xargs -n 1 dirname | sort -u | sed 's,^,./,')
.PHONY: race
race: ## the race detector on what has locks
	$(RACE) -vet=off -short -timeout 20m -skip 'TestPowerCut|TestKilledWriter|TestWriterDiesAtEveryCall|TestFormsAreEqual|TestFlatten|TestSectionBitFlips|TestStats$$|TestCompareAndRebase' $(LOCKS)

.PHONY: fuzz
fuzz: ## a few seconds of each fuzz target; the named cases run with unit
	$(NICE) $(GO) run ./tools/fuzzall -time 3s

SDK := $(CURDIR)/.cache/sdk-js
.PHONY: sdk
sdk: ## AWS SDK for JavaScript, from npm; where it is, e2e tries it against the daemon, as it does the one for Go
	tests/sdk/install.sh $(SDK)

.PHONY: test-sdk
test-sdk: setup build sdk ## that SDK alone
	SEUSS_JS_SDK=$(SDK) $(GO) test -count=1 -run TestJavaScriptSDK ./tests

.PHONY: test-debian-node
test-debian-node: setup ## Node.js functions with Debian's own nodejs
	tests/debiannode/test.sh

.PHONY: test-container
test-container: build ## guests as processes in a container: no root, no capabilities, Docker's filter
	$(NICE) tests/container/test.sh

# After the other containers: they install what this needs.
.PHONY: test-deploy
test-deploy: build test-container ## the container image, and the manifests by Kubernetes' own types
	cd tools/deploy/validate && { $(NICE) $(GO) mod download || { echo "manifests: not tested: Kubernetes' modules cannot be had"; test "$${CI_CONTAINER:-0}" = 0; exit; } && $(NICE) $(GO) vet . && $(NICE) $(GO) test .; }
	$(NICE) tools/deploy/test.sh

.PHONY: test-nested
test-nested: ## hardware KVM that QEMU emulates, guest at CPL 0
	tests/nested/test.sh

##@ Packages

.PHONY: deb
deb: ## a Debian package: program, service, its user, completions, manual page
	tools/debian/build.sh bin/seuss.deb

.PHONY: test-deb
test-deb: ## make it, install it into a root of its own, check its unit, remove it (as root)
	tools/debian/test.sh

##@ Longer suites

.PHONY: test-nested-all
test-nested-all: ## all end-to-end tests on that machine: half an hour
	tests/nested/test.sh all

.PHONY: race-all
race-all: ## the race detector on what has locks, with the long loops: half an hour
	$(RACE) -timeout 90m $(LOCKS)

.PHONY: test-hostile
test-hostile: ## every attack of tests/attacks beside honest clients, who are measured; thirty kills; what a host may lack: minutes
	SEUSS_HOSTILE=1 $(GO) test -count=1 -timeout 60m -v -parallel 1 -run 'TestAttacks|TestKilledAtRandom|Exhausted|TestStopped|TestServeDiskFull' ./tests

.PHONY: test-plan
test-plan: ## plans for 50,000 functions and for a million, and the tables of the study: minutes
	SEUSS_TEST_PLAN=full $(GO) test -count=1 -v -timeout 30m -run 'TestCover|TestLectureRules' ./dispatcher/plan

.PHONY: test-soak
test-soak: ## a hundred thousand invocations: minutes
	SEUSS_SOAK=100000 $(GO) test -count=1 -timeout 60m -v -run 'TestManyInvocations' ./tests

.PHONY: test-scale
test-scale: build ## a thousand machines at a time whose memory is all in one process; as many as this host has descriptors for, with guests
	SEUSS_SCALE=1000 $(GO) test -count=1 -timeout 10m -v -run 'TestThousandMachines' ./dispatcher
	SEUSS_SCALE=1000 $(GO) test -count=1 -timeout 60m -v -run 'TestManyMachines' ./tests

.PHONY: test-large-root
test-large-root: setup ## a root file system of 20 GiB, sparse: minutes
	SEUSS_LARGE_ROOT=20 $(GO) test -count=1 -timeout 30m -v -run 'TestLargeRoot' ./tests

.PHONY: test-cpython
test-cpython: setup ## CPython's own suite, a module a guest: up to half an hour on 2 cores
	tests/cpython/setup.sh
	$(GO) test -count=1 -timeout 120m ./tests/cpython -all

.PHONY: test-blas
test-blas: setup build ## the demo where BLAS is OpenBLAS, in an overlay of this host: needs root
	tests/blas/test.sh

.PHONY: test-images
test-images: ## functions in roots of Debian's releases and of npm's Node.js, against the same interpreters in a chroot: minutes, as root
	tests/roots/setup.sh .cache/roots
	SEUSS_ROOTS=$(CURDIR)/.cache/roots $(GO) test -count=1 -timeout 60m -v -run 'TestFunctionsInAnyImage' ./tests

.PHONY: test-languages
test-languages: setup ## programs and servers of many languages over each contract, against the same without a guest: minutes, as root
	tests/languages/setup.sh
	$(GO) test -count=1 -timeout 60m -v ./tests/languages -all -strict

.PHONY: test-gostd
test-gostd: ## tests of Go's standard library, compiled static, a package a guest
	$(GO) test -count=1 -timeout 60m ./tests/gostd -all

##@ Generated files

.PHONY: generate
generate: ## kernel library, stub, Go mirrors of the contracts, AWS's operations
	$(GO) generate ./guest ./images/runtimes/... ./vmm/platform/process/stub ./vmm/vsock ./dispatcher/http/lambda

# The committed kernel library, stub and Go mirrors are what the sources give.
GENERATED := guest/abi_kernel_gen.go guest/abi_driver_gen.go guest/abi_image_gen.go guest/kernel.elf images/runtimes/nodejs/driver/host.node images/runtimes/nodejs/driver/region.node vmm/platform/process/stub/stub_gen.go vmm/platform/process/stub/stub.elf vmm/vsock/virtio_gen.go dispatcher/http/lambda/operations_gen.go
.PHONY: generated
generated: generate ## fail where the committed ones differ from their sources
	@git diff --exit-code --stat -- $(GENERATED) || \
		{ echo "these differ from their sources: run make generate and commit them"; exit 1; }

.PHONY: tables
tables: ## the tables in docs/ of system calls and of attacks
	SEUSS_UPDATE_TABLES=1 $(GO) test -count=1 -run 'TestGuestPageShowsTheSyscallTable|TestSecurityPageShowsTheAttacks' ./tests

##@ Measurements

.PHONY: bench
bench: setup build ## seussctl bench start
	$(BIN) bench start

# SECONDS=60 for longer rounds; WORK=100000 makes each invocation compute for 1 to 2 ms.
.PHONY: load
load: setup build ## the daemon under load: 1x, 2x and 5x of what it sustains, and a burst
	tests/load.sh $(or $(SECONDS),20) $(or $(WORK),0)

.PHONY: bench-images
bench-images: setup build ## images of layers, against umoci and skopeo, which it installs
	command -v umoci skopeo >/dev/null || $$([ "$$(id -u)" = 0 ] || echo sudo) apt-get install -y -qq --no-install-recommends umoci skopeo
	$(BIN) bench images

.PHONY: figures
figures: setup build ## run all benches, write docs/measurements/DATE.md: an hour, on a machine with nothing else on it
	tools/figures.sh
