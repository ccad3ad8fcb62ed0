package process_test

import (
	"errors"
	"testing"

	"seuss/vmm/platform"
	"seuss/vmm/platform/conformance"
	"seuss/vmm/platform/process"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t testing.TB) platform.Platform {
		p, err := process.New(process.Options{})
		if errors.Is(err, platform.ErrUnavailable) {
			t.Skip("skipped where guests cannot run as processes:", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		return p
	})
}
