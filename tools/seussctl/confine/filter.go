package confine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"

	"seuss/dispatcher/api"
	"seuss/vmm/platform"
)

// Needs say which exceptions of the filter a daemon has.
type Needs struct {
	Network  bool   // it connects somewhere
	Sockets  bool   // guests have Unix sockets
	Platform string // on which guests run
}

func (n Needs) has(what need) bool {
	return [...]bool{always: true, network: n.Network, sockets: n.Sockets}[what]
}

// groups are those of a daemon with these needs.
func (n Needs) groups() (list []group) {
	for _, g := range groups {
		if n.has(g.need) {
			list = append(list, g)
		}
	}
	if k := platform.Find(n.Platform); k != nil {
		for _, e := range k.Exceptions {
			list = append(list, excepted(e))
		}
	}
	return list
}

// clone3 has its flags in memory, where a filter cannot look: it is said not to
// exist, and C libraries go back to clone.
const noSuchCall = seccomp.Action(uint32(seccomp.ActionErrno) | uint32(unix.ENOSYS))

// policy puts the filter of a daemon together.
func policy(n Needs) seccomp.Policy {
	p := seccomp.Policy{DefaultAction: seccomp.ActionErrno}
	// The library takes a name once, with conditions or without.
	plain := map[string]bool{}
	allowed := seccomp.SyscallGroup{Action: seccomp.ActionAllow}
	var checked []seccomp.NameWithConditions
	for _, g := range n.groups() {
		for _, name := range g.names {
			if !plain[name] {
				plain[name] = true
				allowed.Names = append(allowed.Names, name)
			}
		}
		checked = append(checked, g.checked...)
	}
	for _, c := range checked {
		if !plain[c.Name] {
			allowed.NamesWithCondtions = append(allowed.NamesWithCondtions, c)
		}
	}
	p.Syscalls = []seccomp.SyscallGroup{allowed, {Names: []string{"clone3"}, Action: noSuchCall}}
	return p
}

// Seal installs the filter for all threads. What fails is reported by Measures:
// where the host offers no filters a daemon runs without.
func (c *Confinement) Seal(n Needs) {
	if c.off {
		return
	}
	c.sealed = seccomp.LoadFilter(seccomp.Filter{Flag: seccomp.FilterFlagTSync, Policy: policy(n)})
	if c.sealed == nil {
		c.sealed = allFiltered()
	}
}

// allFiltered looks whether all threads have a filter.
func allFiltered() error {
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(tasks) == 0 {
		return errors.New("no /proc to see it in")
	}
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return err
		}
		if !strings.Contains(string(b), "\nSeccomp:\t2\n") {
			return fmt.Errorf("thread %s has no filter", filepath.Base(filepath.Dir(task)))
		}
	}
	return nil
}

// filter tries what no daemon needs.
func (c *Confinement) filter() api.Measure {
	m := api.Measure{Name: "system call filter"}
	if c.sealed == nil {
		if _, _, errno := unix.RawSyscall(unix.SYS_KEYCTL, 0, 0, 0); errno == unix.EPERM {
			m.InForce, m.Detail = true, "on all threads; what it does not name fails with EPERM"
			return m
		}
		c.sealed = errors.New("it does not hold")
	}
	m.Detail, m.Fix = c.sealed.Error(), getFilters
	return m
}
