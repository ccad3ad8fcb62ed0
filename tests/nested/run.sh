#!/bin/bash
# run.sh: runs static test binaries on a faithful hardware KVM without the
# hardware: Debian's kvm_amd inside an emulated AMD machine.
#
# Use: run.sh [OPTION]... -- TESTBIN [ARG]... [::: TESTBIN [ARG]...]...
#   --timeout SECONDS    for everything after the fetch; default 840
#   --memory MIB         of the guest; default 2048
#   --smp N              CPUs of the guest; default 2, 1 on QEMU before 10
#   --cpu MODEL          QEMU's CPU model with SVM; default EPYC
#   --append WORDS       added to the kernel's command line, as hugepages=64
#   --file HOST:GUEST    a file or folder for the guest, at an absolute path
#   --command            run plain static programs in place of Go tests; a name
#                        without a slash is looked up in the guest's busybox
#
# A TESTBIN is the output of `CGO_ENABLED=0 go test -c`. In the guest it runs
# as root with CI_KVM=1, in the empty folder /work/NAME (NAME: the file's name
# without .test; .2, .3 is added when it comes again), TMPDIR on an empty tmpfs.
# fetch.sh, which this calls, names the environment variables and the cache.
#
# Exit code: 0 only if QEMU ends with 33, which only the guest's init can bring
# about, after every test passed. 2 is wrong use, 124 the timeout, 1 the rest.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
timeout=840 memory=2048 smp='' cpu=EPYC append='' mode=test
files=()

say() { printf 'nested: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
usage() { say "error: $*"; sed -n '/^# Use:/,/^#$/s/^# \{0,1\}//p' "$here/run.sh" >&2; exit 2; }

# number OPTION VALUE LOW HIGH
number() {
	if [[ ! $2 =~ ^[1-9][0-9]{0,6}$ ]] || (($2 < $3 || $2 > $4)); then
		usage "$1 wants a whole number from $3 to $4, got '$2'"
	fi
}

while (($#)) && [[ $1 != -- ]]; do
	case $1 in
	--command) mode="command"; shift; continue ;;
	--timeout | --memory | --smp | --cpu | --append | --file) ;;
	*) usage "unknown argument '$1' before --" ;;
	esac
	(($# > 1)) || usage "$1 wants a value"
	case $1 in
	--timeout) number "$1" "$2" 5 86400; timeout=$2 ;;
	--memory) number "$1" "$2" 256 1048576; memory=$2 ;;
	--smp) number "$1" "$2" 1 64; smp=$2 ;;
	--cpu) cpu=$2 ;;
	--append) append=$2 ;;
	--file)
		[[ $2 == ?*:/?* && ${2#*:} != *..* ]] || usage "--file wants HOST:/GUEST, got '$2'"
		[[ -e ${2%%:*} ]] || usage "--file $2: no such file ${2%%:*}"
		files+=("$2")
		;;
	esac
	shift 2
done
(($# > 1)) || usage "nothing to run after --"
shift

work=$(mktemp -d "${TMPDIR:-/tmp}/seuss-nested.XXXXXX")
root=$work/root
machine=''
cleanup() {
	if [[ -n $machine ]]; then kill "$machine" 2>/dev/null || true; fi
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$root"/{bin,tests,work,etc,modules}

# quote WORD: prints it as one word of a shell script, whatever it holds.
quote() { printf "'%s'" "${1//\'/\'\\\'\'}"; }

# static FILE: refuses what cannot run in the guest, which has no libraries. A
# dynamic program names its loader near the start of the file.
static() {
	[[ -f $1 ]] || usage "no such file $1"
	[[ $(head -c 4 "$1" | tr -d '\0') == $'\x7fELF' ]] || die "$1 is no ELF program"
	! head -c 4096 "$1" | LC_ALL=C grep -aq '/ld-linux' || die "$1 is not static; build it with CGO_ENABLED=0"
}

declare -A packed=() seen=()
# plan_entry PROGRAM [ARG...]: packs the program, adds one line to the plan.
plan_entry() {
	local program=$1 name guest arg
	name=$(basename "$program" .test)
	name=${name//[^A-Za-z0-9._-]/_}
	seen[$name]=$((${seen[$name]:-0} + 1))
	guest=/tests/$name
	((seen[$name] == 1)) || name=$name.${seen[$name]}
	if [[ $mode == command && $program != */* ]]; then
		guest=$program
	elif [[ -n ${packed[$program]:-} ]]; then
		guest=${packed[$program]}
	else
		static "$program"
		guest=/tests/$name
		cp --reflink=auto "$program" "$root$guest"
		chmod 755 "$root$guest"
		packed[$program]=$guest
	fi
	shift
	{
		printf 'run %s %s %s' "$mode" "$name" "$(quote "$guest")"
		for arg in "$@"; do printf ' %s' "$(quote "$arg")"; done
		printf '\n'
	} >>"$root/plan.sh"
}

# The limit inside comes before the one outside, so that a hanging Go test can
# still report.
margin=$((timeout > 20 ? 10 : timeout / 2))
printf 'budget=%d\n' $((timeout - margin)) >"$root/plan.sh"
entry=()
for arg in "$@" :::; do
	if [[ $arg != ::: ]]; then
		entry+=("$arg")
		continue
	fi
	((${#entry[@]})) || usage "an empty entry between -- and :::"
	plan_entry "${entry[@]}"
	entry=()
done

started=$(date +%s)
say "packing"
kit=$("$here/fetch.sh") || die "no QEMU, kernel or busybox to run on"
(cd "$here" && CGO_ENABLED=0 GOOS=linux GOARCH=amd64 \
	go build -trimpath -buildvcs=false -o "$root/bin/guestexit" ./guestexit) || die "go build guestexit failed"
cp "$kit/busybox" "$root/bin/busybox"
cp "$kit"/modules/* "$root/modules/"
cp "$here/init.sh" "$root/init"
chmod 755 "$root/init" "$root/bin/busybox"
printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\n' >"$root/etc/group"
printf '127.0.0.1 localhost nested\n::1 localhost\n' >"$root/etc/hosts"
for pair in ${files[@]+"${files[@]}"}; do
	guest=$root${pair#*:}
	[[ ! -e $guest ]] || die "--file $pair: the guest has a ${pair#*:} already"
	mkdir -p "$(dirname "$guest")"
	cp -RL --reflink=auto "${pair%%:*}" "$guest"
done

# While the kernel unpacks, the guest holds all of it twice, and its root file
# system may take half of the memory.
size=$(du -sm --apparent-size "$root" | cut -f1)
((size * 2 + 256 <= memory)) || die "$size MiB of files need --memory $((size * 2 + 256)), got $memory"
(
	cd "$root"
	find . -exec touch -h -d @0 {} +
	find . -mindepth 1 -print0 | LC_ALL=C sort -z |
		"$kit/busybox" cpio -0 -o -H newc -R 0:0 --renumber-inodes --ignore-devno 2>"$work/cpio.err"
) >"$work/initrd" || die "cannot pack the guest: $(cat "$work/cpio.err")"
rm -rf "$root"

if [[ -z $smp ]]; then
	# Two CPUs on QEMU 7.2 hang now and then: its threads race.
	smp=$(($(cat "$kit/qemu-major") < 10 ? 1 : 2))
fi
lib=$kit/root/usr/lib/x86_64-linux-gnu
# shellcheck disable=SC2054 # the commas belong to QEMU
qemu=("$kit/root/usr/bin/qemu-system-x86_64"
	-L "$kit/root/usr/share/qemu" -L "$kit/root/usr/share/seabios"
	-machine q35 -accel tcg -cpu "$cpu" -smp "$smp" -m "$memory"
	-nodefaults -no-user-config -display none -monitor none -serial stdio -no-reboot
	-device isa-debug-exit,iobase=0xf4,iosize=4
	-kernel "$kit/vmlinuz" -initrd "$work/initrd"
	-append "console=ttyS0 quiet panic=-1 oops=panic tsc=reliable $append")

# A pipe with a name, because the exit code of QEMU and the process to stop are
# wanted, and all output before the verdict.
mkfifo "$work/serial"
LC_ALL=C sed -u -e "/warning: TCG doesn't support requested feature/d" -e 's/\r*$//' -e 's/^/nested: /' <"$work/serial" &
printer=$!
say "booting $cpu x $smp, $memory MiB, $size MiB of files, timeout $timeout s"
LD_LIBRARY_PATH=$lib:$kit/root/lib/x86_64-linux-gnu QEMU_MODULE_DIR=$lib/qemu \
	timeout --foreground --kill-after=10 "$timeout" "${qemu[@]}" </dev/null >"$work/serial" 2>&1 &
machine=$!
code=0
wait "$machine" || code=$?
machine=''
wait "$printer" || true
took="after $(($(date +%s) - started)) s"
case $code in
33) say "all passed $took" ;;
35) die "a test failed $took" ;;
37) die "the guest has no usable KVM: CPU model $cpu, see above" ;;
124 | 137) say "error: timed out: not done within $timeout s"; exit 124 ;;
0) die "the guest stopped without a verdict $took: a panic or reset, see above" ;;
*) die "QEMU ended with $code $took, see above" ;;
esac
