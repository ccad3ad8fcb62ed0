package functionurl_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"seuss/dispatcher"
	"seuss/dispatcher/access"
	"seuss/dispatcher/functions"
	_ "seuss/dispatcher/http/functionurl"
	_ "seuss/dispatcher/http/lambda"
	_ "seuss/dispatcher/http/native"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/http/servertest"
)

const serviceToken = "sesame-sesame-sesame"

// site is a service that asks for a token, with functions that have URLs.
type site struct {
	*servertest.Fake
	*httptest.Server
	mu      sync.Mutex
	events  []event // that a function was invoked with
	answers string  // what it returns; "": the event
	fails   bool
	secrets map[string]string
}

// event is what tests look at of one.
type event struct {
	Version, RawPath, RawQueryString string
	Cookies                          []string
	Headers, QueryStringParameters   map[string]string
	RequestContext                   struct {
		AccountID, APIID, DomainName, DomainPrefix, RequestID, Time string
		TimeEpoch                                                   int64
		Authorizer                                                  *struct {
			IAM struct{ AccessKey, AccountID string }
		}
		HTTP struct{ Method, Path, Protocol, SourceIP, UserAgent string }
	}
	Body            *string
	IsBase64Encoded bool
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{Fake: servertest.New(t), secrets: map[string]string{}}
	if err := access.Change(s.StateDir(), func(file *access.File) error {
		for _, tok := range []access.Token{{Name: "caller", Owner: "alice", Rights: []string{"invoke"}}, {Name: "reader", Owner: "alice", Rights: []string{"read"}}, {Name: "stranger", Owner: "bob", Rights: []string{"invoke"}}} {
			s.secrets[tok.Name] = access.NewSecret()
			tok.Seal(s.secrets[tok.Name], true)
			file.Tokens = append(file.Tokens, tok)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	keys, err := access.Open(s.StateDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	s.OnInvoke = func(_ context.Context, r dispatcher.Request) (*dispatcher.Result, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		var e event
		if err := json.Unmarshal(r.Event, &e); err != nil {
			t.Errorf("an event that is none: %v", err)
		}
		s.events = append(s.events, e)
		result := &dispatcher.Result{RequestID: r.RequestID, Output: []byte(s.answers)}
		if s.answers == "" {
			result.Output = r.Event
		}
		if s.fails {
			result.Output, result.Error = nil, &dispatcher.FunctionError{Type: "ValueError", Message: "a secret of the function's"}
		}
		return result, nil
	}
	on := s.Fake.Server(t, func(o *servertest.Options) { o.Keys = keys })
	h := server.NewHTTPServer(on.Access(serviceToken, false))
	s.Server = httptest.NewUnstartedServer(h.Handler)
	s.Server.Config = h
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// deploy makes a function with a URL, and returns the URL's id.
func (s *site) deploy(t *testing.T, key, auth string, cors *functions.CORS) (id string) {
	t.Helper()
	s.Put(t, key)
	id = functions.NewURLID()
	if _, err := s.Attach(key, dispatcher.Latest, "", func(a *functions.Attached) error {
		a.URL = &functions.URL{ID: id, Auth: auth, CORS: cors, Created: time.Now(), Changed: time.Now()}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return id
}

// ask sends a request to a function's URL.
func (s *site) ask(t *testing.T, id, method, path, body string, header map[string]string, sign func(*http.Request)) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = id + ".lambda-url.localhost:9001"
	for name, value := range header {
		r.Header.Set(name, value)
	}
	if sign != nil {
		sign(r)
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(b)
}

// TestEvent: a request becomes an event of payload format 2.0.
func TestEvent(t *testing.T) {
	s := newSite(t)
	id := s.deploy(t, "hello", functions.AuthNone, nil)
	answer, body := s.ask(t, id, "POST", "/a%2Fb//../c%20d?x=1&x=2&y=%C3%BC&z", `{"n":1}`, map[string]string{
		"Content-Type": "application/json", "Cookie": "a=1; b=2", "X-Custom": "<&>", "User-Agent": "test/1", "X-Forwarded-For": "1.2.3.4", "Connection": "keep-alive", "Authorization": "Bearer mine",
	}, nil)
	if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "application/json" || answer.Header.Get("X-Amzn-Requestid") == "" {
		t.Fatal(answer, body)
	}
	e := s.events[0]
	c := e.RequestContext
	if e.Version != "2.0" || e.RawPath != "/a%2Fb//../c%20d" || e.RawQueryString != "x=1&x=2&y=%C3%BC&z" || !slices.Equal(e.Cookies, []string{"a=1", "b=2"}) || *e.Body != `{"n":1}` || e.IsBase64Encoded {
		t.Errorf("%+v", e)
	}
	if fmt.Sprint(e.QueryStringParameters) != fmt.Sprint(map[string]string{"x": "1,2", "y": "ü", "z": ""}) {
		t.Error(e.QueryStringParameters)
	}
	if e.Headers["x-custom"] != "<&>" || e.Headers["cookie"] != "" || e.Headers["host"] != id+".lambda-url.localhost:9001" || e.Headers["x-forwarded-for"] != "1.2.3.4, 127.0.0.1" || e.Headers["authorization"] != "Bearer mine" || e.Headers["connection"] != "" {
		t.Error(e.Headers)
	}
	if c.AccountID != "anonymous" || c.APIID != id || c.DomainPrefix != id || c.DomainName != id+".lambda-url.localhost" || c.Authorizer != nil || c.HTTP.Method != "POST" || c.HTTP.Path != e.RawPath ||
		c.HTTP.Protocol != "HTTP/1.1" || c.HTTP.SourceIP != "127.0.0.1" || c.HTTP.UserAgent != "test/1" || c.RequestID != answer.Header.Get("X-Amzn-Requestid") || c.TimeEpoch == 0 || !strings.HasSuffix(c.Time, " +0000") {
		t.Errorf("%+v", c)
	}
	for _, b := range []struct {
		kind, body string
		encoded    bool
	}{{"image/png", "\x89PNG", true}, {"application/json", "\xff", true}, {"text/plain; charset=utf-8", "ü", false}, {"application/problem+json", "{}", false}, {"application/x-www-form-urlencoded", "a=b", true}, {"", "x", false}} {
		s.ask(t, id, "PUT", "/", b.body, map[string]string{"Content-Type": b.kind}, nil)
		e := s.events[len(s.events)-1]
		got := *e.Body
		if e.IsBase64Encoded {
			raw, err := base64.StdEncoding.DecodeString(got)
			if got = string(raw); err != nil {
				t.Error(err)
			}
		}
		if e.IsBase64Encoded != b.encoded || got != b.body {
			t.Errorf("%s %q: %q, encoded: %v", b.kind, b.body, *e.Body, e.IsBase64Encoded)
		}
	}
	if _, _ = s.ask(t, id, "GET", "/healthz", "", nil, nil); s.events[len(s.events)-1].RawPath != "/healthz" || s.events[len(s.events)-1].Body != nil {
		t.Error("a path of the service's own is not the function's")
	}
}

// TestAnswers: what a function returns becomes an answer as Lambda infers it.
func TestAnswers(t *testing.T) {
	s := newSite(t)
	id := s.deploy(t, "hello", functions.AuthNone, nil)
	for _, c := range []struct {
		returns string
		status  int
		kind    string
		body    string
	}{
		{`"Hello, world!"`, 200, "application/json", "Hello, world!"},
		{`{"message":"hi"}`, 200, "application/json", `{"message":"hi"}`},
		{`[1,2]`, 200, "application/json", `[1,2]`},
		{`null`, 200, "application/json", `null`},
		{`{"statusCode":201,"headers":{"Content-Type":"text/html","X-N":7},"body":"<p>"}`, 201, "text/html", "<p>"},
		{`{"statusCode":"404","body":{"a":1}}`, 404, "application/json", `{"a":1}`},
		{`{"statusCode":200,"body":"iVBORw==","isBase64Encoded":true,"headers":{"content-type":"image/png"}}`, 200, "image/png", "\x89PNG"},
		{`{"statusCode":204}`, 204, "application/json", ""},
		{`{"statusCode":302,"headers":{"Location":"/x"},"cookies":["a=1; Path=/","b=2"]}`, 302, "application/json", ""},
		{`{"statusCode":200,"headers":{"Content-Length":"999","Transfer-Encoding":"chunked","Connection":"close"},"body":"short"}`, 200, "application/json", "short"},
		{`{"statusCode":99}`, 502, "application/json", ""},
		{`{"statusCode":101}`, 502, "application/json", ""},
		{`{"statusCode":600}`, 502, "application/json", ""},
		{`{"statusCode":200,"headers":{"X-A":"b\r\nSet-Cookie: c=d"}}`, 502, "application/json", ""},
		{`{"statusCode":200,"headers":{"X A":"b"}}`, 502, "application/json", ""},
		{`{"statusCode":200,"headers":{"":"b"}}`, 502, "application/json", ""},
		{`{"statusCode":200,"cookies":["a=1\nb"]}`, 502, "application/json", ""},
		{`{"statusCode":200,"body":"%%%","isBase64Encoded":true}`, 502, "application/json", ""},
		{`{"statusCode":200,"headers":[1]}`, 502, "application/json", ""},
	} {
		s.answers = c.returns
		answer, body := s.ask(t, id, "GET", "/", "", nil, nil)
		if answer.StatusCode != c.status || answer.Header.Get("Content-Type") != c.kind || c.status != 502 && body != c.body || c.status == 502 && !strings.Contains(body, "Internal Server Error") {
			t.Errorf("%s: %d %s %q", c.returns, answer.StatusCode, answer.Header.Get("Content-Type"), body)
		}
		if strings.Contains(c.returns, "cookies") && c.status == 302 && !slices.Equal(answer.Header.Values("Set-Cookie"), []string{"a=1; Path=/", "b=2"}) {
			t.Error(answer.Header)
		}
	}
	s.answers, s.fails = "", true
	if answer, body := s.ask(t, id, "GET", "/", "", nil, nil); answer.StatusCode != 502 || strings.Contains(body, "secret") {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
	s.fails = false
	for _, host := range []string{functions.NewURLID(), strings.Repeat("a", 32)} {
		if answer, body := s.ask(t, host, "GET", "/", "", nil, nil); answer.StatusCode != 404 || strings.Contains(body, host) {
			t.Errorf("%d %s", answer.StatusCode, body)
		}
	}
	if answer, _ := s.ask(t, id, "POST", "/", strings.Repeat("x", dispatcher.MaxEventBytes+1), nil, nil); answer.StatusCode != 413 {
		t.Error(answer.Status)
	}
	if answer, _ := s.ask(t, id, "POST", "/", strings.Repeat("\xff", dispatcher.MaxEventBytes-1000), nil, nil); answer.StatusCode != 413 { // in base64 it is too much
		t.Error(answer.Status)
	}
	if answer, _ := s.ask(t, id, "GET", "/", "", map[string]string{"X-Long": strings.Repeat("x", server.MaxHeaderBytes+8<<10)}, nil); answer.StatusCode != 431 {
		t.Error(answer.Status)
	}
	if _, err := s.Attach("hello", dispatcher.Latest, "", func(a *functions.Attached) error { a.URL = nil; return nil }); err != nil {
		t.Fatal(err)
	}
	if answer, _ := s.ask(t, id, "GET", "/", "", nil, nil); answer.StatusCode != 404 {
		t.Error("a URL that was removed is served:", answer.Status)
	}
}

// sign returns what signs a request, whose body is said to be another one perhaps.
func sign(t *testing.T, name, secret, body string) func(*http.Request) {
	return func(r *http.Request) {
		url := r.URL.Host
		r.URL.Host = r.Host // what the client would have dialled
		defer func() { r.URL.Host = url }()
		sum := sha256.Sum256([]byte(body))
		if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: name, SecretAccessKey: secret}, r, hex.EncodeToString(sum[:]), "lambda", "us-east-1", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAuth: NONE is everybody's, and AWS_IAM is for who signs and may invoke the function.
func TestAuth(t *testing.T) {
	s := newSite(t)
	id := s.deploy(t, "alice/hello", functions.AuthIAM, nil)
	for _, c := range []struct {
		name   string
		sign   func(*http.Request)
		status int
	}{
		{"nobody", nil, 403},
		{"a bearer", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+s.secrets["caller"]) }, 403},
		{"who may invoke", sign(t, "caller", s.secrets["caller"], `{"a":1}`), 200},
		{"another body", sign(t, "caller", s.secrets["caller"], `{"a":2}`), 403},
		{"a wrong secret", sign(t, "caller", s.secrets["reader"], `{"a":1}`), 403},
		{"who may only read", sign(t, "reader", s.secrets["reader"], `{"a":1}`), 403},
		{"another owner's", sign(t, "stranger", s.secrets["stranger"], `{"a":1}`), 403},
		{"the service's own", sign(t, "any", serviceToken, `{"a":1}`), 200},
	} {
		before := len(s.events)
		answer, body := s.ask(t, id, "POST", "/p%20q?b=2&a=1", `{"a":1}`, nil, c.sign)
		if answer.StatusCode != c.status || (len(s.events) > before) != (c.status == 200) {
			t.Errorf("%s: %d %s, %d events", c.name, answer.StatusCode, body, len(s.events)-before)
		}
	}
	e := s.events[0]
	if e.RequestContext.AccountID != access.AccountOf("alice") || e.RequestContext.Authorizer == nil || e.RequestContext.Authorizer.IAM.AccessKey != "caller" || e.Headers["authorization"] != "" {
		t.Errorf("%+v %v", e.RequestContext, e.Headers)
	}
	// The token that a URL does not ask for opens nothing else.
	if answer, _ := s.ask(t, "x", "GET", "/v1/functions", "", nil, nil); answer.StatusCode != 401 {
		t.Error(answer.Status)
	}
}

func TestCORS(t *testing.T) {
	s := newSite(t)
	c := &functions.CORS{Origins: []string{"https://a.example"}, Methods: []string{"GET", "POST"}, Headers: []string{"x-one"}, Expose: []string{"x-two"}, MaxAgeSec: 60, Credentials: true}
	id := s.deploy(t, "hello", functions.AuthIAM, c)
	open := s.deploy(t, "open", functions.AuthNone, &functions.CORS{Origins: []string{"*"}, Methods: []string{"*"}, Headers: []string{"*"}})
	without := s.deploy(t, "without", functions.AuthNone, nil)
	s.answers = `{"statusCode":200,"headers":{"Access-Control-Allow-Origin":"https://evil.example","Vary":"Accept"},"body":"x"}`
	asks := func(origin, method string) map[string]string {
		return map[string]string{"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "x-one,x-three"}
	}
	answer, _ := s.ask(t, id, "OPTIONS", "/", "", asks("https://a.example", "POST"), nil)
	h := answer.Header
	if answer.StatusCode != 200 || h.Get("Access-Control-Allow-Origin") != "https://a.example" || h.Get("Access-Control-Allow-Methods") != "GET,POST" || h.Get("Access-Control-Allow-Headers") != "x-one" ||
		h.Get("Access-Control-Max-Age") != "60" || h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Vary") != "Origin" || len(s.events) != 0 {
		t.Error(answer.StatusCode, h, len(s.events))
	}
	for _, asks := range []map[string]string{asks("https://b.example", "POST"), asks("https://a.example", "DELETE")} {
		if answer, _ := s.ask(t, id, "OPTIONS", "/", "", asks, nil); answer.Header.Get("Access-Control-Allow-Methods") != "" {
			t.Error(asks, answer.Header)
		}
	}
	answer, _ = s.ask(t, open, "OPTIONS", "/", "", asks("https://b.example", "DELETE"), nil)
	if h := answer.Header; h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Methods") != "DELETE" || h.Get("Access-Control-Allow-Headers") != "x-one,x-three" {
		t.Error(h)
	}
	answer, body := s.ask(t, open, "GET", "/", "", map[string]string{"Origin": "https://b.example"}, nil)
	if h := answer.Header; body != "x" || !slices.Equal(h.Values("Access-Control-Allow-Origin"), []string{"*"}) || !slices.Equal(h.Values("Vary"), []string{"Accept", "Origin"}) {
		t.Error(h)
	}
	answer, _ = s.ask(t, without, "OPTIONS", "/", "", asks("https://b.example", "GET"), nil)
	if answer.Header.Get("Access-Control-Allow-Origin") != "https://evil.example" { // the function's own
		t.Error(answer.Header)
	}
}

// TestSmuggling: what could be read in two ways reaches a function once or not at all, and
// what is behind it is no request of its own.
func TestSmuggling(t *testing.T) {
	s := newSite(t)
	id := s.deploy(t, "hello", functions.AuthNone, nil)
	host := "Host: " + id + ".lambda-url.localhost\r\n"
	const hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, text := range map[string]string{
		"a length and chunks":   "POST / HTTP/1.1\r\n" + host + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"two lengths":           "POST / HTTP/1.1\r\n" + host + "Content-Length: 0\r\nContent-Length: 40\r\n\r\n" + hidden,
		"a folded header":       "GET / HTTP/1.1\r\n" + host + "X-A: b\r\n Transfer-Encoding: chunked\r\n\r\n" + hidden,
		"an unknown coding":     "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n" + hidden,
		"a space in a name":     "POST / HTTP/1.1\r\n" + host + "Content-Length : 40\r\n\r\n" + hidden,
		"two hosts":             "GET / HTTP/1.1\r\n" + host + "Host: other\r\n\r\n",
		"a signed length":       "POST / HTTP/1.1\r\n" + host + "Content-Length: +3\r\n\r\nabc",
		"a chunk of bad length": "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n" + hidden,
	} {
		before := len(s.events)
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(time.Minute))
		c.(*net.TCPConn).CloseWrite()
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		c.Close()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		s.mu.Lock()
		for _, e := range s.events[before:] {
			if e.RawPath != "/" {
				t.Errorf("%s: %s came through", name, e.RawPath)
			}
		}
		if n := len(s.events) - before; n > 1 || answer.StatusCode >= 502 || n == 1 && name != "a folded header" && name != "a length and chunks" {
			t.Errorf("%s: %d events, %d", name, n, answer.StatusCode)
		}
		s.mu.Unlock()
	}
}

// TestSDK makes URLs with AWS's SDK, and finds them again with another service on the same
// state directory.
func TestSDK(t *testing.T) {
	s := newSite(t)
	c := lambda.New(lambda.Options{Region: "us-east-1", BaseEndpoint: aws.String(s.URL), RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "any", SecretAccessKey: serviceToken}, nil
		})})
	s.Put(t, "hello")
	ctx, name := t.Context(), aws.String("hello")
	made, err := c.CreateFunctionUrlConfig(ctx, &lambda.CreateFunctionUrlConfigInput{FunctionName: name, AuthType: types.FunctionUrlAuthTypeNone, Cors: &types.Cors{AllowOrigins: []string{"*"}, MaxAge: aws.Int32(5)}})
	if err != nil || made.AuthType != types.FunctionUrlAuthTypeNone || *made.Cors.MaxAge != 5 || *made.FunctionArn != "arn:aws:lambda:us-east-1:000000000000:function:hello" || *made.CreationTime == "" {
		t.Fatal(made, err)
	}
	_, err = c.CreateFunctionUrlConfig(ctx, &lambda.CreateFunctionUrlConfigInput{FunctionName: name, AuthType: types.FunctionUrlAuthTypeNone})
	wantCode(t, err, "ResourceConflictException")
	_, err = c.CreateFunctionUrlConfig(ctx, &lambda.CreateFunctionUrlConfigInput{FunctionName: name, AuthType: types.FunctionUrlAuthTypeNone, Qualifier: aws.String("1")})
	wantCode(t, err, "ValidationException")
	if _, err := c.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: name, Name: aws.String("live"), FunctionVersion: aws.String("$LATEST")}); err != nil {
		t.Fatal(err)
	}
	other, err := c.CreateFunctionUrlConfig(ctx, &lambda.CreateFunctionUrlConfigInput{FunctionName: name, AuthType: types.FunctionUrlAuthTypeAwsIam, Qualifier: aws.String("live")})
	if err != nil || *other.FunctionUrl == *made.FunctionUrl || !strings.HasSuffix(*other.FunctionArn, ":hello:live") {
		t.Fatal(other, err)
	}
	list, err := c.ListFunctionUrlConfigs(ctx, &lambda.ListFunctionUrlConfigsInput{FunctionName: name})
	if err != nil || len(list.FunctionUrlConfigs) != 2 {
		t.Error(list, err)
	}
	id := strings.TrimPrefix(strings.Split(*made.FunctionUrl, ".")[0], "http://")
	if answer, body := s.ask(t, id, "GET", "/", "", nil, nil); answer.StatusCode != 200 {
		t.Error(answer.Status, body)
	}
	if _, err := c.UpdateFunctionUrlConfig(ctx, &lambda.UpdateFunctionUrlConfigInput{FunctionName: name, AuthType: types.FunctionUrlAuthTypeAwsIam}); err != nil {
		t.Error(err)
	}
	if answer, _ := s.ask(t, id, "GET", "/", "", nil, nil); answer.StatusCode != 403 {
		t.Error(answer.Status)
	}
	again, err := functions.Open(s.StateDir(), functions.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if key, qualifier, ok := again.URLTarget(id); !ok || key != "hello" || qualifier != dispatcher.Latest {
		t.Error(key, qualifier, ok)
	}
	if _, err := c.DeleteFunctionUrlConfig(ctx, &lambda.DeleteFunctionUrlConfigInput{FunctionName: name}); err != nil {
		t.Error(err)
	}
	_, err = c.GetFunctionUrlConfig(ctx, &lambda.GetFunctionUrlConfigInput{FunctionName: name})
	wantCode(t, err, "ResourceNotFoundException")
	if _, err := c.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: name}); err != nil {
		t.Error(err)
	}
	if _, _, err := s.Fake.URLTarget(strings.TrimPrefix(strings.Split(*other.FunctionUrl, ".")[0], "http://")); err == nil {
		t.Error("a function that was removed has a URL")
	}
}

func wantCode(t *testing.T, err error, want string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
