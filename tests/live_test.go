package tests

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instances"
	"seuss/lineage"
)

// TestLivePython: a live interpreter keeps what it is told, forks with a hundred different
// random numbers, and goes back to any point.
func TestLivePython(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience(2*time.Minute))
	defer cancel()
	create := func(s instances.Spec) *instances.Instance {
		t.Helper()
		info, err := d.Keeper.Create(ctx, functions.DefaultOwner, s)
		if err != nil {
			t.Fatal(err)
		}
		i, err := d.Keeper.Get(functions.DefaultOwner, info.Name)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	exec := func(i *instances.Instance, code string) *instances.Answer {
		t.Helper()
		a, err := i.Do(ctx, &instances.Call{Code: &code})
		if err != nil {
			t.Fatalf("%s: %v", code, err)
		}
		return a
	}
	i := create(instances.Spec{Image: dispatcher.DefaultImage()})
	for _, c := range []struct{ code, value, repr, failure, printed string }{
		{"import random, threading, time\nx = 1\nprint('hi')", "null", "", "", "hi\n"},
		{"def f(n):\n  global x\n  x += n\n  return x", "null", "", "", ""},
		{"f(2)", "3", "3", "", ""},
		{"{'a': [1, None]}", `{"a": [1, null]}`, "{'a': [1, None]}", "", ""},
		{"{1, 2}", "", "{1, 2}", "", ""},
		{"[{1: 'a', '1': 'b'}]", "", "[{1: 'a', '1': 'b'}]", "", ""},
		{"x = 10\n1 / 0", "", "", "ZeroDivisionError: division by zero", ""},
		{"x", "10", "10", "", ""},
		{"no code", "", "", "SyntaxError: invalid syntax (<exec 9>, line 1)", ""},
		{"raise SystemExit(3)", "", "", "Runtime.ExitError: 3", ""},
		{"float('nan')", "", "nan", "", ""},
		{"class A: pass\nA.__module__", `"__main__"`, "'__main__'", "", ""},
		{"done = []\nthreading.Thread(target=lambda: (time.sleep(0.2), done.append(x))).start()", "null", "", "", ""},
	} {
		a := exec(i, c.code)
		failure, printed := "", ""
		if a.Error != nil {
			failure = a.Error.Error()
		}
		for _, line := range a.Logs {
			printed += line.Text
		}
		if string(a.Value) != c.value || a.Repr != c.repr || failure != c.failure || printed != c.printed {
			t.Errorf("%s: %s, %s, %s, %q", c.code, a.Value, a.Repr, failure, printed)
		}
	}
	// What it has to do by itself it does while nobody asks it for anything.
	for end := time.Now().Add(patience(time.Minute)); exec(i, "done").Repr != "[10]"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("its thread does not go on")
		}
	}
	exec(i, "threading.Thread(target=lambda: (time.sleep(0.05), print('by itself'))).start()")
	for said := ""; !strings.Contains(said, "by itself"); {
		lines, _, more := i.Logs(0)
		for _, line := range lines {
			said += line.Text
		}
		if strings.Contains(said, "by itself") {
			break
		}
		select {
		case <-more:
		case <-ctx.Done():
			t.Fatal("its thread does not go on unless it is asked for something")
		}
	}
	node, err := i.Checkpoint(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := d.Store().Get(node); err != nil || n.Kind != lineage.KindInstance {
		t.Errorf("%v, %v", n, err)
	}
	forks, err := i.Fork(ctx, 100, nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	drawn := make([]string, len(forks))
	for at, f := range forks {
		wg.Go(func() {
			fork, err := d.Keeper.Get(functions.DefaultOwner, f.Name)
			if err != nil {
				t.Error(err)
				return
			}
			code := fmt.Sprintf("x += %d\n[x, random.random(), __import__('os').urandom(8).hex()]", at)
			a, err := fork.Do(ctx, &instances.Call{Code: &code})
			if err != nil || a.Error != nil || !strings.HasPrefix(string(a.Value), fmt.Sprintf("[%d, ", 10+at)) {
				t.Errorf("%+v, %v", a, err)
				return
			}
			drawn[at] = string(a.Value[len(fmt.Sprintf("[%d, ", 10+at)):])
		})
	}
	wg.Wait()
	slices.Sort(drawn)
	if n := len(slices.Compact(drawn)); n != len(forks) {
		t.Errorf("%d of %d copies have random numbers of their own", n, len(forks))
	}
	exec(i, "x = 99")
	if err := i.Rollback(ctx, node); err != nil {
		t.Fatal(err)
	}
	if a := exec(i, "f(1)"); a.Repr != "11" {
		t.Errorf("%+v", a)
	}
	if a := exec(create(instances.Spec{Snapshot: node}), "f(2)"); a.Repr != "12" {
		t.Errorf("%+v", a)
	}
}
