#!/bin/busybox sh
# init.sh: PID 1 of the nested test guest. It loads kvm_amd, runs what /plan.sh
# lists, counts exit codes, and ends the machine through /bin/guestexit. Only
# that helper can make QEMU end with the code run.sh accepts, and it is given
# the value for it in one place. Should this script stop anywhere else, PID 1
# is gone, the kernel panics, and QEMU ends with another code.
set -u
set -o pipefail # a test's exit code, not tee's

# Values for guestexit; QEMU's exit code is 2*value + 1, see run.sh.
passed_all=16
failed_some=17
no_kvm=18

passed=0
failed=0

end() {
	/bin/guestexit "$1"
	echo "init: guestexit $1 returned"
	exit 1
}

setup() {
	/bin/busybox mkdir -p /proc /sys /dev /tmp /run /root /work || return 1
	/bin/busybox --install -s /bin || return 1
	mount -t proc proc /proc &&
		mount -t sysfs sysfs /sys &&
		mount -t devtmpfs dev /dev &&
		mkdir -p /dev/shm /dev/pts &&
		mount -t tmpfs -o mode=1777 tmpfs /dev/shm &&
		mount -t devpts devpts /dev/pts &&
		mount -t tmpfs -o mode=1777 tmpfs /tmp || return 1
	ln -sf /proc/self/fd /dev/fd
	exec </dev/null >/dev/ttyS0 2>&1
	hostname nested && ip link set lo up && ulimit -n 65536 && ulimit -c 0
}

load_kvm() {
	local module
	while read -r module; do
		insmod "/modules/$module" || { echo "init: cannot load $module"; return 1; }
	done </modules/order
	[ -c /dev/kvm ] || { echo "init: kvm_amd is loaded, yet there is no /dev/kvm"; return 1; }
}

# uptime: whole seconds since boot.
uptime() {
	local up
	read -r up _ </proc/uptime
	echo "${up%%.*}"
}

# run MODE NAME PROGRAM [ARG...]: one entry of the plan, in a folder of its own.
# A Go test gets the time that is left as its limit, so that a hang ends with a
# dump of its goroutines; the same flag given by the caller comes later and
# wins. A test binary that ran no test has shown nothing and counts as failed.
run() {
	local mode=$1 name=$2 program=$3 start left status=0
	shift 3
	start=$(uptime)
	left=$((budget - start))
	[ "$left" -ge 1 ] || left=1
	echo "=== NESTED $name"
	[ "$mode" = test ] && set -- "-test.timeout=${left}s" "$@"
	mkdir -p "/work/$name"
	(cd "/work/$name" && exec "$program" "$@") 2>&1 | tee /run/output || status=$?
	if [ "$status" = 0 ] && [ "$mode" = test ] && grep -q '^testing: warning: no tests to run' /run/output; then
		status="0, but it ran no test"
	fi
	if [ "$status" = 0 ]; then
		passed=$((passed + 1))
		echo "=== NESTED $name: passed in $(($(uptime) - start)) s"
	else
		failed=$((failed + 1))
		echo "=== NESTED $name: FAILED, exit code $status, after $(($(uptime) - start)) s"
	fi
	rm -rf /tmp/* /run/output
}

export PATH=/bin HOME=/root TMPDIR=/tmp USER=root CI_KVM=1 GOTRACEBACK=all
setup || end $no_kvm
echo "Linux $(uname -r), $(nproc) CPU, $(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo) MiB"
if ! load_kvm; then
	dmesg | tail -n 15
	end $no_kvm
fi
budget=0
. /plan.sh
echo "$passed passed, $failed failed"
if [ "$failed" = 0 ] && [ "$passed" -gt 0 ]; then
	end $passed_all
fi
end $failed_some
