package native

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"seuss/dispatcher/access"
	"seuss/dispatcher/api"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/http/servertest"
)

const serviceToken = "the service's own token"

// house is a service with two owners and tokens of theirs.
type house struct {
	*servertest.Fake
	s       *server.Server
	h       http.Handler
	secrets map[string]string // by the token's name
}

func newHouse(t testing.TB, tokens ...access.Token) *house {
	t.Helper()
	return newHouseOf(t, servertest.New(t), func(*servertest.Options) {}, tokens...)
}

// newHouseOf is newHouse of a fake and a server that the test changes.
func newHouseOf(t testing.TB, f *servertest.Fake, change func(*servertest.Options), tokens ...access.Token) *house {
	t.Helper()
	a := &house{Fake: f, secrets: map[string]string{}}
	if err := access.Change(f.StateDir(), func(file *access.File) error {
		for _, tok := range tokens {
			a.secrets[tok.Name] = access.NewSecret()
			tok.Seal(a.secrets[tok.Name], false)
			file.Tokens = append(file.Tokens, tok)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	keys, err := access.Open(f.StateDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	a.s = f.Server(t, func(o *servertest.Options) {
		o.Keys = keys
		change(o)
	})
	a.h = a.s.Access(serviceToken, false)
	return a
}

func (a *house) ask(token, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		secret := a.secrets[token]
		if secret == "" {
			secret = token
		}
		r.Header.Set("Authorization", "Bearer "+secret)
	}
	w := httptest.NewRecorder()
	a.h.ServeHTTP(w, r)
	return w
}

// TestEveryRouteHasARight: what is described has one, and what is registered is
// described.
func TestEveryRouteHasARight(t *testing.T) {
	s := servertest.New(t).Server(t, nil)
	doc, _ := described(t, s)
	routes := s.Routes()
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if !slices.Contains(routes, method+" "+strings.Replace(path, "{path}", "{path...}", 1)) {
				t.Errorf("%s %s is described and has no right", method, path)
			}
		}
	}
	for _, pattern := range routes {
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.Replace(strings.TrimSuffix(path, "/{$}"), "{path...}", "{path}", 1)
		if item := doc.Paths.Value(path); pattern != "/" && (item == nil || item.Operations()[method] == nil) {
			t.Errorf("%s is served and not described", pattern)
		}
	}
}

// probes are the routes that need no token (TestHealth).
var probes = []string{"GET /healthz", "GET /readyz"}

// who are the tokens of the matrix, in the order of its columns.
var who = []access.Token{
	{Name: "invoke", Owner: "alice", Rights: []string{"invoke"}},
	{Name: "read", Owner: "alice", Rights: []string{"read"}},
	{Name: "deploy", Owner: "alice", Rights: []string{"deploy"}},
	{Name: "all", Owner: "alice", Rights: []string{"deploy", "invoke", "read"}},
	{Name: "reads-all", Owner: "ops", Rights: []string{"read"}, Functions: []string{"*/*"}},
	{Name: "admin", Owner: "ops", Rights: []string{"admin"}},
}

// matrix says who of them may do what; a point: not.
var matrix = map[string]string{
	"/":                                   "irdaRA",
	"GET /openapi.json":                   "irdaRA",
	"GET /metrics":                        "....RA",
	"GET /v1/health":                      "irdaRA",
	"GET /v1/endpoint":                    ".....A",
	"GET /v1/functions":                   ".r.aRA",
	"GET /v1/functions/{name}":            ".r.aRA",
	"PUT /v1/functions/{name}":            "..da.A",
	"PATCH /v1/functions/{name}":          "..da.A",
	"DELETE /v1/functions/{name}":         "..da.A",
	"GET /v1/functions/{name}/code":       ".r.aRA",
	"GET /v1/functions/{name}/imports":    ".r.aRA",
	"GET /v1/functions/{name}/start":      ".r.aRA",
	"POST /v1/functions/{name}/invoke":    "i..a.A",
	"POST /v1/functions/{name}/explain":   ".r.aRA",
	"POST /v1/functions/{name}/snapshots": "..da.A",
	"POST /v1/run":                        "...a.A",
	"POST /v1/images/{image}/base":        ".....A",
	"POST /v1/images/{image}/imports":     ".....A",
	"DELETE /v1/images/{image}":           ".....A",
	"GET /v1/snapshots":                   ".r.aRA",
	"GET /v1/snapshots/{id}":              ".r.aRA",
	"DELETE /v1/snapshots/{id}":           ".....A",
	"POST /v1/snapshots/{id}/form":        ".....A",
	"POST /v1/snapshots/{id}/flatten":     ".....A",
	"POST /v1/import":                     ".....A",
	"POST /v1/gc":                         ".....A",
	"POST /v1/marks":                      ".....A",
	"GET /v1/lineage":                     ".r.aRA",
	"GET /v1/pools":                       "....RA",
	"GET /v1/tiers":                       "....RA",
	"GET /v1/sockets":                     ".r.aRA",
	"POST /v1/instances":                  "...a.A",
	"GET /v1/instances":                   ".r.aRA",
	"GET /v1/instances/{name}":            ".r.aRA",
	"DELETE /v1/instances/{name}":         "..da.A",
	"POST /v1/instances/{name}/exec":      "...a.A",
	"POST /v1/instances/{name}/invoke":    "i..a.A",
	"POST /v1/instances/{name}/pause":     "i..a.A",
	"POST /v1/instances/{name}/resume":    "i..a.A",
	"POST /v1/instances/{name}/fork":      "...a.A",
	"POST /v1/instances/{name}/forward":   "...a.A",
	"POST /v1/instances/{name}/rollback":  "...a.A",
	"GET /v1/instances/{name}/diff":       "...a.A",
	"GET /v1/instances/{name}/files":      "...a.A",
	"PUT /v1/instances/{name}/files":      "...a.A",
	"GET /v1/instances/{name}/wait":       ".r.aRA",
	"GET /v1/instances/{name}/logs":       ".r.aRA",

	"POST /v1/instances/{name}/checkpoint": "...a.A",

	"GET /v1/invocations":             ".r.aRA",
	"DELETE /v1/invocations/{id}":     "..da.A",
	"POST /v1/refresh":                ".....A",
	"GET /v1/cluster":                 "....RA",
	"PUT /v1/cluster/members/{host}":  ".....A",
	"GET /v1/plans":                   ".r.aRA",
	"POST /v1/plans":                  "..da.A",
	"DELETE /v1/plans":                "..da.A",
	"GET /v1/images":                  "....RA",
	"GET /v1/snapshots/{id}/inspect":  "....RA",
	"GET /v1/snapshots/{id}/rebase":   "....RA",
	"GET /v1/usage":                   "....RA",
	"GET /v1/snapshots/{id}/diff":     ".....A",
	"GET /v1/snapshots/{id}/export":   ".....A",
	"POST /v1/verify":                 ".....A",
	"POST /v1/duplicates":             ".....A",
	"GET /v1/sandbox":                 ".....A",
	"GET /v1/functions/{name}/logs":   ".r.aRA",
	"GET /v1/functions/{name}/events": ".r.aRA",

	"GET /v1/state":              ".r.aRA",
	"GET /v1/state/stats":        ".r.aRA",
	"GET /v1/state/{path...}":    ".r.aRA",
	"PUT /v1/state/{path...}":    ".....A",
	"POST /v1/state/{path...}":   ".....A",
	"DELETE /v1/state/{path...}": ".....A",
	"POST /v1/push/{path...}":    ".....A",
	"DELETE /v1/push/{path...}":  ".....A",
	"POST /v1/pull/{path...}":    ".....A",

	"GET /v1/functions/{name}/http/{path...}":     "i..a.A",
	"POST /v1/functions/{name}/http/{path...}":    "i..a.A",
	"PUT /v1/functions/{name}/http/{path...}":     "i..a.A",
	"PATCH /v1/functions/{name}/http/{path...}":   "i..a.A",
	"DELETE /v1/functions/{name}/http/{path...}":  "i..a.A",
	"OPTIONS /v1/functions/{name}/http/{path...}": "i..a.A",

	"POST /2015-03-31/functions/{name}/invocations":       "i..a.A",
	"POST /2015-03-31/functions":                          "..da.A",
	"POST /2015-03-31/functions/{$}":                      "..da.A",
	"GET /2015-03-31/functions":                           ".r.aRA",
	"GET /2015-03-31/functions/{$}":                       ".r.aRA",
	"GET /2015-03-31/functions/{name}":                    ".r.aRA",
	"DELETE /2015-03-31/functions/{name}":                 "..da.A",
	"PUT /2015-03-31/functions/{name}/code":               "..da.A",
	"GET /2015-03-31/functions/{name}/configuration":      ".r.aRA",
	"PUT /2015-03-31/functions/{name}/configuration":      "..da.A",
	"POST /2015-03-31/functions/{name}/versions":          "..da.A",
	"GET /2015-03-31/functions/{name}/versions":           ".r.aRA",
	"POST /2015-03-31/functions/{name}/aliases":           "..da.A",
	"GET /2015-03-31/functions/{name}/aliases":            ".r.aRA",
	"GET /2015-03-31/functions/{name}/aliases/{alias}":    ".r.aRA",
	"PUT /2015-03-31/functions/{name}/aliases/{alias}":    "..da.A",
	"DELETE /2015-03-31/functions/{name}/aliases/{alias}": "..da.A",
	"PUT /2017-10-31/functions/{name}/concurrency":        "..da.A",
	"DELETE /2017-10-31/functions/{name}/concurrency":     "..da.A",
	"GET /2019-09-30/functions/{name}/concurrency":        ".r.aRA",

	"POST /2021-11-15/functions/{name}/response-streaming-invocations": "i..a.A",

	"POST /2021-10-31/functions/{name}/url":   "..da.A",
	"GET /2021-10-31/functions/{name}/url":    ".r.aRA",
	"PUT /2021-10-31/functions/{name}/url":    "..da.A",
	"DELETE /2021-10-31/functions/{name}/url": "..da.A",
	"GET /2021-10-31/functions/{name}/urls":   ".r.aRA",

	"GET /2018-10-31/layers":                                   ".r.aRA",
	"POST /2018-10-31/layers/{layer}/versions":                 "..da.A",
	"GET /2018-10-31/layers/{layer}/versions":                  ".r.aRA",
	"GET /2018-10-31/layers/{layer}/versions/{number}":         ".r.aRA",
	"DELETE /2018-10-31/layers/{layer}/versions/{number}":      "..da.A",
	"GET /2018-10-31/layers/{layer}/versions/{number}/content": ".r.aRA",

	"GET /2017-03-31/tags/{name}":                               ".r.aRA",
	"POST /2017-03-31/tags/{name}":                              "..da.A",
	"DELETE /2017-03-31/tags/{name}":                            "..da.A",
	"POST /2015-03-31/functions/{name}/policy":                  "..da.A",
	"GET /2015-03-31/functions/{name}/policy":                   ".r.aRA",
	"DELETE /2015-03-31/functions/{name}/policy/{statement}":    "..da.A",
	"GET /2016-08-19/account-settings":                          ".r.aRA",
	"GET /2016-08-19/account-settings/{$}":                      ".r.aRA",
	"GET /2020-06-30/functions/{name}/code-signing-config":      ".r.aRA",
	"PUT /2019-09-25/functions/{name}/event-invoke-config":      "..da.A",
	"POST /2019-09-25/functions/{name}/event-invoke-config":     "..da.A",
	"GET /2019-09-25/functions/{name}/event-invoke-config":      ".r.aRA",
	"DELETE /2019-09-25/functions/{name}/event-invoke-config":   "..da.A",
	"GET /2019-09-25/functions/{name}/event-invoke-config/list": ".r.aRA",
}

// endless are routes whose answers do not end.
var endless = []string{"GET /v1/watch", "GET /v1/watch/instances"}

// requestOf makes a request for a route, about a function.
func requestOf(pattern, name string) (method, path, body string) {
	method, path, _ = strings.Cut(pattern, " ")
	if pattern == "/" {
		method, path = "GET", "/nothing"
	}
	path = strings.NewReplacer("{name}", name, "{image}", "nothing", "{host}", "nobody", "{id}", "ffff", "{alias}", "live", "{statement}", "s", "{layer}", "fonts", "{number}", "1", "{path...}", "x/y", "{$}", "").Replace(path)
	switch {
	case strings.HasSuffix(path, "/run"):
		body = `{"function":{"name":"run","handler":"main.handler","files":{"main.py":"eA=="}},"invocation":{"event":{}}}`
	case strings.HasSuffix(path, "/invoke"):
		body = `{"event":{}}`
	case strings.HasSuffix(path, "/concurrency"):
		body = `{"ReservedConcurrentExecutions":1}`
	case strings.HasSuffix(path, "/aliases"):
		body = `{"Name":"live","FunctionVersion":"$LATEST"}`
	default:
		body = `{}`
	}
	return method, path, body
}

// TestRightsOfRoutes asks every route with every kind of token, with none and with a
// wrong one.
func TestRightsOfRoutes(t *testing.T) {
	a := newHouse(t, who...)
	routes := a.s.Routes()
	for _, pattern := range slices.Sorted(maps.Keys(matrix)) {
		if !slices.Contains(routes, pattern) {
			t.Errorf("%s is in the matrix and not served", pattern)
		}
	}
	for _, pattern := range routes {
		want, ok := matrix[pattern]
		if !ok {
			if !slices.Contains(endless, pattern) && !slices.Contains(probes, pattern) {
				t.Errorf("%s is served and not in the matrix", pattern)
			}
			continue
		}
		for i, column := range want {
			a.Put(t, "alice/hello") // what was removed is there again
			method, path, body := requestOf(pattern, "alice%2Fhello")
			w := a.ask(who[i].Name, method, path, body)
			if may := w.Code != http.StatusForbidden && w.Code != http.StatusUnauthorized; may != (column != '.') {
				t.Errorf("%s as %s: %d %.200s", pattern, who[i].Name, w.Code, w.Body)
			}
			if w.Code == http.StatusInternalServerError {
				t.Errorf("%s as %s: %d %.200s", pattern, who[i].Name, w.Code, w.Body)
			}
		}
		method, path, body := requestOf(pattern, "alice%2Fhello")
		for _, token := range []string{"", "nobody's", "Bearer", a.secrets["all"] + "x"} {
			if w := a.ask(token, method, path, body); w.Code != http.StatusForbidden && w.Code != http.StatusUnauthorized {
				t.Errorf("%s with the token %q: %d", pattern, token, w.Code)
			}
		}
		if w := a.ask(serviceToken, method, path, body); w.Code == http.StatusForbidden || w.Code == http.StatusUnauthorized {
			t.Errorf("%s with the service's own token: %d", pattern, w.Code)
		}
	}
}

// requestID differs from one answer to the next.
var requestID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)

// TestNothingOfOthers: a function of another owner is to all routes as if there were
// none.
func TestNothingOfOthers(t *testing.T) {
	a := newHouse(t, access.Token{Name: "bob", Owner: "bob", Rights: []string{"invoke", "read", "deploy"}},
		access.Token{Name: "few", Owner: "alice", Rights: []string{"invoke", "read", "deploy"}, Functions: []string{"few-*"}})
	a.Put(t, "alice/hello", "hello")
	account := access.AccountOf("alice")
	for _, pattern := range a.s.Routes() {
		if !strings.Contains(pattern, "{name}") {
			continue
		}
		for _, c := range []struct{ token, there, absent string }{
			{"bob", "alice%2Fhello", "alice%2Fother"},
			{"bob", "default%2Fhello", "default%2Fother"},
			{"few", "hello", "other"},
			{"bob", "arn:aws:lambda:us-east-1:" + account + ":function:hello", "arn:aws:lambda:us-east-1:" + account + ":function:other"},
			{"bob", "000000000000:function:hello", "000000000000:function:other"},
			{"bob", "arn:aws:lambda:us-east-1:999999999999:function:hello", "arn:aws:lambda:us-east-1:999999999999:function:other"},
		} {
			var answers []string
			for _, name := range []string{c.there, c.absent} {
				method, path, body := requestOf(pattern, name)
				w := a.ask(c.token, method, path, body)
				if w.Code != http.StatusNotFound {
					t.Errorf("%s as %s about %s: %d %.200s", pattern, c.token, name, w.Code, w.Body)
				}
				text := requestID.ReplaceAllString(fmt.Sprint(w.Code, w.Header(), w.Body), "ID")
				answers = append(answers, regexp.MustCompile(`hello|other`).ReplaceAllString(text, "NAME"))
			}
			if answers[0] != answers[1] {
				t.Errorf("%s as %s:\n%s\nof one that is not there:\n%s", pattern, c.token, answers[0], answers[1])
			}
		}
	}
	for _, key := range []string{"alice/hello", "hello"} {
		if _, err := a.Function(key); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// TestOwnersSeeTheirOwn: two owners have a function of one name each; each is shown his,
// by that name, and names his account in ARNs.
func TestOwnersSeeTheirOwn(t *testing.T) {
	rights := []string{"invoke", "read", "deploy"}
	a := newHouse(t, access.Token{Name: "alice", Owner: "alice", Rights: rights}, access.Token{Name: "bob", Owner: "bob", Rights: rights},
		access.Token{Name: "both", Owner: "carol", Rights: rights, Functions: []string{"alice/*", "*"}}, access.Token{Name: "ops", Owner: "default", Rights: []string{"admin"}})
	for _, owner := range []string{"alice", "bob"} {
		if w := a.ask(owner, "PUT", "/v1/functions/hello", `{"handler":"main.handler","files":{"main.py":"eA=="}}`); w.Code != http.StatusCreated {
			t.Fatal(w.Code, w.Body)
		}
		if a.Spec.Name != owner+"/hello" {
			t.Errorf("%s deployed %s", owner, a.Spec.Name)
		}
	}
	a.Put(t, "own", "carol/x")
	for token, want := range map[string]string{"alice": "hello", "bob": "hello", "both": "alice/hello,x", "ops": "alice/hello,bob/hello,carol/x,own"} {
		w := a.ask(token, "GET", "/v1/functions", "")
		var list []api.Function
		if err := api.Decode(w.Body.Bytes(), &list); err != nil {
			t.Fatal(err, w.Body)
		}
		var names []string
		for _, f := range list {
			names = append(names, f.Name)
		}
		slices.Sort(names)
		if got := strings.Join(names, ","); got != want {
			t.Errorf("%s sees %s, want %s", token, got, want)
		}
	}
	for _, owner := range []string{"alice", "bob"} {
		arn := "arn:aws:lambda:us-east-1:" + access.AccountOf(owner) + ":function:hello"
		for _, name := range []string{"hello", owner + "%2Fhello", arn, access.AccountOf(owner) + ":function:hello"} {
			w := a.ask(owner, "POST", "/2015-03-31/functions/"+name+"/invocations", `{}`)
			if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"arn":"`+arn+`"`) {
				t.Errorf("%s invokes %s: %d %s", owner, name, w.Code, w.Body)
			}
		}
		w := a.ask(owner, "GET", "/2015-03-31/functions", "")
		if strings.Count(w.Body.String(), `"FunctionName":"hello"`) != 1 || !strings.Contains(w.Body.String(), arn) {
			t.Errorf("%s lists %s", owner, w.Body)
		}
		if w := a.ask("ops", "GET", "/2015-03-31/functions/"+arn, ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), owner+"%2Fhello/code") {
			t.Errorf("an admin about %s: %d %s", arn, w.Code, w.Body)
		}
	}
	for _, c := range []struct {
		token, method, path string
		want                int
	}{
		{"alice", "DELETE", "/v1/functions/hello", 204}, {"alice", "GET", "/v1/functions/hello", 404}, {"bob", "GET", "/v1/functions/hello", 200},
		{"alice", "GET", "/v1/functions/bob%2Fhello", 404}, {"ops", "GET", "/v1/functions/bob%2Fhello", 200}, {"ops", "GET", "/v1/functions/hello", 404},
	} {
		if w := a.ask(c.token, c.method, c.path, ""); w.Code != c.want {
			t.Errorf("%s %s %s: %d, want %d: %s", c.token, c.method, c.path, w.Code, c.want, w.Body)
		}
	}
	if w := a.ask("alice", "GET", "/v1/health", ""); strings.Contains(w.Body.String(), a.StateDir()) {
		t.Errorf("an owner is told of the daemon: %s", w.Body)
	}
}
