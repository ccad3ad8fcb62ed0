package cmdline

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/vmm"
	"seuss/vmm/platform/kvm"
	"seuss/vmm/platform/process"
)

// PlatformVariable names the platform where --platform does not.
const PlatformVariable = "SEUSS_PLATFORM"

// Platforms that a user can ask for.
const (
	platformAuto    = "auto"
	platformKVM     = "kvm"
	platformProcess = "process"
)

func (e *Env) setPlatform(name string) error {
	if name == "" {
		name = e.Getenv(PlatformVariable)
	}
	switch name {
	case "":
		name = platformAuto
	case platformAuto, platformKVM, platformProcess:
	default:
		return Usagef("seussctl", "platform %q: must be %s, %s or %s", name, platformAuto, platformKVM, platformProcess)
	}
	e.platform = name
	return nil
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
// particular it takes KVM where that can be used, else processes, and says so
// once.
func (e *Env) OpenPlatform() (vmm.Platform, error) {
	switch e.platform {
	case platformKVM:
		return asPlatform(kvm.New(kvm.Options{NoHugePages: !e.HugePages}))
	case platformProcess:
		return asPlatform(process.New(process.Options{}))
	}
	p, kvmErr := kvm.New(kvm.Options{NoHugePages: !e.HugePages})
	if kvmErr == nil {
		return p, nil
	}
	if !errors.Is(kvmErr, vmm.ErrNoKVM) {
		return nil, kvmErr
	}
	q, err := process.New(process.Options{})
	if err != nil {
		return nil, fmt.Errorf("%w; and %w", kvmErr, err)
	}
	if !e.weakerNoted {
		e.weakerNoted = true
		reason := strings.TrimPrefix(kvmErr.Error(), vmm.ErrNoKVM.Error()+": ")
		e.Notef("no KVM, so guests run as processes, whose isolation is weaker; to get KVM: %s", reason)
	}
	return q, nil
}

// asPlatform keeps a nil pointer from becoming an interface that is not nil.
func asPlatform[P vmm.Platform](p P, err error) (vmm.Platform, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}

// tryPlatform finds out early, before a long step, that no machine can be made.
func (e *Env) tryPlatform() error {
	platform, err := e.OpenPlatform()
	if err != nil {
		return err
	}
	return platform.Close()
}

// openDispatcher opens the platform and a dispatcher on it.
func (e *Env) openDispatcher(o dispatcher.Options) (Service, error) {
	platform, err := e.OpenPlatform()
	if err != nil {
		return nil, err
	}
	o.Platform = platform
	d, err := dispatcher.Open(o)
	if err != nil {
		return nil, errors.Join(err, platform.Close())
	}
	if o.Log == nil { // that says it too
		noteRepaired(e, d.Store())
	}
	return &ownedService{api.NewLocal(d), platform}, nil
}

// ownedService closes the platform after the dispatcher.
type ownedService struct {
	api.Local
	platform io.Closer
}

func (o *ownedService) Close() error {
	return errors.Join(o.Dispatcher.Close(), o.platform.Close())
}
