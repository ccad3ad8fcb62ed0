package tests

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// streamer streams its answer in the ways that Lambda's documentation shows.
const streamer = `
const { Readable } = require('stream');
const { pipeline } = require('stream/promises');
const turns = {
  async plain(s) { s.setContentType('text/plain'); s.write('one '); s.write(Buffer.from('two ')); s.end('three'); },
  async objects(s) { s.write({ a: 1 }); s.write('\n'); s.end({ b: 2 }); },
  async pipeline(s) { await pipeline(Readable.from(['a', 'b', 'c']), s); },
  async slow(s) { for (const p of 'xyz') { s.write(p); await new Promise((r) => setTimeout(r, 20)); } s.end(); },
  async page(s) {
    s = awslambda.HttpResponseStream.from(s, { statusCode: 201, headers: { 'Content-Type': 'text/html', 'X-Own': 'yes' }, cookies: ['a=b'] });
    s.write('<p>'); s.end('</p>');
  },
  async empty(s) { awslambda.HttpResponseStream.from(s, { statusCode: 404 }).end(); },
  async nothing(s) { s.end(); },
  async late(s) { s.write('x'); s.setContentType('a/b'); },
  async fails(s) { s.write('half'); throw new RangeError('midway'); },
  async source(s) { await pipeline(Readable.from((async function* () { yield 'half'; throw new TypeError('source'); })()), s); },
  async open(s) { s.write('never ended'); },
  async much(s) { for (let n = 0; n < 7; n++) s.write(Buffer.alloc(1 << 20)); s.end(); },
  async exits(s) { s.write('half'); process.exit(3); },
  sync(s) {},
};
let count = 0;
exports.handler = awslambda.streamifyResponse((event, stream, context) => {
  if (++count !== 1) throw new Error('this instance is used');
  return turns[event.do ?? event.rawPath.slice(1)](stream, context);
});
`

// nodeDaemon is a daemon that has an image with Node.js, and a function of JavaScript.
func nodeDaemon(t *testing.T, name, source string) *daemon {
	t.Helper()
	requireNode(t)
	d := startDaemonWith(t, func(c *cli) { c.want(0, "", "image", "build", "--runtime", "node") }, "--machines", "2")
	runtime := natively(t, "node", "-p", "`nodejs${process.versions.node.split('.')[0]}.x`")
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create("index.js")
	if err == nil {
		_, err = io.WriteString(f, source)
	}
	if err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	d.create(name, "", func(in *lambda.CreateFunctionInput) {
		in.Handler, in.Code.ZipFile, in.Runtime = aws.String("index.handler"), b.Bytes(), types.Runtime(strings.TrimSpace(runtime))
	})
	return d
}

// TestStreamifyResponse: a handler of Node.js that streams does so through
// InvokeWithResponseStream, and at a URL in mode RESPONSE_STREAM; elsewhere the answer comes
// whole. Errors come behind what was streamed.
func TestStreamifyResponse(t *testing.T) {
	t.Parallel()
	d := nodeDaemon(t, "streamer", streamer)
	name := aws.String("streamer")
	const half = "\x00\x00\x00\x00\x00\x00\x00\x00"
	page := `{"statusCode":201,"headers":{"Content-Type":"text/html","X-Own":"yes"},"cookies":["a=b"]}` + half + "<p></p>"
	for _, x := range []struct{ do, text, failed, details string }{
		{"plain", "one two three", "", ""},
		{"objects", "{\"a\":1}\n{\"b\":2}", "", ""},
		{"pipeline", "abc", "", ""},
		{"slow", "xyz", "", ""},
		{"page", page, "", ""},
		{"empty", `{"statusCode":404}` + half, "", ""},
		{"nothing", "", "", ""},
		{"late", "x", "Runtime.InvalidStreamingOperation", "too late"},
		{"fails", "half", "RangeError", "midway"},
		{"source", "half", "TypeError", "source"},
		{"open", "never ended", "Error", "Response stream is not finished."},
		{"much", strings.Repeat("\x00", 6<<20), "Function.ResponseSizeTooLarge", "6291456"},
		{"exits", "half", "Runtime.ExitError", ""},
		{"sync", "", "Error", "non-async"},
	} {
		event := fmt.Appendf(nil, `{"do":%q}`, x.do)
		text, end := streamOf(t, d, name, event)
		if text != x.text || aws.ToString(end.ErrorCode) != x.failed || !strings.Contains(aws.ToString(end.ErrorDetails), x.details) {
			t.Errorf("%s: %.200q, %s %s", x.do, text, aws.ToString(end.ErrorCode), aws.ToString(end.ErrorDetails))
		}
		whole, err := d.aws.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: name, Payload: event})
		if err != nil || (whole.FunctionError != nil) != (x.failed != "") || x.do == "plain" && string(whole.Payload) != `"one two three"` {
			t.Errorf("%s, whole: %.200s %v", x.do, whole.Payload, err)
		}
	}
	file := filepath.Join(t.TempDir(), "index.js")
	if err := os.WriteFile(file, []byte(streamer), 0o644); err != nil {
		t.Fatal(err)
	}
	d.want(0, "", "function", "deploy", "lazy", file, "--runtime", "node", "--lazy-args")
	d.want(3, "without lazy arguments", "invoke", "lazy", "--event", `{"do":"plain"}`)
	u, err := d.aws.CreateFunctionUrlConfig(t.Context(), &lambda.CreateFunctionUrlConfigInput{FunctionName: name, AuthType: types.FunctionUrlAuthTypeNone, InvokeMode: types.InvokeModeResponseStream})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(d.url, "http://"))
	}}}
	for _, x := range []struct {
		path, body, kind string
		status           int
		whole            bool
	}{
		{"plain", "one two three", "text/plain", 200, true},
		{"pipeline", "abc", "application/octet-stream", 200, true},
		{"page", "<p></p>", "text/html", 201, true},
		{"empty", "", "application/octet-stream", 404, true},
		{"fails", "half", "application/octet-stream", 200, false},
		{"sync", `{"Type":"Service","Message":"Internal Server Error","message":"Internal Server Error"}`, "application/json", 502, true},
	} {
		answer, err := client.Get(aws.ToString(u.FunctionUrl) + x.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if strings.TrimSpace(string(body)) != x.body || answer.StatusCode != x.status || answer.Header.Get("Content-Type") != x.kind || (err == nil) != x.whole {
			t.Errorf("%s: %d %v %q %v", x.path, answer.StatusCode, answer.Header, body, err)
		}
		if x.path == "page" && (answer.Header.Get("X-Own") != "yes" || answer.Header.Get("Set-Cookie") != "a=b") {
			t.Error(answer.Header)
		}
	}
}

// streamOf is what AWS's SDK reads of an answer, and its end.
func streamOf(t *testing.T, d *daemon, name *string, event []byte) (text string, end types.InvokeWithResponseStreamCompleteEvent) {
	t.Helper()
	out, err := d.aws.InvokeWithResponseStream(t.Context(), &lambda.InvokeWithResponseStreamInput{FunctionName: name, Payload: event})
	if err != nil {
		t.Fatal(err)
	}
	s := out.GetStream()
	defer s.Close()
	for e := range s.Events() {
		switch e := e.(type) {
		case *types.InvokeWithResponseStreamResponseEventMemberPayloadChunk:
			text += string(e.Value.Payload)
		case *types.InvokeWithResponseStreamResponseEventMemberInvokeComplete:
			end = e.Value
		}
	}
	if s.Err() != nil {
		t.Error(s.Err())
	}
	return text, end
}
