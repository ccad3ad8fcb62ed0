package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"seuss/dispatcher/api"
)

// Options say what a daemon will need. Nothing else of the host is left to it.
type Options struct {
	StateDir string
	Dirs     []string // further directories that it writes to
	Files    []string // further files that it reads
	Bind     []uint16 // TCP ports that it listens on; 0 is any free one
	// Network: connections to TCP ports of Connect, to all if AnyPort, and what
	// looking names up takes.
	Network bool
	Connect []uint16
	AnyPort bool
	TLS     bool   // it checks servers' certificates
	User    string // what root becomes; "" stands for DefaultUser, if there is one
	// Machines of an image that there may be; more images may have fewer.
	Machines int
}

// Confinement is what this process is under.
type Confinement struct {
	off     bool
	carried carried
	sealed  error
}

// carried is what the step before execve tells the one after.
type carried struct {
	Landlock int    `json:"landlock"` // ABI that it asked for
	Name     string `json:"name"`     // of the user
	User     string `json:"user"`     // why root stayed root
	// Groups are the control groups that it is in, Ungrouped why not in others.
	Groups    []hierarchy `json:"groups"`
	Ungrouped string      `json:"ungrouped"`
	// PageDevice is the descriptor of /dev/userfaultfd, 0 if the user may open it, or none.
	PageDevice int `json:"page_device"`
}

// variable carries it. Whoever sets it from outside has a daemon that is not
// confined, as with --sandbox=off, and that says so.
const variable = "SEUSS_CONFINED"

// Off is the confinement of a daemon that is not to have any.
func Off() *Confinement { return &Confinement{off: true, sealed: errOff} }

var errOff = errors.New("switched off (--sandbox=off)")

// Enter confines the process as far as that has to be before it starts its work.
// It returns twice at most: in the program that it executes anew, or with an error.
// The command line is read again there, so it must not have had effects yet that
// do not bear repetition.
func Enter(o Options) (*Confinement, error) {
	if text, ok := os.LookupEnv(variable); ok {
		c := &Confinement{sealed: errors.New("not yet")}
		if err := json.Unmarshal([]byte(text), &c.carried); err != nil {
			return nil, fmt.Errorf("sandbox: $%s: %w", variable, err)
		}
		c.takePageDevice()
		return c, os.Unsetenv(variable)
	}
	// Privileges and domains are those of the thread that executes.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var c carried
	if err := makeTemp(o.StateDir); err != nil {
		return nil, err
	}
	c.Groups, c.Ungrouped = makeGroups(daemonTasks(o.Machines))
	var err error
	if c.PageDevice, err = openPageDevice(); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	if c.User, err = becomeUser(o, c.Groups); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	c.Name = nameOf(uint32(os.Geteuid())) // /etc/passwd is out of reach later
	if err := dropCapabilities(); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	// Whether or not there is a Landlock, which would do it too.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("sandbox: no new privileges: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	if c.Landlock, err = restrict(o, c.Groups); err != nil {
		return nil, fmt.Errorf("sandbox: Landlock: %w", err)
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	env := append(without(os.Environ(), variable, "TMPDIR"), variable+"="+string(text), "TMPDIR="+tempDir(o.StateDir))
	err = syscall.Exec(self, os.Args, env)
	if errors.Is(err, unix.EACCES) { // in a folder that the service user may not look into
		err = syscall.Exec(ownProgram, os.Args, env)
	}
	return nil, fmt.Errorf("sandbox: execute %s anew: %w", self, err)
}

// ownProgram leads to the program wherever it lies.
const ownProgram = "/proc/self/exe"

// without leaves variables out of an environment.
func without(env []string, names ...string) []string {
	var kept []string
next:
	for _, e := range env {
		for _, name := range names {
			if len(e) > len(name) && e[:len(name)] == name && e[len(name)] == '=' {
				continue next
			}
		}
		kept = append(kept, e)
	}
	return kept
}

// Measures says what is in force, and why not what is not.
func (c *Confinement) Measures() []api.Measure {
	if c.off {
		return []api.Measure{{Name: "sandbox", Detail: errOff.Error(), Fix: "serve without --sandbox=off"}}
	}
	return []api.Measure{c.user(), noNewPrivileges(), c.landlock(), c.filter(), c.groups()}
}

// Groups puts guests' processes into control groups; nil where there are none.
func (c *Confinement) Groups() *Groups {
	if len(c.carried.Groups) == 0 {
		return nil
	}
	return &Groups{c.carried.Groups}
}

// Close leaves what outlives the process: its control groups.
func (c *Confinement) Close() {
	for _, h := range c.carried.Groups {
		h.remove()
	}
}

// groups looks where this process is.
func (c *Confinement) groups() api.Measure {
	m := api.Measure{Name: "control groups", Fix: getGroups}
	paths, err := inGroups(c.carried.Groups)
	switch {
	case err != nil:
		m.Detail = err.Error()
	case c.carried.Ungrouped != "":
		m.Detail = c.carried.Ungrouped
	default:
		m.InForce, m.Fix, m.Detail = true, "", strings.Join(paths, "; ")
	}
	return m
}
