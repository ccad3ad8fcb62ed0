package confine

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"

	"seuss/dispatcher/api"
)

// Rights of Landlock, linux/landlock.h.
const (
	readFile  landlock.AccessFSSet = ll.AccessFSReadFile
	readTree                       = readFile | ll.AccessFSReadDir
	execute                        = readFile | ll.AccessFSExecute
	device                         = readFile | ll.AccessFSWriteFile | ll.AccessFSIoctlDev
	writeTree                      = readTree | ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSRefer |
		ll.AccessFSRemoveDir | ll.AccessFSRemoveFile | ll.AccessFSMakeDir | ll.AccessFSMakeReg | ll.AccessFSMakeSock
)

// newest is the version of Landlock's ABI whose restrictions are asked for. Later
// ones restrict UDP and connections to Unix sockets, for which there are no rules
// here yet.
var newest = landlock.V8

// pathRule is what may be done with some paths, and why. A path that does not exist
// is left out.
type pathRule struct {
	why    string
	rights landlock.AccessFSSet
	paths  []string
}

// pathRules is all that a daemon may do with the file system.
func pathRules(o Options, groups []hierarchy) []pathRule {
	rules := []pathRule{
		{"images, snapshots, functions, events, sockets, temporary files", writeTree, append([]string{o.StateDir}, o.Dirs...)},
		{"files that the command line names", readFile, o.Files},
		{"guests as virtual machines, paging on demand", device, []string{"/dev/kvm", pageDevice}},
		{"what Go's runtime and the standard library open", readFile | ll.AccessFSWriteFile, []string{"/dev/null"}},
		{"its own memory and that of guests' processes, which Landlock tells from others'; figures of the host", readTree, []string{"/proc", "/sys"}},
		{"times in the log", readTree, []string{"/etc/localtime", "/usr/share/zoneinfo"}},
		{"to execute itself, once", execute, append([]string{ownProgram}, loaderOf(ownProgram)...)},
	}
	for _, h := range groups {
		rules = append(rules,
			pathRule{"groups of guests' processes", readTree | ll.AccessFSWriteFile | ll.AccessFSMakeDir | ll.AccessFSRemoveDir, []string{h.Base}},
			pathRule{"to leave its own group in the end", ll.AccessFSWriteFile, []string{filepath.Join(h.own(), "cgroup.procs")}})
		if h.Made {
			rules = append(rules, pathRule{"to remove it", ll.AccessFSRemoveDir, []string{h.own()}})
		}
	}
	if o.Network {
		rules = append(rules, pathRule{"names and addresses", readTree, resolverPaths()})
	}
	if o.TLS {
		rules = append(rules, pathRule{"certificates of authorities (crypto/x509)", readTree, certificatePaths()})
	}
	return rules
}

// loaderOf returns what else a program needs to start that is not linked statically.
func loaderOf(program string) []string {
	f, err := elf.Open(program)
	if err != nil {
		return nil
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		name := make([]byte, p.Filesz)
		if _, err := p.ReadAt(name, 0); err != nil {
			return nil
		}
		return []string{strings.TrimRight(string(name), "\x00"), "/lib", "/lib64", "/usr/lib", "/etc/ld.so.cache"}
	}
	return nil
}

// resolverPaths are what Go's resolver reads. Where a file is a link, whoever
// manages it replaces its target, so that the folder is what may be read.
func resolverPaths() []string {
	var paths []string
	for _, p := range []string{"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/services", "/etc/protocols"} {
		paths = append(paths, p)
		if target, err := filepath.EvalSymlinks(p); err == nil && filepath.Dir(target) != filepath.Dir(p) {
			paths = append(paths, filepath.Dir(target))
		}
	}
	return paths
}

// certificatePaths are where crypto/x509 looks on Linux, and what these places link to.
func certificatePaths() []string {
	paths := []string{"/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates"}
	for _, variable := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if p := os.Getenv(variable); p != "" {
			paths = append(paths, p)
		}
	}
	return paths
}

// restrict puts the process under Landlock, and returns the version of its ABI, 0
// if there is none.
func restrict(o Options, groups []hierarchy) (int, error) {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil || abi == 0 {
		return 0, nil // the report says so
	}
	config := newest.BestEffort()
	var rules []landlock.Rule
	for _, r := range pathRules(o, groups) {
		for _, path := range r.paths {
			st, err := os.Stat(path)
			if err != nil {
				continue
			}
			rights := r.rights
			if !st.IsDir() {
				rights &= ll.AccessFSExecute | ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSReadFile | ll.AccessFSIoctlDev
			}
			rules = append(rules, landlock.PathAccess(rights, path).IgnoreIfMissing())
		}
	}
	for _, port := range o.Bind {
		rules = append(rules, landlock.BindTCP(port))
	}
	switch {
	case o.Network && o.AnyPort:
		config.HandledAccessNet &^= ll.AccessNetConnectTCP
	case o.Network:
		for _, port := range append([]uint16{portDNS}, o.Connect...) {
			rules = append(rules, landlock.ConnectTCP(port))
		}
	}
	if err := config.Restrict(rules...); err != nil {
		return 0, err
	}
	return abi, nil
}

// portDNS is where name servers answer what does not fit into UDP (RFC 7766).
const portDNS = 53

// landlock tries to read what no rule allows.
func (c *Confinement) landlock() api.Measure {
	m := api.Measure{Name: "Landlock"}
	if _, err := os.ReadDir("/"); errors.Is(err, os.ErrPermission) && c.carried.Landlock > 0 {
		m.InForce, m.Detail = true, "files: the state directory, devices, /proc and /sys to read"
		if c.carried.Landlock >= 4 {
			m.Detail += "; TCP: the ports of the command line"
		}
		if c.carried.Landlock >= 6 {
			m.Detail += "; no signals and abstract sockets to others"
		}
		m.Detail += fmt.Sprintf(" (ABI %d)", c.carried.Landlock)
		return m
	}
	m.Detail, m.Fix = withoutLandlock, getLandlock
	return m
}
