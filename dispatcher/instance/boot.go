package instance

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"seuss/guest"
	"seuss/images"
	"seuss/vmm"
)

// bootTimeout bounds a cold boot to the driver's READY.
const bootTimeout = 60 * time.Second

// Boot boots a machine that was made for root, which shows its image, until the driver of
// one of the image's runtimes is ready. The VM is the instance's alone: it ends with
// Destroy, or here with an error.
func Boot(vm *VM, runtime int, root *Snapshot) (*Instance, error) {
	began := time.Now()
	i := &Instance{vm: vm, start: root, parent: root}
	if err := i.boot(&vm.image.Runtimes[runtime], began.Add(bootTimeout)); err != nil {
		vm.Close()
		return nil, fmt.Errorf("boot image %q: %w", vm.image.Name, err)
	}
	i.Restored = time.Since(began)
	return i, nil
}

func (i *Instance) boot(rt *images.Runtime, deadline time.Time) error {
	vm := i.vm
	if vm.plan.base != i.start.View { // there was no room for its layout
		if _, err := vm.plan.move(i.start.View); err != nil {
			return err
		}
	}
	if err := vm.plan.placeProgram(); err != nil {
		return err
	}
	if err := vm.stream.await(vm.m); err != nil {
		return err
	}
	if err := vm.m.ColdBoot(vmm.BootConfig{Args: rt.Argv, Env: append(slices.Clone(rt.Env), fmt.Sprintf("SEUSS_DRIVER_PROTOCOL=%d", guest.DriverVersion)), User: vm.image.User}); err != nil {
		return err
	}
	vm.enter(Running)
	vm.instance = i
	f, err := i.exchange(context.Background(), deadline, nil)
	if err != nil {
		return i.withLogs(err)
	}
	if f.kind != guest.MsgReady {
		return fmt.Errorf("%w: message %d in place of READY", ErrProtocol, f.kind)
	}
	return checkReady(rt, f.payload)
}

// checkReady refuses a driver of another version of the protocol, and an interpreter that
// is not the one that the image lists.
func checkReady(rt *images.Runtime, payload []byte) error {
	ready := struct {
		Protocol int    `json:"protocol"`
		Version  string `json:"version"`
	}{Protocol: 1} // the first version, whose drivers do not state it
	if err := json.Unmarshal(payload, &ready); err != nil {
		return fmt.Errorf("%w: READY: %w", ErrProtocol, err)
	}
	if ready.Protocol != guest.DriverVersion {
		return fmt.Errorf("%w: the image's driver speaks driver protocol %d, this monitor %d: build the image anew", ErrProtocol, ready.Protocol, guest.DriverVersion)
	}
	if rt.Version != "" && ready.Version != "" && !strings.HasPrefix(ready.Version, rt.Version) {
		return fmt.Errorf("%w: the image lists %s, its interpreter is %s: build the image anew", ErrProtocol, rt.String(), ready.Version)
	}
	return nil
}

// withLogs adds what the guest printed to an error of its start, where it is the only
// explanation that there is.
func (i *Instance) withLogs(err error) error {
	for _, line := range i.vm.logs.take() {
		err = fmt.Errorf("%w\n%s: %s", err, line.Stream, line.Text)
	}
	return err
}
