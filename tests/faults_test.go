package tests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"seuss/tests/attacks"
)

// attackOn is a daemon as attackers and honest clients see it.
func (d *daemon) attackOn() *attacks.Target {
	return &attacks.Target{T: d.T, URL: d.url, Token: d.token, PID: d.cmd.Process.Pid, Patience: patience}
}

// limit sets one of the daemon's resource limits and returns what puts it back.
func (d *daemon) limit(resource int, most uint64) (lift func()) {
	d.Helper()
	pid := d.cmd.Process.Pid
	var was unix.Rlimit
	if err := unix.Prlimit(pid, resource, nil, &was); err != nil {
		d.Fatal(err)
	}
	if err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: most, Max: was.Max}, nil); err != nil {
		d.Skipf("skipped: the daemon's limits cannot be set: %v", err)
	}
	return func() {
		d.Helper()
		if err := unix.Prlimit(pid, resource, &was, nil); err != nil {
			d.Fatal(err)
		}
	}
}

// proc reads a file of a process's.
func proc(t *testing.T, pid int, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// stubs are the processes in which the daemon's guests run.
func (d *daemon) stubs() (pids []int) {
	d.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", d.cmd.Process.Pid))
	if err != nil {
		d.Fatal(err)
	}
	for _, path := range tasks {
		b, _ := os.ReadFile(path) // of a thread that has ended
		for child := range strings.FieldsSeq(string(b)) {
			pid, err := strconv.Atoi(child)
			if err != nil {
				d.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

const sleeps = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return event\n"

// TestDescriptorsExhausted: when the daemon has no descriptors left, connections that
// it has are answered, if only with an error, and all of it works again when it has
// some.
func TestDescriptorsExhausted(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--machines", "8", "--max-wait", "2m", "--target-wait", "2m")
	a := d.attackOn()
	a.Deploy("sleeps", sleeps, attacks.Settings(20, 0))
	a.Run("sleeps", "0", 20*time.Second)
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", a.PID))
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range []uint64{0, 3, 10, 20} {
		t.Run(fmt.Sprintf("%d more", more), func(t *testing.T) {
			lift := d.limit(unix.RLIMIT_NOFILE, uint64(len(open))+more)
			within, cancel := context.WithTimeout(t.Context(), patience(2*time.Minute))
			defer cancel()
			a := *a
			a.Gone = within
			var wg sync.WaitGroup
			var served, failed atomic.Int64
			for range 12 {
				wg.Go(func() {
					got, err := a.Invoke("sleeps", "0.3", patience(20*time.Second))
					if err == nil && got.Status == 200 && got.Output == "0.3" {
						served.Add(1)
						return
					}
					var waited interface{ Timeout() bool }
					if errors.As(err, &waited) && waited.Timeout() {
						t.Errorf("an invocation was left waiting: %v", err)
						return
					}
					failed.Add(1)
					t.Logf("%+v, %v", got, err)
				})
			}
			time.Sleep(patience(time.Second))
			lift()
			wg.Wait()
			t.Logf("%d served, %d not", served.Load(), failed.Load())
			if n := served.Load() + failed.Load(); n != 12 {
				t.Errorf("%d of 12 invocations came to an end", n)
			}
			for range 10 {
				if got := a.Run("sleeps", "0", 20*time.Second); got.Output != "0" {
					t.Errorf("with descriptors again: %+v", got)
				}
			}
		})
	}
	a.Deploy("after", sleeps, attacks.Settings(20, 0))
	if code := d.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestAddressSpaceExhausted: when the daemon gets no more memory for machines, who
// would need another one waits or is told so, the machines that there are serve on, and
// there are more again when it gets some.
func TestAddressSpaceExhausted(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--machines", "8", "--max-wait", "2m", "--target-wait", "2m")
	a := d.attackOn()
	a.Deploy("sleeps", sleeps, attacks.Settings(20, 0))
	a.Run("sleeps", "0", 20*time.Second)
	var kib uint64
	for line := range strings.Lines(proc(t, a.PID, "status")) {
		_, _ = fmt.Sscanf(line, "VmSize: %d kB", &kib) // of another line
	}
	if kib == 0 {
		t.Fatal("the kernel does not say how large the daemon is")
	}
	for _, more := range []uint64{200 << 20, 400 << 20} { // Go's own heap needs some
		lift := d.limit(unix.RLIMIT_AS, kib<<10+more)
		var wg sync.WaitGroup
		var served, failed atomic.Int64
		for range 16 {
			wg.Go(func() {
				got, err := a.Invoke("sleeps", "0.3", patience(20*time.Second))
				switch {
				case err != nil:
					t.Errorf("an invocation was not answered: %v", err)
				case got.Output == "0.3":
					served.Add(1)
				default:
					failed.Add(1)
					t.Logf("%+v", got)
				}
			})
		}
		wg.Wait()
		t.Logf("with %d MiB more: %d served, %d not", more>>20, served.Load(), failed.Load())
		if served.Load() == 0 {
			t.Error("nobody was served, and there is a machine")
		}
		lift()
		for range 10 {
			if got := a.Run("sleeps", "0", 20*time.Second); got.Output != "0" {
				t.Errorf("with memory again: %+v", got)
			}
		}
	}
	if code := d.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestStoppedDaemon: a daemon that is stopped (SIGSTOP) and goes on answers everybody.
func TestStoppedDaemon(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--machines", "3", "--max-wait", "2m", "--target-wait", "2m")
	a := d.attackOn()
	a.Deploy("sleeps", sleeps, attacks.Settings(20, 0))
	for range 3 {
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				got, err := a.Invoke("sleeps", "0.3", patience(20*time.Second))
				for end := time.Now().Add(patience(2 * time.Minute)); err == nil && got.Status == 429 && time.Now().Before(end); {
					time.Sleep(50 * time.Millisecond) // it thinks that a second's pause is its own pace
					got, err = a.Invoke("sleeps", "0.3", patience(20*time.Second))
				}
				if err != nil || got.Output != "0.3" {
					t.Errorf("%+v, %v", got, err)
				}
			})
		}
		a.Until("invocations run", func() bool { return a.Metric("seuss_running") > 0 })
		stop(t, a.PID, time.Second)
		wg.Wait()
	}
	if code := d.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// stop stops a process for some time.
func stop(t *testing.T, pid int, pause time.Duration) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(pause)
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// TestStoppedStubs: guests' processes that are stopped cost their invocations, at
// their time limits, and nobody else's; the daemon has others in their place, whether
// they go on or not.
func TestStoppedStubs(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--machines", "2", "--max-wait", "2m", "--target-wait", "2m")
	a := d.attackOn()
	a.Deploy("sleeps", sleeps, attacks.Settings(20, 0))
	for _, goOn := range []bool{true, false} {
		t.Run(fmt.Sprintf("go on %v", goOn), func(t *testing.T) {
			d.ready("sleeps", "0.2", 2)
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					// Long enough to be seen at once on however busy a host.
					got, err := a.Invoke("sleeps", "5", patience(time.Minute))
					// That something has stopped it is no fault of the function's.
					halted := !goOn && got.Status == 500 && strings.Contains(got.Message, "something has stopped it")
					if err != nil || !halted && (got.Status != 200 || got.Output != "5" && got.Type == "") {
						t.Errorf("%+v, %v", got, err)
					}
				})
			}
			d.wantMetric("seuss_running", "2")
			stopped := d.stubs()
			if len(stopped) == 0 {
				t.Skip("skipped: this platform has no processes of guests")
			}
			for _, pid := range stopped {
				if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			}
			if goOn {
				time.Sleep(300 * time.Millisecond)
				for _, pid := range stopped {
					_ = syscall.Kill(pid, syscall.SIGCONT) // it may have ended
				}
			}
			wg.Wait()
			for range 10 {
				if got := a.Run("sleeps", "0", 20*time.Second); got.Output != "0" {
					t.Errorf("afterwards: %+v", got)
				}
			}
		})
	}
	if code := d.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
