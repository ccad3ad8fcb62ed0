package instance

import (
	"bytes"
	"testing"

	"seuss/guest"
	"seuss/vmm/vmmtest"
)

// TestSecretLeavesNothing plants a secret in objects, files and the environment
// of an invocation and looks for it, from the host's side, in every page of the
// machine and in its registers and devices: when it stands ready for the next
// request of the same function, and on another function.
func TestSecretLeavesNothing(t *testing.T) {
	platform := vmmtest.Require(t)
	b := newLawBench(t, platform)
	vm := b.machine(platform, false)
	secret := "plant: XYZZY-PLUGH"
	needle := []byte(secret[len("plant: "):])
	for _, next := range []string{"function A", "function A", "function B", "base", "function A"} {
		b.bring(vm, "function A")
		if err := b.invoke(vm, "function A", secret); err != nil {
			t.Fatal(err)
		}
		planted := bytes.Count(contents(vm.m.Memory()), needle)
		if planted < 2000 {
			t.Fatalf("%d of at least 2,000 planted secrets are in memory: the scan is blind", planted)
		}
		b.bring(vm, next)
		for page := range vm.m.Memory().Pages() {
			if at := bytes.Index(vm.m.Memory().Page(page), needle); at >= 0 {
				t.Errorf("ready for %s: the secret is at %#x", next, page*guest.PageSize+uint64(at))
			}
		}
		state, err := b.state(vm).MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		// Registers hold pieces of what was copied last: eight bytes are one.
		for at := 0; at+8 <= len(needle); at++ {
			if bytes.Contains(state, needle[at:at+8]) {
				t.Errorf("ready for %s: %q is in the registers or devices", next, needle[at:at+8])
			}
		}
	}
}
