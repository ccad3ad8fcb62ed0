package tests

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// zipFile is an archive of one file.
func zipFile(t *testing.T, name, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create(name)
	if err == nil {
		_, err = f.Write([]byte(content))
	}
	if err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestPublishedLayers: with AWS's SDK layers are published, and functions import and read
// what they hold, of the version that they name, until they name none.
func TestPublishedLayers(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--machines", "1")
	publish := func(name, file, content string) string {
		t.Helper()
		v, err := d.aws.PublishLayerVersion(t.Context(), &lambda.PublishLayerVersionInput{LayerName: &name, Content: &types.LayerVersionContentInput{ZipFile: zipFile(t, file, content)}})
		if err != nil {
			t.Fatal(err)
		}
		return *v.LayerVersionArn
	}
	first, second, data := publish("words", "python/words.py", "WORD = 'first'\n"), publish("words", "python/words.py", "WORD = 'second'\n"), publish("data", "share/data.txt", "data of a layer")
	name := aws.String("layered")
	invoke := func(want string) {
		t.Helper()
		out, err := d.aws.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: name, Payload: []byte(`{}`)})
		if err != nil || out.FunctionError != nil || string(out.Payload) != want {
			t.Errorf("%s, %v; want %s", out.Payload, err, want)
		}
	}
	_, err := d.aws.CreateFunction(t.Context(), &lambda.CreateFunctionInput{
		FunctionName: name, Runtime: types.RuntimePython311, Handler: aws.String("main.handler"), Role: aws.String("arn:aws:iam::000000000000:role/any"), Timeout: aws.Int32(60), Layers: []string{first, data},
		Code: &types.FunctionCode{ZipFile: zipFile(t, "main.py", "import words\ndef handler(event, context):\n    return [words.WORD, open('/opt/share/data.txt').read()]\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	invoke(`["first", "data of a layer"]`)
	if _, err := d.aws.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: name, Layers: []string{second, data}}); err != nil {
		t.Fatal(err)
	}
	for _, version := range []int64{1, 2} { // those that are gone are still the function's
		if _, err := d.aws.DeleteLayerVersion(t.Context(), &lambda.DeleteLayerVersionInput{LayerName: aws.String("words"), VersionNumber: &version}); err != nil {
			t.Fatal(err)
		}
	}
	invoke(`["second", "data of a layer"]`)
	_, err = d.aws.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: name, Layers: []string{}})
	if err == nil || !strings.Contains(err.Error(), "words") {
		t.Errorf("without its layers: %v", err)
	}
	invoke(`["second", "data of a layer"]`)
}
