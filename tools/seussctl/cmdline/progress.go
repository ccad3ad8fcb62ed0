package cmdline

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

const progressSteps = 1000

// progress shows what a long step is doing, on a terminal only. It may be told
// from several goroutines.
type progress struct {
	w       io.Writer
	visible bool

	mu   sync.Mutex
	bar  *progressbar.ProgressBar
	what string
	rate bool // the bar shows a fraction, not a spinner
}

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, visible: ok && term.IsTerminal(int(f.Fd()))}
}

// Step says that what is being done, and which part of it is finished: 0 to 1,
// negative if that is not known. A finished step disappears.
func (p *progress) Step(what string, fraction float64) {
	if !p.visible {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar == nil || p.what != what || p.rate != (fraction >= 0) {
		p.clearLocked()
		p.start(what, fraction)
	}
	// Errors here are those of writing to the terminal; the work goes on.
	switch {
	case fraction >= 1:
		p.clearLocked()
	case fraction >= 0:
		_ = p.bar.Set(int(fraction * progressSteps))
	default:
		_ = p.bar.Add(0)
	}
}

func (p *progress) start(what string, fraction float64) {
	p.what, p.rate = what, fraction >= 0
	steps := -1 // a spinner
	if p.rate {
		steps = progressSteps
	}
	p.bar = progressbar.NewOptions(steps,
		progressbar.OptionSetWriter(p.w),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWidth(24),
		progressbar.OptionThrottle(50*time.Millisecond),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionSpinnerType(14),
		progressbar.OptionSetRenderBlankState(true),
		progressbar.OptionClearOnFinish(),
	)
}

// Clear takes the progress line away, before anything else is printed.
func (p *progress) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clearLocked()
}

func (p *progress) clearLocked() {
	if p.bar != nil {
		_ = p.bar.Finish()
		_ = p.bar.Clear()
		p.bar = nil
	}
}
