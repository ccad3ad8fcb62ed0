package admission

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"seuss/dispatcher"
	"seuss/dispatcher/access"
	"seuss/dispatcher/chain"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/quota"
	"seuss/dispatcher/sched"
)

// calling has each invocation of a fake call the next one, as many as its event is long, in
// the way that instances do.
func calling(t *testing.T, o Options, slots int) (*Control, *fake) {
	f := &fake{limit: -1}
	o.Functions, o.Invocations = f, f
	o.Scheduler = sched.New(sched.Options{Slots: slots, Queue: 100, FunctionQueue: 100})
	c := New(o)
	chains := chain.New(chain.Options{Run: c.Chained, Host: functions.DefaultOwner})
	t.Cleanup(chains.Close)
	f.invoke = func(ctx context.Context, r dispatcher.Request) (*dispatcher.Result, error) {
		if r.Began != nil {
			r.Began()
		}
		link := chain.Link{Request: r.RequestID, Root: r.RequestID}
		if r.Link != nil {
			link = *r.Link
		}
		if len(r.Event) == 0 {
			list, _, _, err := c.List(Query{Wanted: func(string) bool { return true }, Most: 100})
			if err != nil {
				return nil, err
			}
			var below []string
			for _, u := range list {
				below = append(below, u.RequestID+"<"+u.Parent+"<"+u.Root)
			}
			return &dispatcher.Result{Output: []byte(strings.Join(below, " "))}, nil
		}
		self, err := chains.Open(chain.Who{Owner: functions.DefaultOwner, Function: "echo", Link: link, Rights: chain.Rights{"*"}, Context: r.Context})
		if err != nil {
			return nil, err
		}
		defer self.Close()
		id, err := self.Call("echo", r.Event[1:], chain.Ask{})
		if err != nil {
			return nil, err
		}
		out, err := self.Await(ctx, id)
		return &dispatcher.Result{Output: out}, err
	}
	return c, f
}

func (c *Control) chain(t *testing.T, n int) (string, error) {
	t.Helper()
	entry, err := c.Enter("echo")
	if err != nil {
		t.Fatal(err)
	}
	defer entry.End(t.Context())
	r, err := entry.Invoke(t.Context(), &dispatcher.Request{RequestID: "top", Event: make([]byte, n)})
	if err != nil {
		return "", err
	}
	return string(r.Output), nil
}

// TestChainedSpans: a chain is one trace, in which the span of what is called is below that of
// who has called it, and what is listed says who that is.
func TestChainedSpans(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("")
	c, _ := calling(t, Options{Tracer: tracer}, 8)
	ctx, client := tracer.Start(t.Context(), "client")
	entry, err := c.Enter("echo")
	if err != nil {
		t.Fatal(err)
	}
	r, err := entry.Invoke(ctx, &dispatcher.Request{RequestID: "top", Event: make([]byte, 3)})
	if err != nil {
		t.Fatal(err)
	}
	entry.End(ctx)
	client.End()
	var line []tracetest.SpanStub // of invocations, the last that was called first
	for _, s := range spans.GetSpans() {
		if s.SpanContext.TraceID() != client.SpanContext().TraceID() {
			t.Errorf("%s is in another trace", s.Name)
		}
		if s.Name == "invoke echo:7" {
			line = append(line, s)
		}
	}
	if len(line) != 4 {
		t.Fatalf("%d spans of invocations", len(line))
	}
	slices.SortFunc(line, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	above := client.SpanContext().SpanID()
	for i, s := range line {
		if s.Parent.SpanID() != above {
			t.Errorf("the %dth is below %v, want %v", i, s.Parent.SpanID(), above)
		}
		above = s.SpanContext.SpanID()
	}
	listed := strings.Fields(string(r.Output))
	if len(listed) != 4 || listed[0] != "top<<" {
		t.Fatalf("%q", listed)
	}
	for i, l := range listed[1:] {
		parent, _, _ := strings.Cut(listed[i], "<")
		if !strings.HasSuffix(l, "<"+parent+"<top") {
			t.Errorf("%q, below %q", l, listed[i])
		}
	}
}

// TestDeeperThanQuota: a chain that has all instances that its owner may have ends as a
// deadlock, at once: nobody in it ends before the next one has begun.
func TestDeeperThanQuota(t *testing.T) {
	limits := func(string) access.Quota { return access.Quota{Instances: 4} }
	c, _ := calling(t, Options{Quotas: quota.NewBook(limits)}, 8)
	if _, err := c.chain(t, 3); err != nil {
		t.Errorf("as deep as may be: %v", err)
	}
	if _, err := c.chain(t, 4); !errors.Is(err, chain.ErrDeadlock) || !strings.Contains(err.Error(), "4 invocations wait for this one") || !strings.Contains(err.Error(), "--instances") {
		t.Errorf("%v", err)
	}
}
