package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// usage is processor time in seconds, or the same in each second.
type usage struct{ daemon, guests, generator float64 }

func (u usage) since(before usage, took time.Duration) usage {
	s := took.Seconds()
	return usage{(u.daemon - before.daemon) / s, (u.guests - before.guests) / s, (u.generator - before.generator) / s}
}

// usage reads the processor time of the daemon, of its children, which on the
// process platform are the guests, and of this process.
func (l *load) usage() (u usage) {
	daemon := fmt.Sprint(l.pid)
	_, u.daemon = processorTime(daemon)
	_, u.generator = processorTime("self")
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return u
	}
	for _, e := range entries {
		if parent, t := processorTime(e.Name()); parent == daemon && l.pid != 0 {
			u.guests += t
		}
	}
	return u
}

// processorTime returns a process's parent and its time in user and kernel mode
// (proc_pid_stat(5), in ticks of 10 ms), 0 if there is no such process.
func processorTime(pid string) (parent string, seconds float64) {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return "", 0
	}
	// The second field, a name in parentheses, may hold anything.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 13 {
		return "", 0
	}
	var user, kernel float64
	fmt.Sscan(fields[11], &user)
	fmt.Sscan(fields[12], &kernel)
	return fields[1], (user + kernel) / 100
}

// rss is a process's resident memory in MiB, 0 if it cannot be read.
func rss(pid int) uint64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		var kib uint64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib >> 10
		}
	}
	return 0
}
