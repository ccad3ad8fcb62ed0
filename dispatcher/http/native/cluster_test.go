package native

import (
	"context"
	"strings"
	"testing"

	of "seuss/dispatcher/cluster"
	"seuss/dispatcher/cluster/members"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/http/servertest"
)

// fakeCluster is one member called a.
type fakeCluster struct{ cordoned bool }

func (c *fakeCluster) Members() of.View {
	return of.View{Name: "c", Self: "a", Members: []members.Member{{Beat: members.Beat{Member: "a", Life: 1, Cordoned: c.cordoned}, State: members.Here, Self: true}}}
}

func (c *fakeCluster) Cordoned() bool { return c.cordoned }

func (c *fakeCluster) Cordon(_ context.Context, member string, on bool) error {
	if member != "a" {
		return members.ErrUnknown
	}
	c.cordoned = on
	return nil
}

// TestCordonedIsNotReady: a member that is cordoned lives, and says that it is not ready; a
// daemon that is in no cluster says so.
func TestCordonedIsNotReady(t *testing.T) {
	c := &fakeCluster{}
	s := servertest.New(t).Server(t, func(o *servertest.Options) { o.Cluster = c })
	_, router := described(t, s)
	for _, on := range []string{"true", "false"} {
		if w := checked(t, s, router, "PUT", "/v1/cluster/members/a", `{"cordoned":`+on+`}`); w.Code != 204 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if w := checked(t, s, router, "GET", "/readyz", ""); (w.Code == 503) != c.cordoned || strings.Contains(w.Body.String(), `"cordoned"`) != c.cordoned {
			t.Errorf("cordoned %s: %d %s", on, w.Code, w.Body)
		}
	}
	metrics := func(s *server.Server) string { return checked(t, s, router, "GET", "/metrics", "").Body.String() }
	c.cordoned = true
	for _, want := range []string{`seuss_cluster_members{state="here"} 1`, `seuss_cluster_members{state="gone"} 0`, "seuss_cluster_cordoned 1", "seuss_cluster_routes 0"} {
		if !strings.Contains(metrics(s), want+"\n") {
			t.Errorf("/metrics has no %s", want)
		}
	}
	alone := servertest.New(t).Server(t, nil)
	for _, method := range []string{"GET /v1/cluster", "PUT /v1/cluster/members/a"} {
		verb, path, _ := strings.Cut(method, " ")
		if strings.Contains(metrics(alone), "seuss_cluster_") {
			t.Error("a daemon in no cluster has metrics of one")
		}
		if w := checked(t, alone, router, verb, path, "{}"); w.Code != 409 || !strings.Contains(w.Body.String(), "in no cluster") {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
}
