#!/bin/bash
# fetch.sh: fetches QEMU, a kernel with kvm_amd and a static busybox as Debian
# packages, unpacks them into a cache and prints the folder. The machine itself
# is left as it is: apt works on lists, archives and settings of its own, and
# nothing is installed. A complete folder is used again without any download.
#
# Use: fetch.sh [--refresh]
#   --refresh              fetch anew, replacing what the cache holds
# Environment:
#   SEUSS_CACHE            cache root; default ${XDG_CACHE_HOME:-~/.cache}/seuss
#   SEUSS_NESTED_SUITE     backports (default; stable is the fallback) or stable
#
# The folder holds:
#   root/           QEMU, its data and the shared libraries the machine lacks
#   vmlinuz         kernel;  modules/ and modules/order: kvm_amd and what it needs
#   busybox         static busybox
#   qemu-major      major version of QEMU
#   packages        the packages it was made from, name=version
#   sha256          checksums of all of the above, checked at every use
set -euo pipefail

layout=1 # raise when the content of the folder changes
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
qemu_packages=(qemu-system-x86 qemu-system-common qemu-system-data seabios)

say() { printf 'nested: fetch: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

refresh=0
for arg in "$@"; do
	case $arg in
	--refresh) refresh=1 ;;
	*) die "unknown argument '$arg'; the only one is --refresh" ;;
	esac
done
suite=${SEUSS_NESTED_SUITE:-backports}
case $suite in backports | stable) ;; *) die "SEUSS_NESTED_SUITE is '$suite', want backports or stable" ;; esac
[[ $(uname -m) == x86_64 ]] || die "this machine is $(uname -m); the test guest needs x86_64"
cache=${SEUSS_CACHE:-${XDG_CACHE_HOME:-${HOME:?neither SEUSS_CACHE nor HOME is set}/.cache}/seuss}/nested
mkdir -p "$cache"
# shellcheck disable=SC2034 # the lock lives as long as the descriptor
exec {lock}>"$cache/lock"
flock "$lock"
rm -rf "$cache"/fetch.?????? # left by an interrupted run: the lock says nobody uses it

# intact FOLDER: complete, unchanged, and QEMU's libraries are all found.
intact() {
	[[ -f $1/sha256 ]] || return 1
	if ! (cd "$1" && sha256sum --quiet --strict -c sha256 >&2); then
		say "$1 is damaged, fetching it anew"
		return 1
	fi
	if ! qemu_version "$1" >/dev/null; then
		say "QEMU in $1 does not start on this machine, fetching it anew"
		return 1
	fi
}

# qemu_version FOLDER: prints QEMU's version, as in 10.0.2.
qemu_version() {
	local lib=$1/root/usr/lib/x86_64-linux-gnu text
	text=$(LD_LIBRARY_PATH=$lib:$1/root/lib/x86_64-linux-gnu QEMU_MODULE_DIR=$lib/qemu \
		"$1/root/usr/bin/qemu-system-x86_64" --version) || return 1
	sed -n 's/^QEMU emulator version \([0-9.]*\).*/\1/p;q' <<<"$text"
}

# A stable folder stands in where an earlier run could not get backports, so
# that a machine without them downloads once, too.
if ((!refresh)); then
	for s in backports stable; do
		[[ $suite == stable && $s == backports ]] && continue
		if intact "$cache/$s-v$layout"; then
			[[ $s == "$suite" ]] || say "warning: cache holds packages of $s, not $suite; fetch.sh --refresh tries again"
			printf '%s\n' "$cache/$s-v$layout"
			exit 0
		fi
	done
fi

for tool in apt-get apt-cache dpkg-deb awk flock sha256sum; do
	command -v "$tool" >/dev/null || die "$tool not found: the packages come from a Debian archive by apt"
done
# shellcheck source=/dev/null
codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
[[ -n $codename ]] || die "/etc/os-release names no VERSION_CODENAME"

work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT

# apt_setup: an apt that reads this machine's settings (proxy, credentials,
# keys) and writes only below $work. Hooks after an update would touch the
# machine and are dropped; so are pins, which are about installing. apt's
# download user could not enter the private folder, so it stays the caller.
apt_setup() {
	local dir
	dir=$(apt-config shell d Dir::Etc::parts/d | sed -n "s/^d='\(.*\)'$/\1/p")
	mkdir -p "$work/apt/state/lists/partial" "$work/apt/cache/archives/partial" "$work/deb" "$work/out"
	{
		[[ -f ${APT_CONFIG:-} ]] && printf "#include \"%s\";\n" "$APT_CONFIG"
		[[ -d $dir ]] && printf '#include "%s/";\n' "${dir%/}"
		dir=$(apt-config shell f Dir::Etc::main/f | sed -n "s/^f='\(.*\)'$/\1/p")
		[[ -f $dir ]] && printf '#include "%s";\n' "$dir"
		cat <<-EOF
			#clear APT::Update::Pre-Invoke;
			#clear APT::Update::Post-Invoke;
			#clear APT::Update::Post-Invoke-Success;
			#clear APT::Default-Release;
			Dir::State "$work/apt/state";
			Dir::State::lists "lists/";
			Dir::State::status "/var/lib/dpkg/status";
			Dir::Cache "$work/apt/cache";
			Dir::Cache::archives "archives/";
			Dir::Etc::sourcelist "$work/apt/own.sources";
			Dir::Etc::sourceparts "/dev/null";
			Dir::Etc::preferences "/dev/null";
			Dir::Etc::preferencesparts "/dev/null";
			Acquire::Languages "none";
			Acquire::Retries "3";
			APT::Sandbox::User "$(id -un)";
			APT::Install-Recommends "false";
			APT::Get::AllowUnauthenticated "false";
		EOF
	} >"$work/apt/apt.conf"
	printf 'Dir::Etc::parts "/dev/null";\nDir::Etc::main "%s/apt/apt.conf";\n' "$work" >"$work/apt/entry.conf"
	shopt -s nullglob
	local list parts
	list=$(apt-config shell f Dir::Etc::sourcelist/f | sed -n "s/^f='\(.*\)'$/\1/p")
	parts=$(apt-config shell d Dir::Etc::sourceparts/d | sed -n "s/^d='\(.*\)'$/\1/p")
	sources=("${parts%/}"/*.list "${parts%/}"/*.sources)
	[[ -f $list ]] && sources=("$list" "${sources[@]}")
	shopt -u nullglob
	((${#sources[@]})) || die "no apt sources found in $list and $parts"
	export APT_CONFIG=$work/apt/entry.conf
}

# apt_update BACKPORTS: fetches the package lists; fails if any is missing.
apt_update() {
	awk -v codename="$codename" -v backports="$1" -f "$here/aptsources.awk" "${sources[@]}" >"$work/apt/own.sources"
	[[ -s $work/apt/own.sources ]] ||
		die "no archive for $codename main in ${sources[*]}; this needs a Debian machine"
	apt-get update -qq -o APT::Update::Error-Mode=any >&2
}

# select_packages RELEASE: prints name=version of all that is to be downloaded.
# RELEASE is the preferred one, or empty. What the machine already has of
# QEMU's libraries is not fetched; ipxe is only for network cards.
select_packages() {
	local target=() default=() plan kernel version
	if [[ -n $1 ]]; then
		target=(-t "$1")
		default=(-o "APT::Default-Release=$1")
	fi
	plan=$(apt-get install -s --reinstall "${target[@]}" "${qemu_packages[@]}") || return 1
	sed -n 's/^Inst \([^ ]*\) \(\[[^]]*\] \)\?(\([^ ]*\) .*/\1=\3/p' <<<"$plan" | grep -v '^ipxe-qemu=' || return 1
	read -r version kernel < <(apt-cache show --no-all-versions "${default[@]}" linux-image-cloud-amd64 |
		sed -n 's/^Depends:.*\(linux-image-[^ ]*\) (= \([^)]*\)).*/\2 \1/p') || true
	[[ -n ${kernel:-} && -n ${version:-} ]] || { say "linux-image-cloud-amd64 names no kernel package"; return 1; }
	printf '%s=%s\n' "$kernel" "$version"
	version=$(apt-cache show --no-all-versions busybox-static | sed -n 's/^Version: //p;T;q')
	[[ -n $version ]] || { say "no package busybox-static"; return 1; }
	printf 'busybox-static=%s\n' "$version"
}

# unpack_kernel TREE: vmlinuz, and kvm-amd with all it depends on in the order
# in which they must be loaded. The package ships no modules.dep, so the names
# are read from each module's own depends= record.
unpack_kernel() {
	local images=("$1"/boot/vmlinuz-*)
	[[ ${#images[@]} == 1 && -f ${images[0]} ]] || { say "want one boot/vmlinuz in the kernel package, got: ${images[*]}"; return 1; }
	cp "${images[0]}" "$work/out/vmlinuz" || return 1
	mkdir -p "$work/out/modules" && : >"$work/out/modules/order"
	modules_root=$1
	add_module irqbypass && add_module kvm-amd
}

add_module() {
	local name=$1 file depends dep out
	out=$work/out/modules/${name//-/_}.ko
	[[ -e $out ]] && return 0
	file=$(find "$modules_root" \( -name "${name//_/-}.ko*" -o -name "${name//-/_}.ko*" \) -print -quit)
	case $file in
	*.ko) cp "$file" "$out" ;;
	*.ko.xz) "$work/out/busybox" unxz -c "$file" >"$out" ;;
	'') say "kernel package holds no module $name"; return 1 ;;
	*) say "kernel module $file: unknown compression"; return 1 ;;
	esac || { say "could not unpack kernel module $file"; return 1; }
	depends=$(tr '\0' '\n' <"$out" | LC_ALL=C sed -n 's/^depends=//p;T;q')
	for dep in ${depends//,/ }; do add_module "$dep" || return 1; done
	printf '%s\n' "${out##*/}" >>"$work/out/modules/order"
}

# assemble RELEASE: from package names to a complete folder in $work/out.
# Called where a failure leads to the fallback, so set -e is off in here and
# every step that can fail is checked.
assemble() {
	local deb packages version
	rm -rf "$work/out" "$work/deb" "$work/kernel" "$work/busybox"
	mkdir -p "$work/out/root" "$work/deb" "$work/kernel" "$work/busybox" || return 1
	packages=$(select_packages "$1") || return 1
	printf '%s\n' "$packages" >"$work/out/packages"
	mapfile -t packages <<<"$packages"
	say "downloading ${#packages[@]} packages"
	(cd "$work/deb" && apt-get download -qq "${packages[@]}" >&2) || return 1
	for deb in "$work"/deb/*.deb; do
		case ${deb##*/} in
		linux-image-*) dpkg-deb -x "$deb" "$work/kernel" ;;
		busybox-static_*) dpkg-deb -x "$deb" "$work/busybox" ;;
		*) dpkg-deb -x "$deb" "$work/out/root" ;;
		esac || { say "could not unpack ${deb##*/}"; return 1; }
	done
	rm -rf "$work/out/root/usr/share/"{doc,man,locale,bug,lintian}
	cp "$(find "$work/busybox" -type f -name busybox -perm -100 -print -quit)" "$work/out/busybox" ||
		{ say "package busybox-static holds no busybox"; return 1; }
	unpack_kernel "$work/kernel" || return 1
	version=$(qemu_version "$work/out") || version=''
	[[ -n $version ]] || { say "the unpacked QEMU does not start"; return 1; }
	printf '%s\n' "${version%%.*}" >"$work/out/qemu-major"
	say "QEMU $version, $(sed -n '/^linux-image-/p' "$work/out/packages")"
	# Written outside: the list must not hold itself.
	(cd "$work/out" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) >"$work/sha256" || return 1
	mv "$work/sha256" "$work/out/sha256"
}

apt_setup
got=$suite
if [[ $suite == backports ]] && ! { apt_update 1 && assemble "$codename-backports"; }; then
	say "warning: nothing usable in $codename-backports, falling back to stable"
	got=stable
fi
if [[ $got == stable ]]; then
	apt_update 0 || die "apt-get update failed"
	assemble "" || die "could not fetch the packages"
fi
dest=$cache/$got-v$layout
rm -rf "$dest"
mv -T "$work/out" "$dest"
printf '%s\n' "$dest"
