package functionurl_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
)

// TestStreamed: an answer of a URL in mode RESPONSE_STREAM is with the client as the function
// makes it; its head is what the function says, wherever the pieces end.
func TestStreamed(t *testing.T) {
	s := newSite(t)
	const integrationType, preludeEnd = "application/vnd.awslambda.http-integration-response", "\x00\x00\x00\x00\x00\x00\x00\x00"
	id := s.deploy(t, "echo", functions.AuthNone, &functions.CORS{Origins: []string{"*"}})
	if _, err := s.Attach("echo", dispatcher.Latest, "", func(a *functions.Attached) error {
		a.URL.Mode = functions.ModeStream
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var invoke func(ctx context.Context, r dispatcher.Request) *dispatcher.Result
	s.OnInvoke = func(ctx context.Context, r dispatcher.Request) (*dispatcher.Result, error) {
		result := invoke(ctx, r)
		result.RequestID = r.RequestID
		return result, nil
	}
	ask := func() *http.Response {
		t.Helper()
		r, err := http.NewRequest("GET", s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = id + ".lambda-url.localhost:9001"
		r.Header.Set("Origin", "https://a.example")
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { answer.Body.Close() })
		return answer
	}
	head := `{"statusCode": 201, "headers": {"Content-Type": "text/x", "X-Own": "1", "Connection": "no"}, "cookies": ["a=b"]}` + preludeEnd
	goOn := make(chan struct{})
	invoke = func(ctx context.Context, r dispatcher.Request) *dispatcher.Result {
		for _, piece := range []string{head[:7], head[7 : len(head)-3], head[len(head)-3:] + "one\n"} {
			r.Stream(integrationType, []byte(piece))
		}
		select {
		case <-goOn:
		case <-ctx.Done():
			t.Error("nobody has read what was streamed")
		}
		r.Stream(integrationType, []byte("two"))
		return &dispatcher.Result{}
	}
	answer := ask()
	body := bufio.NewReader(answer.Body)
	if line, err := body.ReadString('\n'); line != "one\n" || err != nil {
		t.Errorf("%q %v", line, err)
	}
	close(goOn)
	if rest, err := io.ReadAll(body); string(rest) != "two" || err != nil {
		t.Errorf("%q %v", rest, err)
	}
	h := answer.Header
	if answer.StatusCode != 201 || h.Get("Content-Type") != "text/x" || h.Get("X-Own") != "1" || h.Get("Set-Cookie") != "a=b" || h.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("%d %v", answer.StatusCode, h)
	}

	for name, c := range map[string]struct {
		kind   string
		pieces []string
		result dispatcher.Result
		status int
		want   string
	}{
		"plain":           {"text/y", []string{"a", "b"}, dispatcher.Result{}, 200, "ab"},
		"no type":         {"", []string{"\xff"}, dispatcher.Result{}, 200, "\xff"},
		"only a head":     {integrationType, []string{`{"statusCode": 404}` + preludeEnd}, dispatcher.Result{}, 404, ""},
		"no body":         {integrationType, []string{`{"statusCode": 204}` + preludeEnd, "x"}, dispatcher.Result{}, 204, ""},
		"no status":       {integrationType, []string{`{}` + preludeEnd + "x"}, dispatcher.Result{}, 200, "x"},
		"not streamed":    {"", nil, dispatcher.Result{Output: []byte(`{"statusCode": 202, "body": "whole"}`)}, 202, "whole"},
		"failed":          {"", nil, dispatcher.Result{Error: &dispatcher.FunctionError{Type: "a"}}, 502, ""},
		"half a head":     {integrationType, []string{`{"statusCode": 200}`}, dispatcher.Result{}, 502, ""},
		"no head":         {integrationType, []string{"hello" + preludeEnd}, dispatcher.Result{}, 502, ""},
		"a bad status":    {integrationType, []string{`{"statusCode": 99}` + preludeEnd}, dispatcher.Result{}, 502, ""},
		"an endless head": {integrationType, []string{strings.Repeat(" ", 1<<20), preludeEnd}, dispatcher.Result{}, 502, ""},
	} {
		invoke = func(_ context.Context, r dispatcher.Request) *dispatcher.Result {
			for _, p := range c.pieces {
				r.Stream(c.kind, []byte(p))
			}
			result := c.result
			return &result
		}
		answer := ask()
		got, err := io.ReadAll(answer.Body)
		if answer.StatusCode != c.status || err != nil || c.status != 502 && string(got) != c.want {
			t.Errorf("%s: %d %q, %v", name, answer.StatusCode, got, err)
		}
	}

	invoke = func(_ context.Context, r dispatcher.Request) *dispatcher.Result {
		r.Stream("text/plain", []byte("half"))
		return &dispatcher.Result{Error: &dispatcher.FunctionError{Type: "a"}}
	}
	answer = ask()
	if got, err := io.ReadAll(answer.Body); err == nil {
		t.Errorf("half of an answer looks whole: %q", got)
	}
}
