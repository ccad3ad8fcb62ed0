package images

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"seuss/guest"
)

// maxAccounts bounds /etc/passwd and /etc/group, in bytes.
const maxAccounts = 4 << 20

// Account is a user of an image, as credentials(7) has it.
type Account struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups,omitempty"` // further ones, at most guest.GroupsMax
	Home   string   `json:"home,omitempty"`
}

// IsRoot reports whether it is root, in root's group and no other.
func (a *Account) IsRoot() bool {
	return a == nil || a.UID == 0 && a.GID == 0 && len(a.Groups) == 0
}

// Account finds USER[:GROUP], names or numbers, in the image's own /etc/passwd and
// /etc/group, as docker run does: a number need not be there, a name must; whose group is
// not given is in all groups that list him. "" is root.
func (m *Image) Account(text string) (Account, error) {
	return findAccount(text, func(file string) (io.Reader, error) {
		e, err := m.Lookup(file)
		if err != nil || !e.Inode.IsRegular() {
			return strings.NewReader(""), nil // no table is an empty one
		}
		return m.Content(e)
	})
}

func (root *node) account(text string) (a Account, err error) {
	var done []func() error
	a, err = findAccount(text, func(file string) (io.Reader, error) {
		n, err := root.resolve(file)
		if err != nil || n.mode&modeTypeMask != modeRegular {
			return strings.NewReader(""), nil
		}
		c, end, err := n.open()
		if err == nil {
			done = append(done, end)
		}
		return c, err
	})
	for _, end := range done {
		err = errors.Join(err, end())
	}
	return a, err
}

func findAccount(text string, open func(file string) (io.Reader, error)) (Account, error) {
	name, group, _ := strings.Cut(text, ":")
	a := Account{Home: "/root"}
	if name != "" && name != "root" && name != "0" {
		a.Home = "/"
		number, notNumber := parseID(name)
		row, err := findRow(open, "/etc/passwd", func(f []string) bool {
			return len(f) >= 6 && (f[0] == name || notNumber == nil && f[2] == name)
		})
		switch {
		case err != nil:
			return a, err
		case row != nil:
			uid, uidErr := parseID(row[2])
			gid, gidErr := parseID(row[3])
			if err := errors.Join(uidErr, gidErr); err != nil {
				return a, fmt.Errorf("user %q in the image's /etc/passwd: %w", name, err)
			}
			a, name = Account{UID: uid, GID: gid, Home: cmp.Or(row[5], "/")}, row[0]
		case notNumber != nil:
			return a, fmt.Errorf("the image's /etc/passwd has no user %q; name another one, or a number, with --user", name)
		default:
			a.UID = number
		}
		if row != nil && group == "" {
			if a.Groups, err = groupsOf(open, name, a.GID); err != nil {
				return a, err
			}
		}
	}
	if group == "" {
		return a, nil
	}
	gid, err := parseID(group)
	if err != nil {
		row, err := findRow(open, "/etc/group", func(f []string) bool { return len(f) >= 3 && f[0] == group })
		if err != nil {
			return a, err
		}
		if row == nil {
			return a, fmt.Errorf("the image's /etc/group has no group %q; name another one, or a number, with --user", group)
		}
		if gid, err = parseID(row[2]); err != nil {
			return a, fmt.Errorf("group %q in the image's /etc/group: %w", group, err)
		}
	}
	a.GID = gid
	return a, nil
}

func parseID(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	return uint32(n), err
}

// groupsOf are the groups that list a user, but for his own.
func groupsOf(open func(string) (io.Reader, error), name string, own uint32) (groups []uint32, err error) {
	_, err = findRow(open, "/etc/group", func(f []string) bool {
		if len(f) >= 4 && slices.Contains(strings.Split(f[3], ","), name) {
			if gid, err := parseID(f[2]); err == nil && gid != own {
				groups = append(groups, gid)
			}
		}
		return false
	})
	if err == nil && len(groups) > guest.GroupsMax {
		err = fmt.Errorf("user %q is in %d groups of the image's /etc/group, at most %d are possible: name the one that counts, as --user %s:GROUP", name, len(groups), guest.GroupsMax, name)
	}
	return groups, err
}

// findRow finds a row of a table such as passwd(5); nil: there is none.
func findRow(open func(string) (io.Reader, error), file string, is func(fields []string) bool) ([]string, error) {
	r, err := open(file)
	if err != nil {
		return nil, fmt.Errorf("read the image's %s: %w", file, err)
	}
	text, err := io.ReadAll(io.LimitReader(r, maxAccounts))
	if err != nil {
		return nil, fmt.Errorf("read the image's %s: %w", file, err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Split(strings.TrimRight(line, "\n"), ":"); is(fields) {
			return fields, nil
		}
	}
	return nil, nil
}
