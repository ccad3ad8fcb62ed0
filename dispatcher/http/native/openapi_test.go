package native

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"seuss/dispatcher/bundle"
	_ "seuss/dispatcher/http/lambda"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/http/servertest"
	"seuss/dispatcher/logs"
)

// described loads the description that the server itself serves.
func described(t testing.TB, s *server.Server) (*openapi3.T, routers.Router) {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/openapi.json", nil))
	doc, err := openapi3.NewLoader().LoadFromData(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return doc, router
}

// escaped is a request as the router of the description is to see it, for which a slash in a
// parameter of the path ends it.
func escaped(r *http.Request) *http.Request {
	c := r.Clone(r.Context())
	c.URL.Path = r.URL.EscapedPath()
	return c
}

// checked sends a request and holds the answer against the description.
func checked(t testing.TB, s *server.Server, router routers.Router, method, path, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	answer := bytes.Clone(w.Body.Bytes())
	route, params, err := router.FindRoute(escaped(r))
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route,
			Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}},
		Status: w.Code, Header: w.Header(), Body: io.NopCloser(bytes.NewReader(answer)),
		Options: &openapi3filter.Options{IncludeResponseStatus: false},
	}
	if slices.Contains([]string{"application/zip", "application/x-tar", "application/x-ndjson"}, w.Header().Get("Content-Type")) {
		in.Options.ExcludeResponseBody = true
	}
	if err := openapi3filter.ValidateResponse(context.Background(), in); err != nil {
		t.Errorf("%s %s: %d does not match the description: %v\n%.2000s", method, path, w.Code, err, answer)
	}
	return w
}

// askState asks what is about state.
func askState(t *testing.T, ask func(want int, method, path, body string, header ...string)) {
	t.Helper()
	const key = "orders%2Fa%2F..%2F%C3%A4"
	ask(200, "PUT", "/v1/state/"+key, "\x00\xff")
	ask(200, "PUT", "/v1/state/"+key+"?offset=3", "x")
	ask(200, "POST", "/v1/state/"+key, "y")
	ask(412, "PUT", "/v1/state/"+key+"?version=0", "z")
	ask(400, "PUT", "/v1/state/nothing", "x")
	ask(413, "PUT", "/v1/state/"+key, strings.Repeat("x", 9<<20))
	ask(200, "GET", "/v1/state/"+key, "")
	ask(404, "GET", "/v1/state/orders%2Fb", "")
	ask(200, "GET", "/v1/state/"+key+"?known=0", "")
	ask(408, "GET", "/v1/state/orders%2Fb?known=0&wait_ms=1", "")
	ask(400, "GET", "/v1/state/"+key+"?offset=-1", "")
	ask(200, "GET", "/v1/state?prefix=orders/&limit=1&after=a", "")
	ask(200, "GET", "/v1/state", "")
	ask(400, "GET", "/v1/state?prefix=orders", "")
	ask(404, "DELETE", "/v1/push/"+key, "")
	ask(200, "POST", "/v1/push/"+key, "")
	ask(200, "GET", "/v1/state?pushed=", "")
	ask(200, "DELETE", "/v1/state/"+key, "")
	ask(200, "POST", "/v1/pull/"+key, "")
	ask(200, "GET", "/v1/state/stats", "")
	ask(200, "DELETE", "/v1/push/"+key, "")
}

// TestAnswersMatchTheDescription asks every operation, well and badly.
func TestAnswersMatchTheDescription(t *testing.T) {
	f := servertest.New(t)
	kept := logs.Open(logs.Options{Dir: t.TempDir()})
	t.Cleanup(func() { kept.Close(time.Minute) })
	s := f.Server(t, func(o *servertest.Options) { o.Logs, o.Cluster = kept, &fakeCluster{} })
	doc, router := described(t, s)
	f.Put(t, "echo")
	node := f.AddImage(t)
	asked := map[string]bool{}
	ask := func(want int, method, path, body string, header ...string) {
		t.Helper()
		w := checked(t, s, router, method, path, body, header...)
		if w.Code != want {
			t.Errorf("%s %s: %d, want %d: %.300s", method, path, w.Code, want, w.Body)
		}
		r := httptest.NewRequest(method, path, nil)
		if route, _, err := router.FindRoute(escaped(r)); err == nil {
			asked[method+" "+route.Path] = true
		}
	}
	const L = "/2015-03-31/functions"
	var content bytes.Buffer
	if err := bundle.WriteZip(&content, map[string][]byte{"main.py": []byte("x = 1")}); err != nil {
		t.Fatal(err)
	}
	zip, err := json.Marshal(content.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	file := `"files":{"main.py":"eA=="}`
	ask(200, "GET", "/v1/health", "")
	ask(200, "GET", "/v1/endpoint", "")
	ask(200, "GET", "/openapi.json", "")
	ask(200, "GET", "/healthz", "")
	ask(200, "GET", "/readyz", "")
	ask(200, "GET", "/metrics", "")
	ask(201, "PUT", "/v1/functions/made", `{"handler":"main.handler",`+file+`,"warm_up":[{"a":1}],"settings":{"timeout_s":4}}`)
	ask(400, "PUT", "/v1/functions/made", `{"handler":"main.handler","surprise":1}`)
	ask(400, "PUT", "/v1/functions/a.b", `{}`)
	ask(200, "GET", "/v1/functions", "")
	ask(200, "GET", "/v1/functions/echo", "")
	ask(404, "GET", "/v1/functions/nobody", "")
	ask(200, "PATCH", "/v1/functions/echo", `{"timeout_s":5,"network":[],"host_ports":[],"memory_mib":128,"output_bytes":1000,"concurrency":3}`)
	ask(200, "PATCH", "/v1/functions/echo", `{"timeout_s":null,"network":null,"host_ports":null,"memory_mib":null,"output_bytes":null,"concurrency":null}`)
	ask(403, "PATCH", "/v1/functions/echo", `{"network":["example.com:443"],"host_ports":[7000]}`)
	ask(400, "PATCH", "/v1/functions/echo", `{"network":["example.com"]}`)
	ask(400, "PATCH", "/v1/functions/echo", `{"surprise":1}`)
	ask(404, "PATCH", "/v1/functions/nobody", `{}`)
	ask(200, "GET", "/v1/functions/echo/code", "")
	ask(404, "GET", "/v1/functions/echo/imports", "") // its driver is none that tells
	ask(200, "GET", "/v1/functions/echo/start", "")
	ask(200, "POST", "/v1/functions/echo/invoke", `{"event":{"a":1},"explain":true,"timeout_ms":1000}`)
	ask(404, "POST", "/v1/functions/nobody/invoke", `{"event":{}}`)
	ask(400, "POST", "/v1/functions/echo/invoke", `{"event":`)
	for _, odd := range []string{`"from":"deep"`, `"timeout_ms":-1`, `"timeout_ms":86400001`, `"timeout_ms":9223372036854775807`, `"timeout_ms":18446744073709`} {
		ask(400, "POST", "/v1/functions/echo/invoke", `{"event":{},`+odd+`}`)
		ask(400, "POST", "/v1/run", `{"function":{"name":"run","handler":"main.handler",`+file+`},"invocation":{"event":{},`+odd+`}}`)
	}
	ask(200, "POST", "/v1/functions/echo/explain", `{}`)
	kept.Add(logs.Key{Function: "echo", ID: "id-of-echo"}, logs.Entry{Time: time.Now(), Kind: logs.Invocation, RequestID: "r", Version: "1",
		Lines: []logs.Line{{Stream: "stdout", Text: "x"}}, Cut: true, Error: &logs.Error{Type: "E", Message: "m", Trace: []string{"l"}}, Note: "n", Dropped: 1})
	for kept.Stats().Written == 0 {
		time.Sleep(time.Millisecond)
	}
	ask(200, "GET", "/v1/functions/echo/logs?since=2026-01-02T03:04:05Z&request=r&limit=1&after=1", "")
	ask(400, "GET", "/v1/functions/echo/logs?since=yesterday", "")
	ask(400, "GET", "/v1/functions/echo/logs?limit=0", "")
	ask(400, "GET", "/v1/functions/echo/logs?after=x", "")
	ask(404, "GET", "/v1/functions/nobody/logs", "")
	ask(200, "GET", "/v1/functions/echo/events", "")
	ask(404, "GET", "/v1/functions/nobody/events", "")
	ask(201, "POST", "/v1/functions/echo/snapshots", `{"event":{},"stop_at":"k"}`)
	ask(200, "POST", "/v1/run", `{"function":{"name":"run","handler":"main.handler",`+file+`},"invocation":{"event":{}}}`)
	ask(201, "POST", "/v1/images/python/base?runtime=python3.11", ``)
	ask(201, "POST", "/v1/images/python/imports", `{"modules":["json"]}`)
	ask(200, "GET", "/v1/snapshots", "")
	ask(200, "GET", "/v1/snapshots/"+node[:10], "")
	ask(404, "GET", "/v1/snapshots/ffffffff", "")
	ask(200, "GET", "/v1/images", "")
	ask(200, "GET", "/v1/snapshots/"+node[:10]+"/inspect", "")
	ask(404, "GET", "/v1/snapshots/ffffffff/inspect", "")
	ask(400, "GET", "/v1/snapshots/"+node+"/diff", "") // it has no parent
	ask(400, "GET", "/v1/snapshots/"+node+"/diff?symbols=-1", "")
	ask(404, "GET", "/v1/snapshots/"+node+"/rebase?onto=ffffffff", "")
	ask(200, "GET", "/v1/snapshots/"+node+"/export", "")
	ask(404, "GET", "/v1/snapshots/ffffffff/export", "")
	ask(200, "GET", "/v1/usage", "")
	ask(200, "POST", "/v1/verify", `{}`)
	ask(400, "POST", "/v1/verify", `{"snapshots":1}`)
	ask(200, "POST", "/v1/duplicates", "")
	ask(200, "GET", "/v1/lineage", "")
	ask(200, "GET", "/v1/pools", "")
	ask(200, "GET", "/v1/tiers", "")
	ask(200, "GET", "/v1/sockets", "")
	ask(201, "POST", "/v1/instances", `{"name":"live","function":"echo","ttl_ms":3600000,"idle_ttl_ms":1000000}`)
	ask(409, "POST", "/v1/instances", `{"name":"live","image":"python"}`)
	ask(400, "POST", "/v1/instances", `{"image":"python","function":"echo"}`)
	ask(400, "POST", "/v1/instances", `{"image":"python","durable":true}`) // the fake keeps nothing
	ask(200, "GET", "/v1/instances", "")
	ask(200, "GET", "/v1/instances/live", "")
	ask(404, "GET", "/v1/instances/nobody", "")
	ask(200, "POST", "/v1/instances/live/exec", `{"code":"x"}`)
	ask(200, "POST", "/v1/instances/live/exec", `{"code":"fail"}`)
	ask(400, "POST", "/v1/instances/live/exec", `{"event":1}`)
	ask(200, "POST", "/v1/instances/live/invoke", `{"event":{"a":1}}`)
	ask(400, "POST", "/v1/instances/live/invoke", `{"code":"x"}`)
	ask(200, "POST", "/v1/instances/live/pause", "")
	ask(200, "POST", "/v1/instances/live/resume", "")
	ask(400, "POST", "/v1/instances/live/forward?port=80", "") // no upgrade; what comes of one is seen in TestForward
	ask(201, "POST", "/v1/instances/live/fork", `{"count":2,"names":["copy"]}`)
	ask(400, "POST", "/v1/instances/live/fork", `{"count":-1}`)
	ask(201, "POST", "/v1/instances/live/checkpoint", `{"tag":"point"}`)
	ask(200, "POST", "/v1/instances/live/rollback", `{"node":"point"}`)
	ask(404, "POST", "/v1/instances/live/rollback", `{"node":"nothing"}`)
	ask(204, "POST", "/v1/marks", `{"action":"untag","tag":"point"}`)
	ask(400, "GET", "/v1/instances/live/diff", "")
	ask(400, "GET", "/v1/instances/live/diff?symbols=x", "")
	ask(404, "GET", "/v1/instances/live/diff?with=nothing", "")
	ask(204, "PUT", "/v1/instances/live/files?path=/", tarOf(t, "notes"))
	ask(400, "PUT", "/v1/instances/live/files?path=notes", tarOf(t, "notes"))
	ask(200, "GET", "/v1/instances/live/files?path=/notes", "")
	ask(400, "GET", "/v1/instances/live/files?path=/nothing", "")
	ask(200, "GET", "/v1/instances/live/wait?state=parked", "")
	ask(400, "GET", "/v1/instances/live/wait?state=asleep", "")
	ask(200, "GET", "/v1/instances/live/logs", "")
	ask(204, "DELETE", "/v1/instances/live", "")
	ask(404, "DELETE", "/v1/instances/live", "")
	ask(200, "GET", "/v1/invocations?limit=10", "")
	ask(400, "GET", "/v1/invocations?limit=0", "")
	ask(400, "GET", "/v1/invocations?limit=x", "")
	ask(400, "GET", "/v1/invocations?after=x", "")
	ask(404, "DELETE", "/v1/invocations/none", "")
	ask(200, "GET", "/v1/sandbox", "")
	ask(200, "GET", "/v1/cluster", "")
	ask(204, "PUT", "/v1/cluster/members/a", `{"cordoned":true}`)
	ask(404, "PUT", "/v1/cluster/members/nobody", `{"cordoned":true}`)
	ask(400, "PUT", "/v1/cluster/members/a", `{"surprise":1}`)
	ask(204, "POST", "/v1/refresh", "")
	ask(202, "POST", "/v1/plans", `{"shared":true,"tree":{"packages":[],"direct":[],"split_generation":0,"count":1,"children":[{"packages":["numpy==1"],"direct":["numpy==1"],"split_generation":1,"count":1,"children":[]}]}}`)
	ask(400, "POST", "/v1/plans", `{"shared":true}`)
	ask(200, "GET", "/v1/plans", "")
	ask(204, "DELETE", "/v1/plans?shared=true", "")
	ask(404, "DELETE", "/v1/plans?image=nothing", "")
	askState(t, ask)
	ask(204, "POST", "/v1/marks", `{"action":"tag","node":"`+node[:10]+`","tag":"root@v1"}`)
	ask(204, "POST", "/v1/marks", `{"action":"untag","tag":"root@v1"}`)
	ask(204, "POST", "/v1/marks", `{"action":"pin","node":"`+node+`","at":"2100-01-02T03:04:05Z"}`)
	ask(204, "POST", "/v1/marks", `{"action":"unpin","node":"`+node+`"}`)
	ask(404, "POST", "/v1/marks", `{"action":"expire","node":"ffffffff"}`)
	ask(400, "POST", "/v1/marks", `{"action":"burn","node":"`+node+`"}`)
	ask(200, "POST", "/v1/gc", `{"budget_bytes":1,"dry_run":true}`)
	ask(400, "POST", "/v1/gc", `{"unused_ms":-1}`)
	ask(404, "POST", "/v1/snapshots/ffffffff/form", `{"form":"pages"}`)
	ask(400, "POST", "/v1/snapshots/"+node+"/form", `{"form":"zip"}`)
	ask(404, "POST", "/v1/snapshots/ffffffff/flatten", `{}`)

	ask(200, "POST", "/v1/import?tag=two@v1", f.Archive(t))
	ask(400, "POST", "/v1/import?tag=0", f.Archive(t))
	ask(400, "POST", "/v1/import", "no archive")
	ask(204, "POST", "/v1/marks", `{"action":"untag","tag":"two@v1"}`)
	create := `{"FunctionName":"lam","Runtime":"python3.11","Handler":"main.handler","Role":"r","Publish":true,"Environment":{"Variables":{"A1":"b"}},"Code":{"ZipFile":` + string(zip) + `}}`
	ask(201, "POST", L, create)
	ask(409, "POST", L, create)
	ask(400, "POST", L, `{"FunctionName":`)
	ask(200, "GET", L, "")
	ask(200, "GET", L+"?FunctionVersion=ALL&MaxItems=1", "")
	ask(400, "GET", L+"?MaxItems=0", "")
	ask(200, "GET", L+"/lam", "")
	ask(404, "GET", L+"/nobody", "")
	ask(200, "GET", L+"/lam/configuration", "")
	ask(200, "PUT", L+"/lam/configuration", `{"Timeout":5}`)
	ask(200, "PUT", L+"/lam/code", `{"ZipFile":`+string(zip)+`}`)
	ask(201, "POST", L+"/lam/versions", `{}`)
	ask(200, "GET", L+"/lam/versions", "")
	ask(201, "POST", L+"/lam/aliases", `{"Name":"live","FunctionVersion":"1"}`)
	ask(200, "GET", L+"/lam/aliases", "")
	ask(200, "GET", L+"/lam/aliases/live", "")
	ask(404, "GET", L+"/lam/aliases/dead", "")
	ask(200, "PUT", L+"/lam/aliases/live", `{"FunctionVersion":"$LATEST","RoutingConfig":{"AdditionalVersionWeights":{"1":0.1}}}`)
	ask(204, "DELETE", L+"/lam/aliases/live", "")
	const T, C = "/2017-03-31/tags/arn:aws:lambda:us-east-1:000000000000:function:lam", "/2019-09-25/functions/lam/event-invoke-config"
	const Y = "/2018-10-31/layers"
	ask(201, "POST", Y+"/fonts/versions", `{"Content":{"ZipFile":`+string(zip)+`},"CompatibleRuntimes":["python3.11"]}`)
	ask(400, "POST", Y+"/fonts/versions", `{"Content":{"ZipFile":"eA=="}}`)
	ask(400, "POST", Y+"/fonts.x/versions", `{}`)
	ask(200, "GET", Y, "")
	ask(200, "GET", Y+"?find=LayerVersion&Arn=arn:aws:lambda:us-east-1:000000000000:layer:fonts:1", "")
	ask(404, "GET", Y+"?find=LayerVersion&Arn=arn:aws:lambda:us-east-1:000000000000:layer:fonts:2", "")
	ask(200, "GET", Y+"/fonts/versions?CompatibleRuntime=python3.11", "")
	ask(200, "GET", Y+"/fonts/versions/1", "")
	ask(200, "GET", Y+"/fonts/versions/1/content", "")
	ask(200, "PUT", L+"/lam/configuration", `{"Layers":["arn:aws:lambda:us-east-1:000000000000:layer:fonts:1"]}`)
	ask(200, "GET", L+"/lam/configuration", "")
	ask(204, "DELETE", Y+"/fonts/versions/1", "")
	ask(404, "GET", Y+"/fonts/versions/1", "")
	ask(204, "POST", T, `{"Tags":{"team":"a"}}`)
	ask(400, "POST", T, `{"Tags":{}}`)
	ask(200, "GET", T, "")
	ask(204, "DELETE", T+"?tagKeys=team", "")
	ask(404, "GET", L+"/lam/policy", "")
	ask(201, "POST", L+"/lam/policy", `{"StatementId":"url","Action":"lambda:InvokeFunctionUrl","Principal":"*","FunctionUrlAuthType":"NONE"}`)
	ask(409, "POST", L+"/lam/policy", `{"StatementId":"url","Action":"lambda:InvokeFunctionUrl","Principal":"*","FunctionUrlAuthType":"NONE"}`)
	ask(400, "POST", L+"/lam/policy", `{"StatementId":"s3","Action":"lambda:InvokeFunction","Principal":"s3.amazonaws.com"}`)
	ask(200, "GET", L+"/lam/policy", "")
	ask(204, "DELETE", L+"/lam/policy/url", "")
	ask(404, "DELETE", L+"/lam/policy/url", "")
	ask(200, "GET", "/2016-08-19/account-settings", "")
	ask(200, "GET", "/2020-06-30/functions/lam/code-signing-config", "")
	ask(404, "GET", C, "")
	ask(404, "POST", C, `{"MaximumRetryAttempts":1}`)
	ask(200, "PUT", C, `{"MaximumRetryAttempts":1,"MaximumEventAgeInSeconds":60,"DestinationConfig":{"OnFailure":{"Destination":"arn:aws:lambda:us-east-1:000000000000:function:echo"}}}`)
	ask(200, "POST", C, `{"MaximumRetryAttempts":0}`)
	ask(400, "PUT", C, `{"DestinationConfig":{"OnFailure":{"Destination":"arn:aws:sqs:us-east-1:000000000000:queue"}}}`)
	ask(200, "GET", C, "")
	ask(200, "GET", C+"/list", "")
	const U = "/2021-10-31/functions/lam/url"
	ask(404, "GET", U, "")
	ask(404, "PUT", U, `{"AuthType":"NONE"}`)
	ask(400, "POST", U, `{"AuthType":"SOME"}`)
	ask(201, "POST", U, `{"AuthType":"NONE","Cors":{"AllowOrigins":["*"],"AllowMethods":["GET"],"MaxAge":10}}`)
	ask(409, "POST", U, `{"AuthType":"NONE"}`)
	ask(200, "PUT", U, `{"AuthType":"AWS_IAM"}`)
	ask(200, "GET", U, "")
	ask(200, "GET", U+"s", "")
	ask(200, "GET", "/v1/functions/lam", "") // with what hangs on it
	ask(204, "DELETE", U, "")
	ask(204, "DELETE", C, "")
	ask(200, "POST", L+"/lam/invocations", `{}`, "X-Amz-Log-Type", "Tail")
	ask(200, "POST", L+"/lam/invocations", `{"fail":"x"}`)
	ask(200, "POST", "/2021-11-15/functions/lam/response-streaming-invocations", `{}`)
	ask(202, "POST", L+"/lam/invocations", `{}`, "X-Amz-Invocation-Type", "Event")
	for s.Events.Len() > 0 { // or it runs into the limit of 0 below
		time.Sleep(time.Millisecond)
	}
	ask(204, "POST", L+"/lam/invocations", `{}`, "X-Amz-Invocation-Type", "DryRun")
	ask(400, "POST", L+"/lam/invocations", `{}`, "X-Amz-Invocation-Type", "Maybe")
	ask(200, "PUT", "/2017-10-31/functions/lam/concurrency", `{"ReservedConcurrentExecutions":0}`)
	ask(429, "POST", L+"/lam/invocations", `{}`)
	ask(429, "POST", "/v1/functions/lam/invoke", `{"event":{}}`)
	ask(200, "GET", "/2019-09-30/functions/lam/concurrency", "")
	ask(204, "DELETE", "/2017-10-31/functions/lam/concurrency", "")
	ask(204, "DELETE", L+"/lam", "")
	ask(404, "DELETE", L+"/lam", "")
	ask(204, "DELETE", "/v1/functions/echo", "")
	ask(204, "DELETE", "/v1/snapshots/"+node, "")
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		ask(404, method, "/v1/functions/nothing/http/a", "")
	}
	f.AddImage(t)
	ask(200, "DELETE", "/v1/images/python?cascade=true", "")

	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if !asked[method+" "+path] && !strings.HasPrefix(path, "/v1/watch") {
				t.Errorf("%s %s is described and was not asked", method, path)
			}
		}
	}
}

// TestEveryRouteIsDescribed: the mux knows nothing that the description does not.
func TestEveryRouteIsDescribed(t *testing.T) {
	s := servertest.New(t).Server(t, nil)
	doc, _ := described(t, s)
	for _, name := range []string{"../server/server.go", "native.go", "../lambda/lambda.go"} {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(string(source), "\n") {
			_, rest, ok := strings.Cut(line, `"`)
			pattern, _, ok2 := strings.Cut(rest, `"`)
			method, path, ok3 := strings.Cut(pattern, " ")
			if !ok || !ok2 || !ok3 || !strings.HasPrefix(path, "/") || !slices.Contains([]string{"GET", "PUT", "POST", "PATCH", "DELETE"}, method) || strings.HasSuffix(path, "{$}") {
				continue
			}
			item := doc.Paths.Value(strings.Replace(path, "{path...}", "{path}", 1))
			if item == nil || item.Operations()[method] == nil {
				t.Errorf("%s: %s is not described", name, pattern)
			}
		}
	}
}

// TestUnknownPaths: what no route takes gets an error that clients understand.
func TestUnknownPaths(t *testing.T) {
	s := servertest.New(t).Server(t, nil)
	for _, path := range []string{"/", "/2015-03-31/event-source-mappings/", "/2015-03-31/functions/../../etc/passwd", "/v2", "/v1/functions/a/b/c"} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != http.StatusNotFound && w.Code != http.StatusMovedPermanently && w.Code != http.StatusTemporaryRedirect {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// tarOf is an archive of an empty file.
func tarOf(t *testing.T, name string) string {
	var b strings.Builder
	w := tar.NewWriter(&b)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: name, Mode: 0o644}), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
