package tests

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// TestFunctionURL: a function answers at its address, chosen by the Host header, without a
// token where it is everybody's; the address outlives the daemon, its port does not.
func TestFunctionURL(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--machines", "1")
	d.create("page", `
count = 0
def handler(event, context):
    global count
    count += 1
    http = event["requestContext"]["http"]
    return {"statusCode": 200, "headers": {"Content-Type": "text/html"}, "cookies": ["seen=1"],
            "body": f"<p>{http['method']} {event['rawPath']} {event.get('body')} {count}</p>"}
`, func(*lambda.CreateFunctionInput) {})
	d.want(1, "", "function", "url", "page") // it has none yet
	address := strings.TrimSpace(d.want(0, "", "function", "url", "page", "--auth", "none").stdout)
	port := d.url[strings.LastIndex(d.url, ":"):]
	if !strings.HasPrefix(address, "http://") || !strings.HasSuffix(address, ".lambda-url.localhost"+port+"/") {
		t.Fatal(address)
	}
	if again := strings.TrimSpace(d.want(0, "", "function", "url", "page").stdout); again != address {
		t.Errorf("%s, then %s", address, again)
	}
	if shown := d.want(0, "", "function", "show", "page").stdout; !strings.Contains(shown, address+" for everybody") {
		t.Error(shown)
	}
	// A client that finds nothing in DNS connects to this machine (curl and browsers do).
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(d.url, "http://"))
	}}}
	ask := func(method, path, body string) (*http.Response, string) {
		r, err := http.NewRequest(method, strings.TrimSuffix(address, "/")+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
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
	for range 2 { // each in an instance of its own
		answer, body := ask("GET", "/", "")
		if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "text/html" || answer.Header.Get("Set-Cookie") != "seen=1" || body != "<p>GET / None 1</p>" {
			t.Error(answer.StatusCode, answer.Header, body)
		}
	}
	if _, body := ask("POST", "/a%20b", "hello"); body != "<p>POST /a%20b hello 1</p>" {
		t.Error(body)
	}
	if answer, body := ask("HEAD", "/", ""); answer.StatusCode != 200 || answer.ContentLength != int64(len("<p>HEAD / None 1</p>")) || body != "" {
		t.Error(answer.StatusCode, answer.ContentLength, body)
	}
	d.want(0, "", "function", "url", "page", "--auth", "iam")
	if answer, _ := ask("GET", "/", ""); answer.StatusCode != 403 {
		t.Error(answer.Status)
	}
	d.want(0, "", "function", "url", "page", "--auth", "none")
	d.kill()
	d.start()
	port = d.url[strings.LastIndex(d.url, ":"):]
	if now := strings.TrimSpace(d.want(0, "", "function", "url", "page").stdout); now != address[:strings.LastIndex(address, ":")]+port+"/" {
		t.Errorf("%s, and after a restart %s", address, now)
	}
	if answer, body := ask("GET", "/x", ""); answer.StatusCode != 200 {
		t.Error(answer.Status, body)
	}
	d.want(0, "", "function", "url", "page", "--remove")
	if answer, _ := ask("GET", "/", ""); answer.StatusCode != 404 {
		t.Error(answer.Status)
	}
}
