package images

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"seuss/guest"
	"seuss/images/layer"
)

// DriverDir is where the scripts of a runtime driver lie in an image.
const DriverDir = "/usr/lib/seuss"

// DefaultMemoryBytes is the guest RAM of a Spec that leaves MemoryBytes zero.
// It fits an interpreter with room for a function's working set.
const DefaultMemoryBytes = 256 << 20

// Spec says what goes into an image.
type Spec struct {
	// Name names the image for people and for the store: letters, digits,
	// '.', '_' and '-', at most 64, the first a letter or a digit.
	Name string
	// Program is the guest path of the one program that runs, an x86-64 ELF
	// that Files contain; symbolic links in it are followed. Empty = the
	// image holds a file system only.
	Program string
	// Argv and Env are the program's arguments and environment. Together,
	// NUL-terminated, they take at most ABI_ARGS_SIZE bytes.
	Argv []string
	Env  []string
	// MemoryBytes is guest RAM, a page multiple; 0 = DefaultMemoryBytes.
	MemoryBytes uint64
	// Kernel is the kernel library: a static x86-64 ELF of type ET_EXEC
	// whose lowest segment is linked at ABI_KERNEL_GPA.
	Kernel []byte
	// Base is what the root file system begins with, or nil: that of another image. It
	// stays open until Build returns, and belongs to the caller.
	Base *Base
	// Layers lie above it, the lowest first; they stay open until Build returns, and belong
	// to the caller.
	Layers []*layer.Layer
	// Files lie above the layers, and are all where there are none. Directories that are
	// only implied by a path are made with mode 0755 and the newest time among their
	// entries.
	Files []File
	// Driver is the guest path of the runtime driver, or empty. It travels
	// in the configuration only.
	Driver string
	// Runtimes are the language runtimes that functions can run on in the image; the
	// first is meant where nothing says which. Drivers are among Files.
	Runtimes []Runtime
	// NoDirectCalls leaves every syscall instruction of loaded layouts to the
	// CPU. By default those that can be are reached through trampolines that
	// jump to the kernel library, which saves a world switch where KVM is
	// nested. File content is the same either way.
	NoDirectCalls bool
	// Check are the arguments, the first a guest path, of a program that ends with
	// status 0 if the image holds what was asked for, and else says on its standard
	// error what it lacks. Build ignores it.
	Check []string
	// Packages names what the tree was collected from, as name=version.
	Packages []string
	// Labels are free text for the user.
	Labels map[string]string
	// Container is what a container image says of its program; nil: it came from none.
	Container *Container
	// User is whom programs and functions run as, USER[:GROUP] in names of the tree's own
	// /etc/passwd and /etc/group or in numbers; "" = whom Container names, else root.
	User string
	// Origin is the digest of what the tree came from, such as a manifest's; "" = it has
	// none.
	Origin string
	// Skipped counts what a collector left out because an image cannot hold
	// it: devices, sockets and FIFOs. Build ignores it.
	Skipped int
}

// File is one entry of the root file system: exactly one of a directory
// (fs.ModeDir in Mode), a symbolic link (Symlink), a host file (HostPath) or
// given content (otherwise; Data may be empty).
type File struct {
	GuestPath string      // absolute and clean
	HostPath  string      // regular file to read; a symbolic link is followed
	Data      []byte      // content when HostPath is empty
	Mode      fs.FileMode // permissions, setuid, setgid, sticky; 0 = the host file's, or 0644 (directory 0755)
	Symlink   string      // link target
	Mtime     int64       // seconds since 1970; 0 = the host file's, or 1970
	UID, GID  uint32      // of its owner
}

// Runtime is an interpreter of an image with the driver that runs functions on it.
type Runtime struct {
	Name    string   `json:"name"`    // of its folder in images/runtimes
	Version string   `json:"version"` // of the interpreter, such as "3.11.2", as its files say
	Program string   `json:"program"` // guest path, as Argv has it
	Argv    []string `json:"argv"`    // the interpreter, its flags and the driver
	Env     []string `json:"env,omitempty"`
}

// String names the runtime for people, and apart from the image's others.
func (r *Runtime) String() string { return r.Name + " " + r.Version }

// maxRuntimes bounds the runtimes of an image.
const maxRuntimes = 64

// Config is the host's part of an image, stored in it as JSON.
type Config struct {
	Name        string   `json:"name"`
	Program     string   `json:"program,omitempty"` // guest path as the Spec gave it
	Argv        []string `json:"argv,omitempty"`
	Env         []string `json:"env,omitempty"`
	MemoryBytes uint64   `json:"memory_bytes"`
	Driver      string   `json:"driver,omitempty"`
	// Runtimes are what functions can run on. An image that lists none may be older than
	// the list: Argv is the one that it has then, if it has a Driver.
	Runtimes []Runtime `json:"runtimes,omitempty"`
	// DriverProtocol is the version of guest/abi/driver.h that the driver speaks;
	// images that do not say so have 1.
	DriverProtocol int               `json:"driver_protocol,omitempty"`
	DirectCalls    bool              `json:"direct_calls,omitempty"` // loaded layouts are patched
	Packages       []string          `json:"packages,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
	Container      *Container        `json:"container,omitempty"`
	User           string            `json:"user,omitempty"`    // as the Spec or its Container gave it
	Account        *Account          `json:"account,omitempty"` // whom that was in the tree; nil: root
	Origin         string            `json:"origin,omitempty"`  // digest of what the tree came from
}

// driverProtocol is the version that the image's driver speaks.
func (c *Config) driverProtocol() int {
	if c.DriverProtocol == 0 {
		return 1
	}
	return c.DriverProtocol
}

// config returns the configuration of a Spec.
func (s *Spec) config() Config {
	c := Config{
		Name: s.Name, Program: s.Program, Argv: s.Argv, Env: s.Env,
		MemoryBytes: s.MemoryBytes, Driver: s.Driver, DirectCalls: !s.NoDirectCalls,
		Packages: s.Packages, Labels: s.Labels, Container: s.Container, Origin: s.Origin, Runtimes: s.Runtimes,
	}
	if c.Driver != "" {
		c.DriverProtocol = guest.DriverVersion
	}
	if c.MemoryBytes == 0 {
		c.MemoryBytes = DefaultMemoryBytes
	}
	return c
}

// encodeConfig returns the JSON of a valid configuration. Text that is not
// UTF-8 is refused, because JSON would silently replace it.
func encodeConfig(c Config) ([]byte, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	lists := [][]string{{c.Program, c.Driver, c.User}, c.Argv, c.Env, c.Packages}
	for _, r := range c.Runtimes {
		lists = append(lists, []string{r.Name, r.Version, r.Program}, r.Argv, r.Env)
	}
	for _, list := range lists {
		for _, s := range list {
			if !utf8.ValidString(s) {
				return nil, fmt.Errorf("configuration of image %s: %q is not valid UTF-8", c.Name, s)
			}
		}
	}
	if err := c.Container.validate(); err != nil {
		return nil, fmt.Errorf("configuration of image %s: %w", c.Name, err)
	}
	for k, v := range c.Labels {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return nil, fmt.Errorf("configuration of image %s: label %q=%q is not valid UTF-8", c.Name, k, v)
		}
	}
	out, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode configuration of image %s: %w", c.Name, err)
	}
	if len(out) > maxConfigBytes {
		return nil, fmt.Errorf("configuration of image %s is %d bytes, at most %d fit", c.Name, len(out), maxConfigBytes)
	}
	return out, nil
}

// validate checks everything that can be checked without the file tree.
func (c *Config) validate() error {
	if err := CheckName(c.Name); err != nil {
		return err
	}
	if c.MemoryBytes == 0 || c.MemoryBytes%guest.PageSize != 0 || c.MemoryBytes > maxGPA {
		return fmt.Errorf("image %s: memory of %d bytes is not a page multiple up to %d GiB", c.Name, c.MemoryBytes, guest.MaxGiB)
	}
	if c.MemoryBytes <= guest.ProgramGPA {
		return fmt.Errorf("image %s: memory of %d bytes ends below the program at %#x", c.Name, c.MemoryBytes, uint64(guest.ProgramGPA))
	}
	if err := checkArgs(c.Argv, c.Env); err != nil {
		return fmt.Errorf("image %s: %w", c.Name, err)
	}
	if len(c.Runtimes) > maxRuntimes {
		return fmt.Errorf("image %s: it has %d runtimes, at most %d are allowed", c.Name, len(c.Runtimes), maxRuntimes)
	}
	for n, r := range c.Runtimes {
		if r.Name == "" || len(r.Argv) == 0 || slices.ContainsFunc(c.Runtimes[:n], func(o Runtime) bool { return o.String() == r.String() }) {
			return fmt.Errorf("image %s: runtime %q has no name or no program, or is listed twice", c.Name, r.String())
		}
		if err := errors.Join(checkArgs(r.Argv, r.Env), checkGuestPath(r.Program)); err != nil {
			return fmt.Errorf("image %s: runtime %s: %w", c.Name, r.String(), err)
		}
	}
	for what, p := range map[string]string{"program": c.Program, "driver": c.Driver} {
		if p == "" {
			continue
		}
		if err := checkGuestPath(p); err != nil {
			return fmt.Errorf("image %s: %s: %w", c.Name, what, err)
		}
	}
	return nil
}

// checkArgs says whether a program can be given arguments and an environment.
func checkArgs(argv, env []string) error {
	bytes := 0
	for _, s := range slices.Concat(argv, env) {
		if strings.IndexByte(s, 0) >= 0 {
			return fmt.Errorf("argument or variable %q contains a NUL", s)
		}
		bytes += len(s) + 1
	}
	if bytes > guest.ArgsSize {
		return fmt.Errorf("arguments and environment take %d bytes, at most %d fit", bytes, guest.ArgsSize)
	}
	return nil
}

// CheckName says whether a name may name an image. The rule keeps names
// usable as file names and apart from paths.
func CheckName(name string) error {
	ok := name != "" && len(name) <= 64
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._-", r)) {
			ok = false
		}
	}
	if !ok {
		return fmt.Errorf("image name %q: want 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit", name)
	}
	return nil
}

// checkGuestPath says whether p is an absolute, clean path whose parts an
// image can hold.
func checkGuestPath(p string) error {
	if !strings.HasPrefix(p, "/") || path.Clean(p) != p {
		return fmt.Errorf("guest path %q is not absolute and clean", p)
	}
	if len(p) > maxSymlink {
		return fmt.Errorf("guest path %.64q… has %d bytes, at most %d fit", p, len(p), maxSymlink)
	}
	if p == "/" {
		return nil
	}
	for part := range strings.SplitSeq(p[1:], "/") {
		if err := checkEntryName(part); err != nil {
			return fmt.Errorf("guest path %q: %w", p, err)
		}
	}
	return nil
}

// checkEntryName says whether a directory entry may have this name.
func checkEntryName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("entry name %q is reserved", name)
	case len(name) > guest.ImageNameMax:
		return fmt.Errorf("entry name %.32q… has %d bytes, at most %d fit", name, len(name), guest.ImageNameMax)
	case strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("entry name %q contains a slash or a NUL", name)
	}
	return nil
}

// linuxMode returns the st_mode permission bits of a mode.
func linuxMode(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	for _, x := range []struct {
		from fs.FileMode
		to   uint32
	}{{fs.ModeSetuid, modeSetuid}, {fs.ModeSetgid, modeSetgid}, {fs.ModeSticky, modeSticky}} {
		if m&x.from != 0 {
			bits |= x.to
		}
	}
	return bits
}

// MergeEnv returns the environment of the defaults with those of the same name replaced, then the
// others.
func MergeEnv(defaults, extra []string) []string {
	out := slices.Clone(defaults)
	for _, e := range extra {
		key, _, _ := strings.Cut(e, "=")
		i := slices.IndexFunc(out, func(o string) bool { return strings.HasPrefix(o, key+"=") })
		if i >= 0 {
			out[i] = e
		} else {
			out = append(out, e)
		}
	}
	return out
}
