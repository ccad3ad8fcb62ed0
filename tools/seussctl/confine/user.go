package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"seuss/dispatcher/api"
)

// DefaultUser is what root becomes where it exists. The Debian package makes it.
const DefaultUser = "seuss"

// account is a user as the kernel knows it.
type account struct {
	uid, gid int
	groups   []int
}

// becomeUser makes root the service user. The state directory is then that
// user's. Where root stays root, kept says why.
func becomeUser(o Options, groups []hierarchy) (kept string, err error) {
	if os.Geteuid() != 0 {
		if o.User != "" {
			return "", fmt.Errorf("only root becomes another user: leave --user out, or start it as root")
		}
		return "", nil
	}
	name := o.User
	if name == "" {
		name = DefaultUser
	}
	u, err := user.Lookup(name)
	if noUser(err) && o.User == "" {
		return "there is no user " + DefaultUser, nil
	}
	if err != nil {
		return "", fmt.Errorf("become user %s: %w", name, err)
	}
	a, err := accountOf(u)
	if err != nil {
		return "", fmt.Errorf("become user %s: %w", name, err)
	}
	if a.uid == 0 {
		return "--user " + name + " is root", nil
	}
	if err := a.check(); err != nil {
		return "", fmt.Errorf("become user %s: %w", name, err)
	}
	if err := GiveTo(o.StateDir, a.uid, a.gid); err != nil {
		return "", err
	}
	if err := giveGroups(groups, a.uid, a.gid); err != nil {
		return "", fmt.Errorf("give control groups to user %s: %w", name, err)
	}
	a.groups = append(a.groups, deviceGroups("/dev/kvm")...)
	if err := syscall.Setgroups(a.groups); err != nil {
		return "", fmt.Errorf("become user %s: groups: %w", name, err)
	}
	if err := syscall.Setresgid(a.gid, a.gid, a.gid); err != nil {
		return "", fmt.Errorf("become user %s: group: %w", name, err)
	}
	if err := syscall.Setresuid(a.uid, a.uid, a.uid); err != nil {
		return "", fmt.Errorf("become user %s: %w", name, err)
	}
	return "", nil
}

// noUser says whether a look-up's error is that there is none of the name, or no
// /etc/passwd at all.
func noUser(err error) bool {
	var unknown user.UnknownUserError
	return errors.As(err, &unknown) || errors.Is(err, fs.ErrNotExist)
}

func accountOf(u *user.User) (a account, err error) {
	if a.uid, err = strconv.Atoi(u.Uid); err != nil {
		return a, err
	}
	if a.gid, err = strconv.Atoi(u.Gid); err != nil {
		return a, err
	}
	ids, err := u.GroupIds()
	if err != nil {
		return a, err
	}
	for _, id := range ids {
		n, err := strconv.Atoi(id)
		if err != nil {
			return a, err
		}
		a.groups = append(a.groups, n)
	}
	return a, nil
}

// check refuses an account that is little less than root.
func (a *account) check() error {
	if a.gid == 0 || slices.Contains(a.groups, 0) {
		return errors.New("it is in the group of root, who shares files with it: give it a group of its own")
	}
	return nil
}

// deviceGroups is the group that a device is shared with, if it is with any but root's.
func deviceGroups(path string) []int {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Mode&0o060 != 0o060 || st.Gid == 0 {
		return nil
	}
	return []int{int(st.Gid)}
}

func nameOf(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// keptCapabilities are what root keeps of its privileges where there is no service
// user: its state directory may hold other users' files, its port may be below 1024.
var keptCapabilities = []uintptr{unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_NET_BIND_SERVICE}

// dropCapabilities takes the others away from what this thread executes next.
func dropCapabilities() error {
	if os.Geteuid() != 0 {
		return nil // execve leaves no user any, but for ambient ones, which were given on purpose
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if slices.Contains(keptCapabilities, c) {
			continue
		}
		// EPERM: root of a container without the privilege to drop any; it has few.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && err != unix.EINVAL && err != unix.EPERM {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	return nil
}

// user looks at who this process is and what it may do.
func (c *Confinement) user() api.Measure {
	m := api.Measure{Name: "user"}
	status := readStatus()
	if os.Geteuid() != 0 {
		m.InForce, m.Detail = true, fmt.Sprintf("%s, capabilities %s", c.carried.Name, capabilityText(status["CapEff"]))
		return m
	}
	m.Detail = fmt.Sprintf("root, with capabilities %s: %s", capabilityText(status["CapEff"]), c.carried.User)
	m.Fix = makeUser
	return m
}
