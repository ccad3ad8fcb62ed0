package vmmtest

import "testing"

// RequirePaging skips a test where the platform of Require reports no page faults of
// guests: what it is about does not happen there, since pages are filled before they are
// mapped.
func RequirePaging(t testing.TB) {
	t.Helper()
	if p := Require(t); !p.Capabilities().PagesIn {
		t.Skipf("skipped: %s does not page in on demand here", p.Name())
	}
}
