package app

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

// platformVariable names the platform where --platform does not.
const platformVariable = "SEUSS_PLATFORM"

// Platforms that a user can ask for.
const (
	platformAuto    = "auto"
	platformKVM     = "kvm"
	platformProcess = "process"
)

func (e *env) setPlatform(name string) error {
	if name == "" {
		name = e.getenv(platformVariable)
	}
	switch name {
	case "":
		name = platformAuto
	case platformAuto, platformKVM, platformProcess:
	default:
		return usagef("seussctl", "platform %q: must be %s, %s or %s", name, platformAuto, platformKVM, platformProcess)
	}
	e.platform = name
	return nil
}

// hugePagesVariable says it where --huge-pages does not.
const hugePagesVariable = "SEUSS_HUGE_PAGES"

func (e *env) setHugePages(when string) error {
	if when == "" {
		when = e.getenv(hugePagesVariable)
	}
	switch when {
	case "", "auto", "never":
	default:
		return usagef("seussctl", "huge pages %q: must be auto or never", when)
	}
	e.hugePages = when != "never"
	return nil
}

// openPlatform opens the platform that the user asked for. Asked for none in
// particular it takes KVM where that can be used, else processes, and says so
// once.
func (e *env) openPlatform() (vmm.Platform, error) {
	switch e.platform {
	case platformKVM:
		return asPlatform(kvm.New(kvm.Options{NoHugePages: !e.hugePages}))
	case platformProcess:
		return asPlatform(process.New(process.Options{}))
	}
	p, kvmErr := kvm.New(kvm.Options{NoHugePages: !e.hugePages})
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
		e.notef("no KVM, so guests run as processes, whose isolation is weaker; to get KVM: %s", reason)
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
func (e *env) tryPlatform() error {
	platform, err := e.openPlatform()
	if err != nil {
		return err
	}
	return platform.Close()
}

// openDispatcher opens the platform and a dispatcher on it.
func (e *env) openDispatcher(o dispatcher.Options) (service, error) {
	platform, err := e.openPlatform()
	if err != nil {
		return nil, err
	}
	o.Platform = platform
	d, err := dispatcher.Open(o)
	if err != nil {
		return nil, errors.Join(err, platform.Close())
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
