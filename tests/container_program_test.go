package tests

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// webProgram is a server that answers with its words, where it stands, and as whom.
const webProgram = `import http.server, json, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = json.dumps([sys.argv[1:], os.getcwd(), os.environ["WORD"], os.getuid()]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *args): pass
http.server.HTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
`

// countProgram is a program that answers with the same, and its event.
const countProgram = `import json, os, sys
event = json.load(sys.stdin)
print(json.dumps([sys.argv[1:], os.getcwd(), os.environ["WORD"], os.getuid(), event]))
`

// wantOwnPrograms deploys container images from the command line without a command: what runs
// is what the image says, over each contract of programs.
func wantOwnPrograms(d *daemon, uri string, base v1.Image) {
	d.Helper()
	push := func(to string, cmd ...string) string {
		config, err := base.ConfigFile()
		if err != nil {
			d.Fatal(err)
		}
		own := *config.Config.DeepCopy()
		own.User, own.Cmd, own.Entrypoint = "app", cmd, []string{"python3"}
		image, err := mutate.Config(base, own)
		if err != nil {
			d.Fatal(err)
		}
		to = strings.Replace(uri, "/boot:1", to, 1)
		ref, err := name.ParseReference(to)
		if err == nil {
			err = remote.Write(ref, image)
		}
		if err != nil {
			d.Fatal(err)
		}
		return "docker://" + to
	}
	leave := "--allow-shared-generators"
	d.want(0, "", "function", "deploy", "own", "--image", "boot", "--runtime", "provided.al2023", leave)
	d.wantOutput("own", `3`, `[["one"], "/srv", "env", 3]`)
	shown := d.want(0, "", "function", "show", "own").stdout
	for _, words := range []string{uri, "runtimeapi", "/usr/bin/python3 boot.py one"} {
		if !strings.Contains(shown, words) {
			d.Errorf("it is not shown that it is %q: %s", words, shown)
		}
	}
	// It is a function of PackageType Image over AWS Lambda's API.
	got, err := d.aws.GetFunction(d.Context(), &lambda.GetFunctionInput{FunctionName: aws.String("own")})
	if err != nil || got.Configuration.PackageType != types.PackageTypeImage || aws.ToString(got.Code.ImageUri) != uri || !strings.Contains(aws.ToString(got.Code.ResolvedImageUri), "@sha256:") {
		d.Errorf("%+v %v", got, err)
	}
	d.want(0, "", "function", "deploy", "count", "--image", push("/count:1", "count.py", "a b"), "--program", leave)
	d.wantOutput("count", `{"a":1}`, `[["a b"], "/srv", "env", 1000, {"a": 1}]`)
	web := push("/web:1", "web.py")
	d.want(0, "", "function", "deploy", "web", "--image", web, "--http", "8080", "--ready", "/", leave)
	event := `{"version": "2.0", "rawPath": "/", "requestContext": {"http": {"method": "GET"}}}`
	if out := d.want(0, "", "invoke", "web", "--event", event).stdout; !strings.Contains(out, `[[], \"/srv\", \"env\", 1000]`) {
		d.Error(out)
	}
	// What the name leads to by now is another program: the function is what it was.
	push("/web:1", "count.py")
	d.want(0, "", "image", "build", "web", "--from", web)
	if out := d.want(0, "", "invoke", "web", "--event", event).stdout; !strings.Contains(out, `\"/srv\"`) {
		d.Error(out)
	}
	for words, args := range map[string][]string{
		"says of no program that it is to be run": {"--image", "python", "--program"},
		"which command":  {"--program"},
		"want NAME PATH": {"--runtime", "provided.al2023"},
		"has none":       {"--image", "boot", "--runtime", "provided.al2023", "--watch"},
		"no such image":  {"--image", "nowhere", "--http", "80"},
	} {
		if out := d.run("", append([]string{"function", "deploy", "none"}, args...)...); out.code == 0 || !strings.Contains(out.stderr, words) {
			d.Errorf("%q: %d %s, want %q", args, out.code, out.stderr, words)
		}
	}
}
