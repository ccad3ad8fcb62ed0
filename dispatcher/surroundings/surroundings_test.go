package surroundings

import (
	"encoding/json"
	"testing"

	"seuss/dispatcher/functions"
)

func TestAddTo(t *testing.T) {
	f := Function{Function: &functions.Function{Name: "bob/hello:7", Handler: "main.handler"}, Runtime: "python3.11", MemoryMiB: 192}
	code := `{"handler":"main.handler","files":{"main.py":"eA=="},"environment":{"A":"b"}}`
	b, err := f.AddTo([]byte(code))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Handler                   string
		Files                     map[string][]byte
		Environment, Surroundings map[string]string
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	if got.Handler != "main.handler" || string(got.Files["main.py"]) != "x" || got.Environment["A"] != "b" {
		t.Errorf("the code is %+v", got)
	}
	for name, want := range map[string]string{
		"AWS_LAMBDA_FUNCTION_NAME": "hello", "AWS_LAMBDA_FUNCTION_VERSION": "7", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "192",
		"_HANDLER": "main.handler", "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/hello",
	} {
		if got.Surroundings[name] != want || f.Variables()[name] != want {
			t.Errorf("%s is %q, of a program %q, want %q", name, got.Surroundings[name], f.Variables()[name], want)
		}
	}
	for name, want := range map[string]string{"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11"} {
		if v, ok := got.Surroundings[name]; ok || f.Variables()[name] != want {
			t.Errorf("%s is %q, want %q; a driver, which has it from its image, gets %q", name, f.Variables()[name], want, v)
		}
	}
	other := Function{Function: &functions.Function{Name: "hello"}}
	if v := other.Variables(); v["AWS_LAMBDA_FUNCTION_VERSION"] != "$LATEST" {
		t.Errorf("what nobody says is %v", v)
	}
	for _, bad := range []string{"", "{}", "[1]"} {
		if _, err := f.AddTo([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
