package tests

import (
	"context"
	"errors"
	"testing"

	"seuss/dispatcher"
	"seuss/lineage"
	"seuss/vmm"
	"seuss/vmm/process"
	"seuss/vmm/vmmtest"
)

// TestNodesMoveBetweenPlatforms: a node that was captured under KVM is deployed
// by the process platform and the other way round, at whatever privilege level
// KVM's guests run; children captured there serve here again.
func TestNodesMoveBetweenPlatforms(t *testing.T) {
	kvm := vmmtest.RequireKVM(t)
	processes, err := process.New(process.Options{})
	if errors.Is(err, vmm.ErrNoProcess) {
		t.Skip("skipped where guests cannot run as processes:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { processes.Close() })
	for name, order := range map[string][2]vmm.Platform{"from KVM": {kvm, processes}, "from process": {processes, kvm}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			linkTree(t, sharedState(t)+"/images", dir+"/images")
			on := func(p vmm.Platform, f func(d *dispatcher.Dispatcher)) {
				t.Helper()
				d, err := dispatcher.Open(dispatcher.Options{StateDir: dir, Platform: p})
				if err != nil {
					t.Fatal(err)
				}
				f(d)
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
			}
			run := func(d *dispatcher.Dispatcher, function, event, want string, path dispatcher.StartPath) {
				t.Helper()
				for range 3 { // a new machine, then one that was reset
					r := invoke(t, d, function, event)
					if string(r.Output) != want {
						t.Errorf("%s: %s %v, want %s", function, r.Output, r.Error, want)
					}
					if r.Path != path {
						t.Errorf("%s started from %s, want %s", function, r.Path, path)
					}
				}
			}
			const lazy = "import threading\nkept = [threading.Thread(target=threading.Event().wait, daemon=True) for _ in range(2)]\n" +
				"for k in kept: k.start()\n" +
				"def handler(event, context):\n    table = sum(n * n for n in range(event['rows']))\n    return table + event['query']\n"
			on(order[0], func(d *dispatcher.Dispatcher) {
				deploy(t, d, "first", lazy, func(s *dispatcher.FunctionSpec) { s.Lazy = true })
				if _, err := d.CaptureArgument(context.Background(), "first", []byte(`{"rows": 1000}`), ""); err != nil {
					t.Fatal(err)
				}
			})
			on(order[1], func(d *dispatcher.Dispatcher) {
				run(d, "first", `{"rows": 1000, "query": 5}`, "332833505", dispatcher.PathArgument)
				deploy(t, d, "second", victimFunction, nil) // below the other's base
				run(d, "second", `{"n": 14}`, `"14"`, dispatcher.PathFunction)
				if n := len(d.Store().Kind(lineage.KindBase)); n != 1 {
					t.Errorf("%d base nodes, want the other platform's alone", n)
				}
			})
			on(order[0], func(d *dispatcher.Dispatcher) {
				run(d, "second", `{"n": 15}`, `"15"`, dispatcher.PathFunction)
				run(d, "first", `{"rows": 1000, "query": 6}`, "332833506", dispatcher.PathArgument)
			})
		})
	}
}
