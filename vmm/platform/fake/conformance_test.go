package fake_test

import (
	"testing"

	"seuss/vmm/platform"
	"seuss/vmm/platform/conformance"
	"seuss/vmm/platform/fake"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t testing.TB) platform.Platform {
		p, err := fake.New(fake.Options{Guest: conformance.StandIn})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		return p
	})
}
