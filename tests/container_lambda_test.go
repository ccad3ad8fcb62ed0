package tests

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// echoing is a bootstrap that answers with its words, where it stands and its event.
const echoing = `import http.client, json, os, sys
def call(method, path, body=None):
    c = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    c.request(method, "/2018-06-01/runtime/invocation/" + path, body)
    r = c.getresponse()
    return r.getheader("Lambda-Runtime-Aws-Request-Id"), r.read().decode()
while True:
    id, event = call("GET", "next")
    call("POST", id + "/response", json.dumps([sys.argv[1:], os.getcwd(), os.environ["WORD"], json.loads(event)]))
`

// TestContainerImageOverLambda: a container image is a function over AWS Lambda's API, by the
// name that it has in its registry.
func TestContainerImageOverLambda(t *testing.T) {
	t.Parallel()
	root := hostRoot(t)
	if err := os.MkdirAll(filepath.Join(root, "srv"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{"srv/boot.py": echoing, "srv/web.py": webProgram, "srv/count.py": countProgram, "etc/passwd": "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/srv:/bin/sh\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	image, err := mutate.AppendLayers(empty.Image, layerOf(t, root))
	if err == nil {
		image, err = mutate.Config(image, v1.Config{Env: []string{"WORD=env", "PATH=/usr/local/bin:/usr/bin:/bin"}, WorkingDir: "/srv", Entrypoint: []string{"python3", "boot.py"}, Cmd: []string{"one"}})
	}
	if err == nil {
		image, err = mutate.ConfigFile(image, withPlatform(t, image))
	}
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	uri := strings.TrimPrefix(server.URL, "http://") + "/boot:1"
	ref, err := name.ParseReference(uri)
	if err == nil {
		err = remote.Write(ref, image)
	}
	if err != nil {
		t.Fatal(err)
	}
	d := startDaemonWith(t, func(c *cli) { c.want(0, "", "image", "build", "boot", "--from", "docker://"+uri) }, "--machines", "1")
	in := &lambda.CreateFunctionInput{FunctionName: aws.String("boot"), PackageType: types.PackageTypeImage, Role: aws.String("arn:aws:iam::000000000000:role/any"),
		Code: &types.FunctionCode{ImageUri: aws.String(uri + "0")}, Timeout: aws.Int32(60), SnapStart: &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions}}
	if _, err := d.aws.CreateFunction(t.Context(), in); err == nil || !strings.Contains(err.Error(), "seussctl image build") {
		t.Errorf("an image that nobody has built: %v", err)
	}
	in.Code.ImageUri = aws.String(uri)
	if _, err := d.aws.CreateFunction(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	d.wantOutput("boot", `{"a":1}`, `[["one"], "/srv", "env", {"a": 1}]`)
	if _, err := d.aws.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: in.FunctionName,
		ImageConfig: &types.ImageConfig{EntryPoint: []string{"/usr/bin/python3", "/srv/boot.py"}, Command: []string{"two"}, WorkingDirectory: aws.String("/usr")}}); err != nil {
		t.Fatal(err)
	}
	d.wantOutput("boot", `2`, `[["two"], "/usr", "env", 2]`)
	wantOwnPrograms(d, uri, image)
}
