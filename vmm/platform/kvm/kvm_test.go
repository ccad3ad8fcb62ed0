package kvm_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"seuss/vmm/platform"
	"seuss/vmm/platform/kvm"
	"seuss/vmm/vmmtest"
)

func TestNoKVM(t *testing.T) {
	dir := t.TempDir()
	for name, device := range map[string]string{"missing": filepath.Join(dir, "kvm"), "not a device": dir} {
		_, err := kvm.New(kvm.Options{Device: device})
		if !errors.Is(err, platform.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
		t.Log(err)
	}
	// A file that opens but is no KVM.
	_, err := kvm.New(kvm.Options{Device: "/dev/null"})
	if err == nil || !strings.Contains(err.Error(), "KVM_GET_API_VERSION") {
		t.Error(err)
	}
}

func TestDirtyRingOptions(t *testing.T) {
	vmmtest.RequireKVM(t)
	for _, n := range []uint32{3, 1, 1 << 31} {
		if p, err := kvm.New(kvm.Options{DirtyRingEntries: n}); err == nil {
			p.Close()
			t.Errorf("a dirty ring of %d entries was accepted", n)
		} else {
			t.Log(err)
		}
	}
}

// headerProgram prints what the kernel's header says, in the order in which
// LayoutForTest answers.
const headerProgram = `
#include <stddef.h>
#include <stdio.h>
#include <linux/kvm.h>
#define S(x) printf("sizeof(" #x ") %zu\n", sizeof(x))
#define O(s, f) printf("offsetof(" #s ", " #f ") %zu\n", offsetof(s, f))
#define R(x) printf(#x " %#lx\n", (unsigned long)(x))
int main(void) {
	S(struct kvm_regs); S(struct kvm_sregs); S(struct kvm_segment); S(struct kvm_dtable);
	S(struct kvm_vcpu_events); S(struct kvm_debugregs); S(struct kvm_xcrs); S(struct kvm_mp_state);
	S(struct kvm_userspace_memory_region); S(struct kvm_cpuid_entry2); S(struct kvm_msr_entry);
	S(struct kvm_enable_cap); S(struct kvm_device_attr); S(struct kvm_msr_filter); S(struct kvm_msr_filter_range); O(struct kvm_msr_filter_range, bitmap); S(struct kvm_dirty_log); S(struct kvm_dirty_gfn);
	O(struct kvm_run, exit_reason); O(struct kvm_run, immediate_exit); O(struct kvm_run, mmio);
	O(struct kvm_run, kvm_valid_regs); O(struct kvm_run, kvm_dirty_regs); O(struct kvm_run, s.regs.regs);
	O(struct kvm_run, s.regs.sregs); O(struct kvm_run, s.regs.events);
	R(KVM_GET_API_VERSION); R(KVM_CREATE_VM); R(KVM_GET_MSR_INDEX_LIST); R(KVM_CHECK_EXTENSION);
	R(KVM_GET_VCPU_MMAP_SIZE); R(KVM_GET_SUPPORTED_CPUID); R(KVM_CREATE_VCPU); R(KVM_SET_USER_MEMORY_REGION);
	R(KVM_SET_TSS_ADDR); R(KVM_RUN); R(KVM_GET_REGS); R(KVM_SET_REGS); R(KVM_GET_SREGS); R(KVM_SET_SREGS);
	R(KVM_GET_MSRS); R(KVM_SET_MSRS); R(KVM_SET_CPUID2); R(KVM_GET_MP_STATE); R(KVM_SET_MP_STATE);
	R(KVM_GET_VCPU_EVENTS); R(KVM_SET_VCPU_EVENTS); R(KVM_GET_DEBUGREGS); R(KVM_SET_DEBUGREGS);
	R(KVM_GET_TSC_KHZ); R(KVM_ENABLE_CAP); R(KVM_GET_XSAVE); R(KVM_SET_XSAVE); R(KVM_GET_XCRS); R(KVM_SET_XCRS);
	R(KVM_GET_XSAVE2); R(KVM_X86_SET_MSR_FILTER); R(KVM_SET_DEVICE_ATTR); R(KVM_GET_DEVICE_ATTR); R(KVM_HAS_DEVICE_ATTR);
	R(KVM_EXIT_DIRTY_RING_FULL); R(KVM_CAP_ENFORCE_PV_FEATURE_CPUID); R(KVM_CAP_DISABLE_QUIRKS2);
	return 0;
}
`

func TestLayoutsMatchKernelHeader(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("needs gcc:", err)
	}
	dir := t.TempDir()
	source, program := filepath.Join(dir, "layout.c"), filepath.Join(dir, "layout")
	if err := os.WriteFile(source, []byte(headerProgram), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-o", program, source).CombinedOutput(); err != nil {
		t.Skipf("the kernel's header is missing or too old: %v\n%s", err, out)
	}
	out, err := exec.Command(program).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSpace(string(out)), "\n")
	got := kvm.LayoutForTest()
	if len(got) != len(want) {
		t.Fatalf("%d values to compare with the header's %d", len(got), len(want))
	}
	for i := range want {
		if !strings.HasSuffix(want[i], " "+got[i]) {
			t.Errorf("header: %s; this package: %s", want[i], got[i])
		}
	}
}
