package main

import (
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"seuss/dispatcher/api"
)

// zygote.py has the runtime started and json imported, and forks for each
// request: the child compiles the code that came, calls it, and answers.
//
//go:embed zygote.py
var zygote []byte

// burst invokes n functions that nobody has seen, all at once, here and on the
// zygote, and compares.
func (l *load) burst(n int) error {
	fmt.Printf("\nburst: %d invocations of %d different never-seen functions at once\n", n, n)
	report := func(who string, took time.Duration, d []time.Duration, failed int) {
		slices.Sort(d)
		fmt.Printf("%-8s  all done after %7.0f ms, %5.0f per second, p50 %s, p99 %s, failed %d\n", who, float64(took.Milliseconds()),
			float64(len(d))/took.Seconds(), at(d, 0.5), at(d, 0.99), failed)
	}
	stop, address, err := startZygote()
	if err != nil {
		return err
	}
	defer stop()
	for round := range 2 { // in turns: what the machine does beside disturbs both
		took, d, failed := atOnce(n, func(k int) error { return l.runUnseen(round*n + k) })
		report("seuss", took, d, failed)
		ours := float64(len(d)) / took.Seconds()
		took, d, failed = atOnce(n, func(k int) error { return askZygote(address, round*n+k) })
		report("zygote", took, d, failed)
		fmt.Printf("%.1f times the zygote's rate; the bar is 8\n", ours/(float64(len(d))/took.Seconds()))
	}
	return nil
}

func atOnce(n int, f func(int) error) (time.Duration, []time.Duration, int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var d []time.Duration
	failed := 0
	gate := make(chan struct{})
	for k := range n {
		wg.Go(func() {
			<-gate
			start := time.Now()
			err := f(k)
			took := time.Since(start)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed++
				if failed == 1 {
					fmt.Println("first failure:", err)
				}
				return
			}
			d = append(d, took)
		})
	}
	start := time.Now()
	close(gate)
	wg.Wait()
	return time.Since(start), d, failed
}

func (l *load) runUnseen(k int) error {
	spec := functionSpec(1_000_000+k, 0)
	spec.Name = "unseen"
	b, status, err := l.call("POST", "/v1/run", api.Run{Function: spec, Invocation: event})
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %.200s", status, b)
	}
	return err
}

// startZygote starts the fork server and waits for its socket.
func startZygote() (stop func(), address string, err error) {
	dir, err := os.MkdirTemp("", "load")
	if err != nil {
		return nil, "", err
	}
	address = filepath.Join(dir, "zygote.sock")
	cmd := exec.Command("/usr/bin/python3", "-c", string(zygote), address)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, "", fmt.Errorf("zygote: %w", err)
	}
	stop = func() {
		cmd.Process.Kill()
		cmd.Wait()
		os.RemoveAll(dir)
	}
	for range 500 {
		if c, err := net.Dial("unix", address); err == nil {
			c.Close()
			return stop, address, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	return nil, "", fmt.Errorf("zygote: it does not listen on %s", address)
}

// askZygote sends a function's code and its event, each with its length before
// it, and reads the answer.
func askZygote(address string, k int) error {
	c, err := net.Dial("unix", address)
	if err != nil {
		return err
	}
	defer c.Close()
	request, err := json.Marshal(map[string]any{"source": source(1_000_000+k, 0), "event": event.Event})
	if err != nil {
		return err
	}
	if _, err := c.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(request))), request...)); err != nil {
		return err
	}
	answer, err := io.ReadAll(c)
	if err == nil && !json.Valid(answer) {
		err = fmt.Errorf("zygote answered %.100q", answer)
	}
	return err
}
