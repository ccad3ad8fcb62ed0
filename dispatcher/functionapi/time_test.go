package functionapi

import (
	"context"
	"strings"
	"testing"

	"seuss/dispatcher/chain"
	"seuss/dispatcher/state"
)

// TestNoTime: what may take no time at all is refused, and not taken for what may take as long
// as it likes.
func TestNoTime(t *testing.T) {
	chains := chain.New(chain.Options{Run: func(ctx context.Context, _ *chain.Call, _ func()) ([]byte, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}})
	defer chains.Close()
	store := state.New(state.Options{})
	defer store.Close()
	s := New(func() (*state.Session, error) {
		return store.Open(state.Who{Owner: "ada", Function: "f", Request: "r", Rights: state.Rights{"a": state.Write}})
	}, nil, func() (*chain.Caller, error) {
		return chains.Open(chain.Who{Owner: "ada", Function: "f", Link: chain.Link{Request: "r", Root: "r"}, Rights: chain.Rights{"*"}})
	})
	defer s.Close()
	g := connect(t, s)
	for _, path := range []string{"/v1/calls/g?timeout_ms=0", "/v1/calls/g?timeout_ms=00", "/v1/locks/a/k?lease_ms=0"} {
		g.sends(request("POST", path, ""))
		g.answers(`400 {"error":"Invalid","message":"` + path[strings.Index(path, "?")+1:strings.Index(path, "=")])
	}
	for _, text := range []string{"0", "00"} {
		g.sends(request("GET", "/v1/state/a/none?known=0&wait_ms="+text, ""))
		g.answers(`408 {"error":"Timeout"`)
	}
	for _, text := range []string{"0.5", "-1", "1e3", "900001"} {
		g.sends(request("POST", "/v1/calls/g?timeout_ms="+text, ""))
		g.answers(`400 {"error":"Invalid"`)
	}
	g.sends(request("POST", "/v1/calls/g?timeout_ms=1", ""))
	g.answers(`200 {"id"`)
}
