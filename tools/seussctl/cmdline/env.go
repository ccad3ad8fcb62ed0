package cmdline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/dispatcher/functions"
	"seuss/images"
	_ "seuss/images/runtimes/all"
	_ "seuss/images/source/all"
	"seuss/lineage"
	"seuss/lineage/sealed"
	"seuss/tools/seussctl/confine"
	"seuss/vmm/platform"
)

const (
	// StateVariable names the state directory where --state does not.
	StateVariable    = "SEUSS_STATE"
	DefaultStateText = "$XDG_STATE_HOME/seuss, else ~/.local/state/seuss, /var/lib/seuss for root"
)

// DefaultImage is the image of functions that name none.
var DefaultImage = dispatcher.DefaultImage()

// Service is the service that commands work on: the daemon's, or one in this
// process.
type Service interface {
	api.Service
	Close() error
}

// ErrServed: what is measured must not be somebody else's work too.
var ErrServed = errors.New("a daemon serves this state directory, and what it does would be measured too; name another one with --state, or stop it")

// Env is everything that a command gets from outside.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	IsRoot         bool      // the user is root
	Started        time.Time // when this process did
	Open           func(dispatcher.Options) (Service, error)
	CheckPlatform  func() error // says whether open would find a platform
	Progress       *progress
	Complete       map[*cli.Command]func(*Env) []string

	// Set from the global flags.
	StateDir   string
	StateGiven bool // by flag or variable
	platform   string
	HugePages  bool // where it pays
	JSON       bool
	Log        *slog.Logger
	Dashed     bool // the command line has a "--"

	Notes *slog.Logger // set by TellJSON; nil: remarks are plain lines
	// Guest is told of guests' processes: platform.Options.
	Guest       func(pid int, bytes uint64) (ended func(), err error)
	Kind        *platform.Kind // of the platform that was opened last
	weakerNoted bool           // the user was told that isolation is weaker
}

func NewEnv(stdin io.Reader, stdout, stderr io.Writer) *Env {
	e := &Env{
		Stdin: stdin, Stdout: stdout, Stderr: stderr,
		Getenv:   os.Getenv,
		IsRoot:   os.Geteuid() == 0,
		Started:  time.Now(),
		Progress: newProgress(stderr),
		Complete: map[*cli.Command]func(*Env) []string{},
	}
	e.Open, e.CheckPlatform = e.openDispatcher, e.tryPlatform
	return e
}

// ReadGlobals takes over the global flags before any command runs.
func (e *Env) ReadGlobals(ctx *cli.Context) error {
	e.JSON = ctx.Bool("json")
	if ctx.Bool("verbose") {
		e.Log = slog.New(slog.NewTextHandler(e.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if err := e.setPlatform(ctx.String("platform")); err != nil {
		return err
	}
	if err := e.SetHugePages(ctx.String("huge-pages")); err != nil {
		return err
	}
	return e.SetState(ctx.String("state"))
}

func (e *Env) SetState(dir string) error {
	if dir == "" {
		dir = e.Getenv(StateVariable)
	}
	e.StateGiven = dir != ""
	if dir == "" {
		var err error
		if dir, err = e.defaultState(); err != nil {
			return err
		}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("state directory %s: %w", dir, err)
	}
	e.StateDir = abs
	return nil
}

// defaultState follows the XDG Base Directory Specification, which tells to
// ignore relative paths; root's state belongs to the machine.
func (e *Env) defaultState() (string, error) {
	if dir := e.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "seuss"), nil
	}
	if e.IsRoot {
		return "/var/lib/seuss", nil
	}
	if home := e.Getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "seuss"), nil
	}
	return "", errors.New("no state directory: neither --state, " + StateVariable + ", XDG_STATE_HOME nor HOME is set")
}

// OwnState moves a command that brings its own functions to a state directory
// below the default, so that it does not mix them with the user's. A directory
// that the user names is taken as it is.
func (e *Env) OwnState(name string) {
	if !e.StateGiven {
		e.StateDir = filepath.Join(e.StateDir, name)
	}
}

func (e *Env) Images() images.Store {
	return images.Store{Dir: filepath.Join(e.StateDir, "images")}
}

// TellJSON makes remarks, and what ends the program, lines of a log in JSON, and shows no
// progress: who reads the log reads nothing else.
func (e *Env) TellJSON(log *slog.Logger) {
	e.Notes = log
	e.Progress.visible = false
}

// Notef prints a remark for the person at the terminal; with --json one line of JSON.
func (e *Env) Notef(format string, args ...any) {
	e.Progress.Clear()
	if e.Notes != nil {
		e.Notes.Warn(fmt.Sprintf(format, args...))
		return
	}
	if e.JSON {
		printLine(e.Stderr, struct {
			Note string `json:"note"`
		}{fmt.Sprintf(format, args...)})
		return
	}
	fmt.Fprintf(e.Stderr, "seussctl: note: "+format+"\n", args...)
}

// RefreshDaemon tells a daemon that the state directory has another image.
func (e *Env) RefreshDaemon(ctx context.Context) error {
	d := e.Daemon()
	if d == nil {
		return nil
	}
	// What root has written has to be the daemon's user's before it looks.
	return errors.Join(confine.GiveBack(e.StateDir, e.Started), d.Refresh(ctx), d.Close())
}

// MakeState makes the state directory where it is not there yet, closed to others.
func (e *Env) MakeState() error {
	if err := os.MkdirAll(e.StateDir, sealed.DirMode); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	return nil
}

// FunctionKey is the key of the function, or of the deployment, that a command names: one
// of the default owner's where it names none.
func FunctionKey(name string) string { return functions.KeyFor(functions.DefaultOwner, name) }

// ReadStore opens the catalogue without the lock; nil means that nothing has
// been stored yet.
func (e *Env) ReadStore() (*lineage.Store, error) {
	s, err := lineage.Open(e.StateDir, lineage.Options{ReadOnly: true})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	noteRepaired(e, s)
	for _, d := range s.Damaged() {
		e.Notef("left out %s: %v", d.Path, d.Err)
	}
	return s, nil
}

// Deployments opens what is deployed beside a catalogue that is open.
func Deployments(s *lineage.Store) (*functions.Store, error) {
	return functions.Open(s.Dir(), functions.Options{ReadOnly: s.ReadOnly()})
}

// WithStore runs f with the catalogue open for writing. Removing things needs
// no machine, so it works without KVM.
func (e *Env) WithStore(f func(*lineage.Store) error) (err error) {
	if _, err := os.Stat(e.StateDir); err != nil {
		return fmt.Errorf("state directory: %w", err) // do not create it to remove from it
	}
	s, err := lineage.Open(e.StateDir, lineage.Options{})
	if errors.Is(err, lineage.ErrLocked) && e.Daemon() != nil {
		return fmt.Errorf("%w: it is a daemon (seussctl serve), which this command needs stopped", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	noteRepaired(e, s)
	return f(s)
}

// noteRepaired says that what others may have seen is closed to them now.
func noteRepaired(e *Env, s *lineage.Store) {
	if n := s.Repaired(); n > 0 {
		e.Notef("other users could use %s, %d files and folders: it is closed to them now", e.StateDir, n)
	}
}

// WithEngine runs f with a dispatcher that may write: the daemon's, where one
// runs on the state directory, else one of this process.
func (e *Env) WithEngine(o dispatcher.Options, f func(Service) error) (err error) {
	if d := e.Daemon(); d != nil {
		defer func() { err = errors.Join(err, d.Close()) }()
		if o.Network != nil {
			return Usagef("seussctl serve", "--allow-net: the daemon on this state directory says what functions may reach: give it to seussctl serve")
		}
		return f(d)
	}
	o.StateDir = e.StateDir
	o.ForOthers = true
	o.Log = e.Log
	o.Progress = e.Progress.Step
	d, err := e.Open(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return f(d)
}

// WithReader is withEngine for commands that gain from writing (snapshots made
// on the way, use counts) but can do without: where another process holds the
// state directory, or it cannot be written, it is opened read-only.
func (e *Env) WithReader(o dispatcher.Options, f func(Service) error) error {
	var opened bool
	err := e.WithEngine(o, func(d Service) error {
		opened = true
		return f(d)
	})
	if opened || !(errors.Is(err, lineage.ErrLocked) || errors.Is(err, fs.ErrPermission) || isReadOnlyFS(err)) {
		return err
	}
	if _, statErr := os.Stat(e.StateDir); statErr != nil {
		return err // nothing to read either
	}
	e.Notef("%v; going on read-only", err)
	o.ReadOnly = true
	return e.WithEngine(o, f)
}
