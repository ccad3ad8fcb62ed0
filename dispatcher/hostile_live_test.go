package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/access"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance/instancetest"
	"seuss/dispatcher/instances"
	"seuss/dispatcher/park"
)

// TestKilledWhileItParks: instances that are removed at any moment of what they are asked for,
// or of leaving their machine after it, leave nothing: machines, room and names are there for
// others.
func TestKilledWhileItParks(t *testing.T) {
	l := newLiving(t, 2, dispatcher.Options{})
	stays := l.create(instances.Spec{Function: "count", Name: "stays"})
	l.want(stays, event(`1`), "1")
	parked := func() park.Stats {
		if _, err := stays.Memory(t.Context()); err != nil { // for which it leaves its machine
			t.Fatal(err)
		}
		return l.Stats().Parked
	}
	before := parked()
	for round := range 50 {
		var wg sync.WaitGroup
		for n := range 4 {
			i := l.create(instances.Spec{Function: "count", Name: fmt.Sprint("dies", n)})
			wg.Go(func() {
				for {
					if _, err := i.Do(t.Context(), event(`1`)); err != nil {
						if !errors.Is(err, instances.ErrUnknown) && !errors.Is(err, instances.ErrRemoved) {
							t.Error(err)
						}
						return
					}
				}
			})
			wg.Go(func() {
				time.Sleep(time.Duration(round*n) * 50 * time.Microsecond)
				i.Remove()
			})
		}
		wg.Wait()
	}
	l.want(stays, event(`1`), "2")
	if n := l.Keeper.Stats().Instances; n != 1 {
		t.Errorf("%d instances", n)
	}
	if after := parked(); after.Instances != before.Instances || after.Bytes > before.Bytes+64<<10 {
		t.Errorf("room that nobody has: %+v, before %+v", after, before)
	}
}

// TestForkBomb: who forks copies of copies comes to his own bounds, of number and of memory,
// and takes nothing of another's.
func TestForkBomb(t *testing.T) {
	quota := func(owner string) access.Quota {
		if owner == "bomber" {
			return access.Quota{Instances: 300}
		}
		return access.Quota{}
	}
	l := newLiving(t, 2, dispatcher.Options{Quota: quota, ParkedBytes: 64 << 20})
	list := []instances.Info{}
	first, err := l.Keeper.Create(t.Context(), "bomber", instances.Spec{Image: dispatcher.DefaultImage()})
	if err != nil {
		t.Fatal(err)
	}
	for list = append(list, first); err == nil; {
		var more []instances.Info
		for _, info := range list {
			var i *instances.Instance
			if i, err = l.Keeper.Get("bomber", info.Name); err != nil {
				t.Fatal(err)
			}
			var made []instances.Info
			if made, err = i.Fork(t.Context(), 7, nil); err != nil {
				break
			}
			more = append(more, made...)
		}
		list = append(list, more...)
	}
	if !errors.Is(err, instances.ErrTooMany) || len(list) > 300 || len(list) < 290 {
		t.Errorf("%d copies: %v", len(list), err)
	}
	other := l.create(instances.Spec{Function: "count", Name: "other"})
	l.want(other, event(`1`), "1")
	if _, err := other.Fork(t.Context(), 1, nil); err != nil {
		t.Errorf("another owner: %v", err)
	}
}

// TestDamagedOnDisk: what an instance was kept as is damaged on the disk: it is there as one
// that has failed, others are back, and it can be rolled back to what is whole.
func TestDamagedOnDisk(t *testing.T) {
	dir := instancetest.FakeStateDir(t, dispatcher.DefaultImage())
	l := newLiving(t, 1, dispatcher.Options{StateDir: dir})
	ids := map[string]string{}
	for _, name := range []string{"whole", "damaged"} {
		i := l.create(instances.Spec{Function: "count", Name: name})
		l.want(i, event(`1`), "1")
		l.want(i, event(`1`), "2")
		if name == "whole" {
			l.want(i, event(`1`), "3")
		}
		node, err := i.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = node
	}
	function := l.Store().Function("count")[0].ID
	l.stop()
	damaged := 0
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || !matches(path, ids["damaged"]) {
			return err
		}
		damaged++
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for at := len(b) / 2; at < len(b); at += 7 {
			b[at] ^= 0xff
		}
		if err := os.Chmod(path, 0o600); err != nil {
			return err
		}
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil || damaged == 0 {
		t.Fatalf("%d files, %v", damaged, err)
	}
	l = newLiving(t, 1, dispatcher.Options{StateDir: dir})
	l.want(l.get("whole"), event(`1`), "4")
	ctx, done := context.WithTimeout(t.Context(), time.Minute)
	defer done()
	i := l.get("damaged")
	if a, err := i.Do(ctx, event(`1`)); err == nil {
		t.Errorf("what is damaged answers: %+v", a)
	}
	if err := i.Rollback(ctx, function); err != nil {
		t.Fatal(err)
	}
	l.want(i, event(`1`), "1")
	if _, err := l.Keeper.Get(functions.DefaultOwner, "whole"); err != nil {
		t.Error(err)
	}
}

func matches(path, id string) bool {
	ok, _ := filepath.Match("*"+id[:16]+"*", filepath.Base(path))
	return ok
}
