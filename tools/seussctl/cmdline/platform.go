package cmdline

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"strings"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/vmm/platform"
	_ "seuss/vmm/platform/all"
)

// PlatformVariable names the platform where --platform does not.
const PlatformVariable = "SEUSS_PLATFORM"

// platformAuto takes the best that can be used.
const platformAuto = "auto"

// PlatformNames are those that a user can ask for.
func PlatformNames() []string {
	names := []string{platformAuto}
	for _, k := range platform.Kinds() {
		names = append(names, k.Name)
	}
	return names
}

func (e *Env) setPlatform(name string) error {
	name = cmp.Or(name, e.Getenv(PlatformVariable), platformAuto)
	if names := PlatformNames(); !slices.Contains(names, name) {
		return Usagef("seussctl", "platform %q: must be one of %s", name, strings.Join(names, ", "))
	}
	e.platform = name
	return nil
}

// WantedPlatform is the name of the platform that the user asks for, empty for the best.
func WantedPlatform(e *Env) string {
	if e.platform == platformAuto {
		return ""
	}
	return e.platform
}

// HugePagesVariable says it where --huge-pages does not.
const HugePagesVariable = "SEUSS_HUGE_PAGES"

func (e *Env) SetHugePages(when string) error {
	if when == "" {
		when = e.Getenv(HugePagesVariable)
	}
	switch when {
	case "", "auto", "never":
	default:
		return Usagef("seussctl", "huge pages %q: must be auto or never", when)
	}
	e.HugePages = when != "never"
	return nil
}

// OpenPlatform opens the platform that the user asked for. Asked for none in
// particular it takes the best that can be used, and says so once where that is not the
// best that there is.
func (e *Env) OpenPlatform() (platform.Platform, error) {
	o := platform.Options{NoHugePages: !e.HugePages, Guest: e.Guest}
	if k := platform.Find(e.platform); k != nil {
		e.Kind = k
		return k.Open(o)
	}
	p, k, passed, err := platform.OpenBest(o)
	if err != nil {
		return nil, err
	}
	e.Kind = k
	if len(passed) > 0 && !e.weakerNoted {
		e.weakerNoted = true
		best := passed[0]
		e.Notef("no %s, so %s; to get %s: %s", best.Title, k.Instead, best.Title, best.Reason())
	}
	return p, nil
}

// tryPlatform finds out early, before a long step, that no machine can be made.
func (e *Env) tryPlatform() error {
	p, err := e.OpenPlatform()
	if err != nil {
		return err
	}
	return p.Close()
}

// openDispatcher opens the platform and a dispatcher on it.
func (e *Env) openDispatcher(o dispatcher.Options) (Service, error) {
	p, err := e.OpenPlatform()
	if err != nil {
		return nil, err
	}
	o.Platform = p
	d, err := dispatcher.Open(o)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if o.Log == nil { // that says it too
		noteRepaired(e, d.Store())
	}
	return &ownedService{api.NewLocal(d), p}, nil
}

// ownedService closes the platform after the dispatcher.
type ownedService struct {
	api.Local
	platform io.Closer
}

func (o *ownedService) Close() error {
	return errors.Join(o.Dispatcher.Close(), o.platform.Close())
}
