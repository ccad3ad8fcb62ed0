package server

import (
	"context"
	"net/http"
	"sync"
	"time"

	"seuss/dispatcher/api"
)

// Whoever watches the service needs no token for these two: they say that it lives, and
// whether it serves, in a word.
const (
	healthPath = "/healthz"
	readyPath  = "/readyz"
)

// isProbe reports whether a request is one that needs no token.
func isProbe(r *http.Request) bool {
	return (r.URL.Path == healthPath || r.URL.Path == readyPath) && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}

// probeEvery is how long an answer of the service's stands: probes cost it nothing, however
// many there are. probeTimeout is how long one waits for it.
const (
	probeEvery   = 10 * time.Second
	probeTimeout = 2 * time.Second
)

// probe asks the service whether it could serve, once for all who want to know.
type probe struct {
	mu    sync.Mutex
	asked time.Time
	done  chan struct{} // closed when there is an answer; nil: nobody has asked
	why   []string      // as of done
}

// reasons returns why the service cannot serve; none: it can.
func (p *probe) reasons(ctx context.Context, ask func() []string) []string {
	p.mu.Lock()
	answered := p.done != nil
	if answered {
		select {
		case <-p.done:
		default:
			answered = false
		}
	}
	if p.done == nil || answered && time.Since(p.asked) >= probeEvery {
		done := make(chan struct{})
		p.asked, p.done = time.Now(), done
		go func() {
			why := ask()
			p.mu.Lock()
			p.why = why
			p.mu.Unlock()
			close(done)
		}()
	}
	done := p.done
	p.mu.Unlock()
	timer := time.NewTimer(probeTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		return []string{"no platform"} // it does not answer
	case <-ctx.Done():
		return []string{"no platform"}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.why
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	WriteJSON(w, http.StatusOK, api.Ready{Ready: true, Reasons: []string{}})
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	doc := api.Ready{Reasons: []string{}}
	if s.Scheduler.Stats().Draining {
		doc.Reasons = append(doc.Reasons, "draining")
	} else {
		doc.Reasons = append(doc.Reasons, s.probe.reasons(r.Context(), s.Service.Unready)...)
		if s.Cluster != nil && s.Cluster.Cordoned() {
			doc.Reasons = append(doc.Reasons, "cordoned")
		}
	}
	status := http.StatusOK
	if doc.Ready = len(doc.Reasons) == 0; !doc.Ready {
		status = http.StatusServiceUnavailable
	}
	WriteJSON(w, status, doc)
}
