package confine

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"seuss/dispatcher/api"
)

// readStatus returns the fields of /proc/self/status, empty if it cannot be read.
func readStatus() map[string]string {
	fields := map[string]string{}
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return fields
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	return fields
}

// capabilityText names the capabilities of a mask, in hexadecimal as /proc has it.
func capabilityText(mask string) string {
	bits, err := strconv.ParseUint(mask, 16, 64)
	if err != nil {
		return "unknown"
	}
	if bits == 0 {
		return "none"
	}
	known := map[uint]string{unix.CAP_DAC_OVERRIDE: "dac_override", unix.CAP_FOWNER: "fowner", unix.CAP_NET_BIND_SERVICE: "net_bind_service"}
	var names []string
	for c := range uint(64) {
		if bits&(1<<c) == 0 {
			continue
		}
		name, ok := known[c]
		if !ok {
			return fmt.Sprintf("%#x", bits)
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

func noNewPrivileges() api.Measure {
	m := api.Measure{Name: "no new privileges"}
	if readStatus()["NoNewPrivs"] == "1" {
		m.InForce, m.Detail = true, "no program that it might execute gets more rights than it has"
		return m
	}
	m.Detail, m.Fix = "not set", "mount /proc"
	return m
}
