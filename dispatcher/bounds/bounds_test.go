package bounds

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/outbound"
	"seuss/lineage"
)

func outer(t *testing.T, entries ...string) *Outer {
	t.Helper()
	p, err := outbound.Parse(entries)
	if err != nil {
		t.Fatal(err)
	}
	return &Outer{Network: outbound.New(p), HostPorts: []uint32{7000, 7001}, Timeout: time.Minute, MemoryMiB: 256, OutputBytes: 4096}
}

// TestCheck: what the daemon does not allow is named, with what it would have to be
// started with.
func TestCheck(t *testing.T) {
	o := outer(t, "*.example.com:443", "10.2.0.0/16:*")
	for _, c := range []struct {
		s    functions.Settings
		want []string // in the error; none: it is let in
		is   error
	}{
		{s: functions.Settings{}},
		{s: functions.Settings{Network: []string{}, HostPorts: []uint32{}, TimeoutSec: 60, MemoryMiB: 256, OutputBytes: 4096}},
		{s: functions.Settings{Network: []string{"a.example.com:443", "10.2.3.0/24:5432"}, HostPorts: []uint32{7001}}},
		{functions.Settings{Network: []string{"a.example.com:443", "b.example.org:443", "a.example.com:80"}}, []string{"b.example.org:443", "a.example.com:80", "--allow-net"}, ErrBeyond},
		{functions.Settings{HostPorts: []uint32{7000, 7002}}, []string{"host port 7002", "--host-ports"}, ErrBeyond},
		{functions.Settings{TimeoutSec: 61}, []string{"1m1s", "1m0s", "--function-timeout"}, ErrBeyond},
		{functions.Settings{MemoryMiB: 257}, []string{"257 MiB", "--function-memory"}, ErrBeyond},
		{functions.Settings{OutputBytes: 4097}, []string{"4097", "--function-output"}, ErrBeyond},
		{functions.Settings{Network: []string{"x"}}, []string{`"x"`}, lineage.ErrInvalid},
		{functions.Settings{Network: make([]string, MaxEntries+1)}, []string{"257 entries"}, lineage.ErrInvalid},
		{functions.Settings{HostPorts: make([]uint32, MaxEntries+1)}, []string{"257 host ports"}, lineage.ErrInvalid},
		{functions.Settings{TimeoutSec: -1}, []string{"-1 s"}, lineage.ErrInvalid},
		{functions.Settings{TimeoutSec: 24*3600 + 1}, []string{"86401 s"}, lineage.ErrInvalid},
		{functions.Settings{Concurrency: new(-1)}, []string{"a concurrency of -1"}, lineage.ErrInvalid},
		{functions.Settings{MemoryMiB: -1}, []string{"-1 MiB"}, lineage.ErrInvalid},
		{functions.Settings{OutputBytes: MaxOutputBytes + 1}, []string{"output"}, lineage.ErrInvalid},
	} {
		err := o.Check(&c.s)
		if (err != nil) != (c.want != nil) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%+v: %v", c.s, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v, want %q in it", c.s, err, want)
			}
		}
	}
	others := Outer{Others: true}
	if err := others.Check(&functions.Settings{Network: []string{"example.org:1"}, HostPorts: []uint32{1}}); err != nil {
		t.Errorf("what others will serve: %v", err)
	}
}

// TestBothCount: where the daemon allows less than before, a deployment of then has
// what both allow, and what it lacks is said.
func TestBothCount(t *testing.T) {
	o := outer(t, "*.example.com:443")
	s := functions.Settings{Network: []string{"a.example.com:443", "b.example.org:443"}, HostPorts: []uint32{7001, 9}, TimeoutSec: 90, MemoryMiB: 512, OutputBytes: 8192}
	got, err := o.Summarize(&s)
	if err != nil || len(got.Beyond) != 5 {
		t.Fatalf("%+v, %v", got, err)
	}
	got.Beyond = nil
	if want := (Summary{Network: []string{"a.example.com:443"}, HostPorts: []uint32{7001}, TimeoutMS: 60_000, MemoryMiB: 256, OutputBytes: 4096}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	got, err = o.Summarize(&functions.Settings{})
	if want := (Summary{Network: []string{"*.example.com:443"}, HostPorts: []uint32{7000, 7001}, TimeoutMS: 30_000, MemoryMiB: 256, OutputBytes: 4096}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

func TestTime(t *testing.T) {
	var none Function
	for asked, want := range map[time.Duration]time.Duration{0: DefaultTimeout, -1: DefaultTimeout, time.Hour: time.Hour} {
		if got := none.Time(asked); got != want {
			t.Errorf("without bounds, %v: %v", asked, got)
		}
	}
	for _, c := range []struct {
		outer, own time.Duration
		asked      time.Duration
		want       time.Duration
	}{
		{0, 5 * time.Second, 0, 5 * time.Second},
		{0, 5 * time.Second, 2 * time.Second, 2 * time.Second},
		{0, 5 * time.Second, time.Minute, 5 * time.Second},
		{3 * time.Second, 5 * time.Second, 0, 3 * time.Second},
		{3 * time.Second, 0, 0, 3 * time.Second},
		{time.Minute, 0, 0, DefaultTimeout},
		{time.Minute, 0, time.Hour, time.Minute},
		{0, time.Hour, 0, time.Hour},
	} {
		o := Outer{Timeout: c.outer}
		f, err := o.Of(&functions.Settings{TimeoutSec: int(c.own / time.Second)})
		if got := f.Time(c.asked); err != nil || got != c.want {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
}
