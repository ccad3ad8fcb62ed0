package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/dispatcher/functions"
	"seuss/images"
	_ "seuss/images/runtimes/all"
	_ "seuss/images/source/all"
	"seuss/lineage"
)

const (
	// stateVariable names the state directory where --state does not.
	stateVariable    = "SEUSS_STATE"
	defaultStateText = "$XDG_STATE_HOME/seuss, else ~/.local/state/seuss, /var/lib/seuss for root"
)

// defaultImage is the image of functions that name none.
var defaultImage = dispatcher.DefaultImage()

// service is the service that commands work on: the daemon's, or one in this
// process.
type service interface {
	api.Service
	Close() error
}

// errServed: what is measured must not be somebody else's work too.
var errServed = errors.New("a daemon serves this state directory, and what it does would be measured too; name another one with --state, or stop it")

// env is everything that a command gets from outside.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	isRoot         bool // the user is root
	open           func(dispatcher.Options) (service, error)
	checkPlatform  func() error // says whether open would find a platform
	progress       *progress
	complete       map[*cli.Command]func(*env) []string

	// Set from the global flags.
	stateDir   string
	stateGiven bool // by flag or variable
	platform   string
	hugePages  bool // where it pays
	json       bool
	log        *slog.Logger
	dashed     bool // the command line has a "--"

	weakerNoted bool // the user was told that isolation is weaker
}

func newEnv(stdin io.Reader, stdout, stderr io.Writer) *env {
	e := &env{
		stdin: stdin, stdout: stdout, stderr: stderr,
		getenv:   os.Getenv,
		isRoot:   os.Geteuid() == 0,
		progress: newProgress(stderr),
		complete: map[*cli.Command]func(*env) []string{},
	}
	e.open, e.checkPlatform = e.openDispatcher, e.tryPlatform
	return e
}

// readGlobals takes over the global flags before any command runs.
func (e *env) readGlobals(ctx *cli.Context) error {
	e.json = ctx.Bool("json")
	if ctx.Bool("verbose") {
		e.log = slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if err := e.setPlatform(ctx.String("platform")); err != nil {
		return err
	}
	if err := e.setHugePages(ctx.String("huge-pages")); err != nil {
		return err
	}
	return e.setState(ctx.String("state"))
}

func (e *env) setState(dir string) error {
	if dir == "" {
		dir = e.getenv(stateVariable)
	}
	e.stateGiven = dir != ""
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
	e.stateDir = abs
	return nil
}

// defaultState follows the XDG Base Directory Specification, which tells to
// ignore relative paths; root's state belongs to the machine.
func (e *env) defaultState() (string, error) {
	if dir := e.getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "seuss"), nil
	}
	if e.isRoot {
		return "/var/lib/seuss", nil
	}
	if home := e.getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "seuss"), nil
	}
	return "", errors.New("no state directory: neither --state, " + stateVariable + ", XDG_STATE_HOME nor HOME is set")
}

// ownState moves a command that brings its own functions to a state directory
// below the default, so that it does not mix them with the user's. A directory
// that the user names is taken as it is.
func (e *env) ownState(name string) {
	if !e.stateGiven {
		e.stateDir = filepath.Join(e.stateDir, name)
	}
}

func (e *env) images() images.Store {
	return images.Store{Dir: filepath.Join(e.stateDir, "images")}
}

// notef prints a remark for the person at the terminal.
func (e *env) notef(format string, args ...any) {
	e.progress.clear()
	fmt.Fprintf(e.stderr, "seussctl: note: "+format+"\n", args...)
}

// refreshDaemon tells a daemon that the state directory has another image.
func (e *env) refreshDaemon(ctx context.Context) error {
	d := e.daemon()
	if d == nil {
		return nil
	}
	return errors.Join(d.Refresh(ctx), d.Close())
}

// readStore opens the catalogue without the lock; nil means that nothing has
// been stored yet.
func (e *env) readStore() (*lineage.Store, error) {
	if err := e.refreshDaemon(context.Background()); err != nil {
		return nil, err
	}
	s, err := lineage.Open(e.stateDir, lineage.Options{ReadOnly: true})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, d := range s.Damaged() {
		e.notef("left out %s: %v", d.Path, d.Err)
	}
	return s, nil
}

// deployments opens what is deployed beside a catalogue that is open.
func deployments(s *lineage.Store) (*functions.Store, error) {
	return functions.Open(s.Dir(), functions.Options{ReadOnly: s.ReadOnly()})
}

// withStore runs f with the catalogue open for writing. Removing things needs
// no machine, so it works without KVM.
func (e *env) withStore(f func(*lineage.Store) error) (err error) {
	if _, err := os.Stat(e.stateDir); err != nil {
		return fmt.Errorf("state directory: %w", err) // do not create it to remove from it
	}
	s, err := lineage.Open(e.stateDir, lineage.Options{})
	if errors.Is(err, lineage.ErrLocked) && e.daemon() != nil {
		return fmt.Errorf("%w: it is a daemon (seussctl serve), which this command needs stopped", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return f(s)
}

// withEngine runs f with a dispatcher that may write: the daemon's, where one
// runs on the state directory, else one of this process.
func (e *env) withEngine(o dispatcher.Options, f func(service) error) (err error) {
	if d := e.daemon(); d != nil {
		defer func() { err = errors.Join(err, d.Close()) }()
		if o.Network != nil {
			return usagef("seussctl serve", "--allow-net: the daemon on this state directory says what functions may reach: give it to seussctl serve")
		}
		return f(d)
	}
	o.StateDir = e.stateDir
	o.Log = e.log
	o.Progress = e.progress.step
	d, err := e.open(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return f(d)
}

// withReader is withEngine for commands that gain from writing (snapshots made
// on the way, use counts) but can do without: where another process holds the
// state directory, or it cannot be written, it is opened read-only.
func (e *env) withReader(o dispatcher.Options, f func(service) error) error {
	var opened bool
	err := e.withEngine(o, func(d service) error {
		opened = true
		return f(d)
	})
	if opened || !(errors.Is(err, lineage.ErrLocked) || errors.Is(err, fs.ErrPermission) || isReadOnlyFS(err)) {
		return err
	}
	if _, statErr := os.Stat(e.stateDir); statErr != nil {
		return err // nothing to read either
	}
	e.notef("%v; going on read-only", err)
	o.ReadOnly = true
	return e.withEngine(o, f)
}
