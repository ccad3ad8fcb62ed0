package tests

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// TestProvidedRuntime: with AWS's SDK a bootstrap is uploaded, invoked, streams what it
// answers, and is updated; an archive without one is refused by name.
func TestProvidedRuntime(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--machines", "1")
	archive := func(name string) []byte {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		f, err := w.Create(name)
		if err == nil {
			_, err = f.Write(bootstrap)
		}
		if err != nil || w.Close() != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	in := &lambda.CreateFunctionInput{FunctionName: aws.String("own"), Runtime: types.RuntimeProvidedal2023, Handler: aws.String("any.thing"), Role: aws.String("arn:aws:iam::000000000000:role/any"),
		Code: &types.FunctionCode{ZipFile: archive("main")}, Timeout: aws.Int32(60), Environment: &types.Environment{Variables: map[string]string{"MINE": "own"}}}
	_, err := d.aws.CreateFunction(t.Context(), in)
	if err == nil || !strings.Contains(err.Error(), `"bootstrap"`) {
		t.Errorf("an archive without a bootstrap: %v", err)
	}
	in.Code.ZipFile = archive("bootstrap")
	if _, err = d.aws.CreateFunction(t.Context(), in); err == nil || !strings.Contains(err.Error(), "SnapStart") {
		t.Errorf("a program that may have seeded its generators: %v", err)
	}
	in.SnapStart = &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions}
	created, err := d.aws.CreateFunction(t.Context(), in)
	if err != nil || created.Runtime != types.RuntimeProvidedal2023 || aws.ToString(created.Handler) != "any.thing" {
		t.Fatalf("%+v %v", created, err)
	}
	for range 2 {
		out, err := d.aws.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: in.FunctionName, Payload: []byte(`{}`)})
		if err != nil || out.FunctionError != nil {
			t.Fatalf("%s %v", out.Payload, err)
		}
		var got struct {
			Count      int
			Name, Mine string
		}
		if err := json.Unmarshal(out.Payload, &got); err != nil || got.Count != 1 || got.Name != "own" || got.Mine != "own" {
			t.Errorf("%s %v", out.Payload, err)
		}
	}
	stream := func(event string) (text, failed string) {
		text, end := streamOf(t, d, in.FunctionName, []byte(event))
		return text, aws.ToString(end.ErrorCode)
	}
	if text, failed := stream(`{"do": "stream"}`); text != `{"parts": 2}` || failed != "" {
		t.Errorf("%q %s", text, failed)
	}
	if text, failed := stream(`{"do": "broken stream"}`); text != `{"half` || failed != "Stream.Broken" {
		t.Errorf("%q %s", text, failed)
	}
	if _, err := d.aws.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: in.FunctionName, Timeout: aws.Int32(2)}); err != nil {
		t.Fatal(err)
	}
	if text, failed := stream(`{"do": "slow stream"}`); text != "\xff one" || failed != "Sandbox.Timedout" {
		t.Errorf("%q %s", text, failed)
	}
	if got := d.metric(`seuss_contract_invocations_total{contract="runtimeapi",outcome="ok"}`); got != "3" {
		t.Errorf("metrics count %q", got)
	}
}
