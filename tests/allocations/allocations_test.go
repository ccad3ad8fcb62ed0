package allocations

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"seuss/dispatcher"
	"seuss/dispatcher/admission"
	"seuss/dispatcher/api"
	_ "seuss/dispatcher/http/lambda"
	_ "seuss/dispatcher/http/native"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/instance/instancetest"
	"seuss/dispatcher/sched"
)

// TestInvokeAllocations: what the service allocates for an invocation over HTTP, on a
// machine that stands ready, is counted, and does not grow. What net/http allocates is
// its own affair.
func TestInvokeAllocations(t *testing.T) {
	runtime := &instancetest.Runtime{Handlers: map[string]instancetest.Handler{"echo": func(*instancetest.Call) (string, error) { return "1", nil }}}
	d, err := dispatcher.Open(dispatcher.Options{StateDir: instancetest.FakeStateDir(t, dispatcher.DefaultImage()), Platform: runtime.Platform(t), PoolSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Deploy(t.Context(), dispatcher.FunctionSpec{Name: "echo", Handler: "echo.handler", Files: map[string][]byte{"f": nil}}); err != nil {
		t.Fatal(err)
	}
	service, scheduler, metrics := api.NewLocal(d), sched.New(sched.Options{Slots: 1}), server.NewMetrics()
	control := admission.New(admission.Options{Functions: service, Invocations: service, Scheduler: scheduler, Metrics: metrics})
	s := server.New(server.Options{Service: service, Admission: control, Scheduler: scheduler, Metrics: metrics})
	for _, c := range []struct {
		path, body, want string
		most             float64
	}{
		{"/v1/functions/echo/invoke", `{"event": {"n": 1}}`, `{"output":1,`, 42},
		{"/2015-03-31/functions/echo/invocations", `{"n": 1}`, `1`, 30},
	} {
		t.Run(c.path, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			run := func() {
				w := httptest.NewRecorder()
				s.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", c.path, strings.NewReader(c.body)))
				if w.Code != http.StatusOK || !strings.HasPrefix(w.Body.String(), c.want) {
					t.Fatalf("%d %s", w.Code, w.Body)
				}
			}
			for range 10 { // what is learned is learned
				run()
			}
			each, where := instancetest.Allocations(t, 100, run)
			t.Logf("%.1f allocations", each)
			if each > c.most {
				t.Errorf("an invocation allocates %.1f times, at most %.0f are allowed:\n%s", each, c.most, where)
			}
		})
	}
}
