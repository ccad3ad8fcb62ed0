#!/bin/bash
# test.sh: the monitor's, the dirty trackers', the sandbox's and the end-to-end tests on a
# faithful hardware KVM: kvm_amd inside QEMU, where the guest runs at CPL 0.
# The end-to-end tests are a slice, since everything is 7 to 30 times slower;
# `test.sh all` runs all of them but those that need what that machine lacks:
# Go, a Python, Node.js or Lua of its own, this source tree, a second user.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$root"

export CGO_ENABLED=0
go test -c -o "$work/vmm.test" ./vmm
go test -c -o "$work/kvm.test" ./vmm/platform/kvm
go test -c -o "$work/dirtytrack.test" ./dirtytrack
go test -c -o "$work/confine.test" ./tools/seussctl/confine
go test -c -o "$work/tests.test" ./tests
go build -o "$work/seussctl" ./tools/seussctl
"$work/seussctl" --state "$work/state" image build >/dev/null

if [ "${1:-}" = all ]; then
	go test -c -o "$work/dispatcher.test" ./dispatcher
	go test -c -o "$work/instance.test" ./dispatcher/instance
	"$work/seussctl" --state "$work/small" image build --memory 72MiB --no-numpy >/dev/null
	lacks='TestGoProgram|TestOutboundGo|TestRunCommand|TestCommandsAsProcesses|TestImportsPointOneWay|TestUnsafe|TestOnePackageDoc|TestTopLevel|TestCFiles|TestHouse|TestLocks|TestReferences|TestEmbed|TestReadme|TestWorkflows|TestSecurityPage|TestGuestPage|TestStateOfTheReleaseBefore'
	"$here/run.sh" --smp 1 --timeout 3600 --memory 6144 --file "$work/seussctl:/seussctl" \
		--file "$work/state/images:/images" --file "$work/small/images:/small" -- \
		"$work/tests.test" -test.v -test.short -test.skip "$lacks" -images /images -slow 10 -set-clock -seussctl /seussctl ::: \
		"$work/instance.test" -test.v -test.run "Law|Trackers|Secret|Written" -images /small -slow 10 ::: \
		"$work/dispatcher.test" -test.v -test.run "Cold|Collect" -images /small -slow 10
	exit
fi

slice='TestStartPaths|TestClonesAreDistinct|TestWallClock|TestHostileFunctions/(exception|endless|null|illegal|os-exit|deep)|TestLazyArguments|TestColdStart|TestMemoryLimitLooksOnly|TestClockJumps|TestDamagedPageNeverRuns|TestPythonFeatures|TestNodesMoveBetweenPlatforms|TestProtectedFunction|TestOutboundSnapshot|TestFarFunction|TestForgedTables/(entries|large)$'
# One CPU: with two, QEMU now and then runs into a half-patched jump label when
# KVM switches its preemption notifiers on (an int3 oops of the inner Linux).
"$here/run.sh" --smp 1 --timeout 840 --memory 3072 \
	--file "vmm/platform/kvm/testdata:/work/kvm/testdata" --file "$work/state/images:/images" --file "$work/seussctl:/seussctl" -- \
	"$work/vmm.test" ::: "$work/kvm.test" ::: "$work/dirtytrack.test" ::: "$work/confine.test" ::: \
	"$work/tests.test" -test.v -test.run "$slice" -images /images -set-clock -seussctl /seussctl
