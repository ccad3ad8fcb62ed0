//go:build linux && amd64

package probe

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"
)

// ioctl numbers and the one API version there is, from linux/kvm.h. Package
// syscall serves here so that the self-test builds from the standard library.
const (
	kvmGetAPIVersion = 0xae00
	kvmCreateVM      = 0xae01
	kvmCreateVCPU    = 0xae41
	kvmAPIVersion    = 12
)

// openKVM opens /dev/kvm. Without one the test is skipped, or fails where the
// environment promises one with CI_KVM=1.
func openKVM(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		absent := errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
		if absent && os.Getenv("CI_KVM") != "1" {
			t.Skipf("no usable KVM: %v", err)
		}
		t.Fatalf("open KVM: %v", err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func ioctl(t *testing.T, what string, f *os.File, request, arg uintptr) int {
	t.Helper()
	for {
		r, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, arg)
		if errno == syscall.EINTR { // Go's preemption signal
			continue
		}
		if errno != 0 {
			t.Fatalf("%s (ioctl %#x, argument %d): %v", what, request, arg, errno)
		}
		return int(r)
	}
}

func TestKVM(t *testing.T) {
	kvm := openKVM(t)
	if v := ioctl(t, "KVM_GET_API_VERSION", kvm, kvmGetAPIVersion, 0); v != kvmAPIVersion {
		t.Fatalf("KVM_GET_API_VERSION: got %d, want %d", v, kvmAPIVersion)
	}
	vm := os.NewFile(uintptr(ioctl(t, "KVM_CREATE_VM", kvm, kvmCreateVM, 0)), "vm")
	defer vm.Close()
	vcpu := os.NewFile(uintptr(ioctl(t, "KVM_CREATE_VCPU", vm, kvmCreateVCPU, 0)), "vcpu")
	defer vcpu.Close()
}
