package dispatcher

import (
	"fmt"
	"time"

	"seuss/guest"
	"seuss/lineage"
	"seuss/vmm"
)

// restTimeout is how long a capture waits for the guest's threads to block. They
// were started by code that has answered already.
const restTimeout = 5 * time.Second

// rest lets the guest run until all its threads wait: only then is it whole in
// memory and registers.
func (s *shell) rest(deadline time.Time) error {
	if s.m.Quiescent() {
		return nil
	}
	stop, err := s.m.Run(vmm.RunOptions{Deadline: deadline, Wait: vmm.WaitNone})
	switch {
	case err != nil:
		return err
	case stop.Kind == vmm.StopIdle:
		return nil
	case stop.Kind == vmm.StopTimeout:
		return fmt.Errorf("a thread of the guest computes on: no snapshot can be taken: %w", ErrTimeout)
	}
	return s.crash(stop, "")
}

// capture makes a node of what the shell holds now, below parent. The shell
// rests at its idle doorbell and stands at the new node afterwards.
func (d *Dispatcher) capture(s *shell, parent *target, kind lineage.Kind, key lineage.Key, saved time.Duration, purity lineage.Purity) (*target, error) {
	start := time.Now()
	if err := s.rest(start.Add(restTimeout)); err != nil {
		return nil, fmt.Errorf("capture %s node: %w", kind, err)
	}
	if s.link.conn.State() != vmm.StreamOpen || s.link.conn.Ended() {
		return nil, fmt.Errorf("capture %s node: %w", kind, errStream)
	}
	if _, err := trim(s.m); err != nil {
		return nil, fmt.Errorf("capture %s node: %w", kind, err)
	}
	state, err := s.m.Capture()
	if err != nil {
		return nil, fmt.Errorf("capture %s node: %w", kind, err)
	}
	bytes, err := state.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("capture %s node: %w", kind, err)
	}
	if err := s.collect(); err != nil {
		return nil, fmt.Errorf("capture %s node: %w", kind, err)
	}
	// Every page that may differ from the parent's: the private ones, and those
	// where another view than the parent's is mapped.
	candidates := s.layout.private.Clone()
	for first, count := range lineage.Diff(s.layout.base, parent.view) {
		// What is read below must be there, and right.
		if err := s.layout.base.Check(first, count); err != nil {
			return nil, fmt.Errorf("capture %s node: %w", kind, err)
		}
		candidates.AddRange(first, count)
	}
	mem := s.m.Memory()
	n, err := d.store.Capture(lineage.NodeSpec{
		Kind: kind, Key: key, State: bytes, CPUFeatures: d.cpuFeatures(), ABIVersion: guest.KernelVersion,
		CaptureCost: time.Since(start), SavedTime: saved, Purity: purity,
	}, parent.node, candidates, mem.Page)
	if err != nil {
		return nil, err
	}
	d.events.captures.Add(1)
	t, err := d.catalog.target(n.Info.ID)
	if err != nil {
		return nil, err
	}
	s.last = t
	return t, nil
}
