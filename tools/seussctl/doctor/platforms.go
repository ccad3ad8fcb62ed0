package doctor

import (
	"errors"
	"fmt"
	"strings"

	"seuss/vmm/platform"
	_ "seuss/vmm/platform/all"
)

// platforms looks at what can run guests. The best that can be used is taken: what
// lacks of those before it is a remark, of those after it nothing. Where none can be
// used, all fail. Where the user asks for one, that is what has to be usable.
func (h *Host) platforms() []Check {
	var checks []Check
	if wanted := platform.Find(h.Platform); wanted != nil {
		checks, _ = h.platform(wanted)
		for _, k := range platform.Kinds() {
			if k == wanted {
				continue
			}
			found, ok := h.platform(k)
			if !ok {
				found[0].Status = Warning
				found[0].Fix = fmt.Sprintf("not needed with --platform %s; to get it: %s", wanted.Name, found[0].Fix)
			}
			checks = append(checks, found...)
		}
		return checks
	}
	var used *platform.Kind
	for _, k := range platform.Kinds() {
		found, ok := h.platform(k)
		if ok && used == nil {
			used = k
			for i := range checks {
				checks[i].Status = Warning
				checks[i].Fix = fmt.Sprintf("without it %s; to get it: %s", k.Instead, checks[i].Fix)
			}
			if len(checks) > 0 {
				found[0].Detail += fmt.Sprintf("; used here, since there is no %s", platform.Kinds()[0].Title)
			}
		} else if !ok && used != nil {
			found[0].Status = Warning
			found[0].Fix = fmt.Sprintf("needed only where there is no %s: %s", used.Title, found[0].Fix)
		}
		checks = append(checks, found...)
	}
	return checks
}

// platform opens a platform as the monitor would, which also checks what the host
// offers, and says what it has in it. ok tells whether it can be used.
func (h *Host) platform(k *platform.Kind) (checks []Check, ok bool) {
	at := platform.Host{Dev: h.Dev, Proc: h.Proc}
	c := Check{Name: k.Title, Status: OK, Detail: k.Summary}
	p, err := k.Open(platform.Options{Host: at})
	if err != nil {
		c.Status, c.Detail, c.Fix = Failed, oneLine(err), "use a kernel on which it works"
		var unmet *platform.Unmet
		if errors.As(err, &unmet) {
			c.Detail, c.Fix = oneLine(unmet.Err), unmet.Fix
		}
		return []Check{c}, false
	}
	if h.machine == nil && (h.Platform == "" || h.Platform == k.Name) {
		needs := p.Capabilities().Machine
		h.machine = &needs
	}
	info, cpu := p.Info(), p.CPU()
	c.Detail += fmt.Sprintf(", flavour %s, at CPL %d, on %s", info.Platform, cpu.CPL, processorName(cpu.Features))
	for _, fact := range info.Facts {
		if strings.HasPrefix(fact, "namespaces: ") {
			c.Detail += ", " + fact
		}
	}
	if err := p.Close(); err != nil {
		c.Status, c.Fix = Warning, oneLine(err)
	}
	checks = append(checks, c)
	for _, r := range k.Requirements {
		if r.Without == "" {
			continue
		}
		c := Check{Name: k.Title + ": " + r.Name, Status: OK, Detail: "works"}
		if err := r.Check(at); err != nil {
			c.Status, c.Detail, c.Fix = Warning, fmt.Sprintf("it does not work (%s), so %s", oneLine(err), r.Without), r.Fix
		}
		checks = append(checks, c)
	}
	return checks, true
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// processorName is the recorded description without its list of features.
func processorName(f platform.CPUFeatures) string {
	words := strings.Fields(f.String())
	return fmt.Sprintf("%s, %d features recorded", strings.Join(words[:min(len(words), 2)], " "), len(f.Names))
}
