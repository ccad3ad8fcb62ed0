package lambda

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"seuss/dispatcher/http/servertest"
)

// TestGoSDKContainerImage: a function of PackageType Image is made, described, changed and
// refused as AWS's SDK has it.
func TestGoSDKContainerImage(t *testing.T) {
	f := servertest.New(t)
	s, url := f.Serve(t, nil)
	c := sdk(url)
	in := func(change func(*lambda.CreateFunctionInput)) *lambda.CreateFunctionInput {
		in := &lambda.CreateFunctionInput{FunctionName: aws.String("app"), PackageType: types.PackageTypeImage, Role: aws.String("arn:aws:iam::000000000000:role/any"),
			Code: &types.FunctionCode{ImageUri: aws.String("registry.example.com/app:1")}}
		change(in)
		return in
	}
	for words, change := range map[string]func(*lambda.CreateFunctionInput){
		"is not valid":             func(in *lambda.CreateFunctionInput) { in.Code.ImageUri = aws.String("registry.example.com/other:1") },
		"using a container image":  func(in *lambda.CreateFunctionInput) { in.Handler = aws.String("main.handler") },
		"container image":          func(in *lambda.CreateFunctionInput) { in.Runtime = types.RuntimePython311 },
		"for functions of Package": func(in *lambda.CreateFunctionInput) { in.Code = &types.FunctionCode{ZipFile: []byte("x")} },
		"provide ImageUri":         func(in *lambda.CreateFunctionInput) { in.Code = &types.FunctionCode{} },
	} {
		_, err := c.CreateFunction(t.Context(), in(change))
		wantCode(t, err, "InvalidParameterValueException", words)
	}
	made, err := c.CreateFunction(t.Context(), in(func(in *lambda.CreateFunctionInput) {
		in.ImageConfig = &types.ImageConfig{EntryPoint: []string{"/other"}, Command: []string{"a"}, WorkingDirectory: aws.String("/srv")}
	}))
	if err != nil || made.PackageType != types.PackageTypeImage || aws.ToString(made.Handler) != "" || made.Runtime != "" || made.ImageConfigResponse == nil || !slices.Equal(made.ImageConfigResponse.ImageConfig.Command, []string{"a"}) {
		t.Fatalf("%+v %v", made, err)
	}
	program := func() string {
		d, err := s.Service.Function("app")
		if err != nil {
			t.Fatal(err)
		}
		return d.Settings.Program.Dir + ": " + strings.Join(d.Settings.Program.Command, " ")
	}
	if got := program(); got != "/srv: /other a" {
		t.Error(got)
	}
	got, err := c.GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: aws.String("app")})
	if err != nil || aws.ToString(got.Code.ImageUri) != "registry.example.com/app:1" || aws.ToString(got.Code.RepositoryType) != "ECR" ||
		aws.ToString(got.Code.ResolvedImageUri) != "registry.example.com/app@sha256:"+strings.Repeat("a", 64) || aws.ToString(got.Configuration.CodeSha256) != strings.Repeat("a", 64) {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := c.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("app"), ImageConfig: &types.ImageConfig{Command: []string{"b"}}}); err != nil || program() != ": /app b" {
		t.Error(program(), err)
	}
	_, err = c.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("app"), Handler: aws.String("main.handler")})
	wantCode(t, err, "InvalidParameterValueException", "container image")
	if _, err := c.UpdateFunctionCode(t.Context(), &lambda.UpdateFunctionCodeInput{FunctionName: aws.String("app"), ImageUri: aws.String("registry.example.com/app:1")}); err != nil || program() != ": /app b" {
		t.Error(program(), err)
	}
	// What was built since is taken when the code is to change, and not before.
	f.Built = "bytes"
	if _, err := c.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("app"), MemorySize: aws.Int32(256), ImageConfig: &types.ImageConfig{Command: []string{"c"}}}); err != nil || f.Spec.Image == "bytes" || f.Spec.Settings.Container.Digest != "sha256:"+strings.Repeat("a", 64) {
		t.Errorf("%+v %v", f.Spec, err)
	}
	code := &lambda.UpdateFunctionCodeInput{FunctionName: aws.String("app"), ImageUri: aws.String("registry.example.com/app:1")}
	if _, err := c.UpdateFunctionCode(t.Context(), code); err != nil || f.Spec.Image != "bytes" || f.Spec.Settings.Container.Digest != "sha256:"+strings.Repeat("b", 64) {
		t.Errorf("%+v %v", f.Spec, err)
	}
	f.Built = "small"
	_, err = c.UpdateFunctionCode(t.Context(), code)
	wantCode(t, err, "InvalidParameterValueException", "MemorySize 256 is more than the 128 MB")
	_, err = c.UpdateFunctionCode(t.Context(), &lambda.UpdateFunctionCodeInput{FunctionName: aws.String("app"), ZipFile: []byte("x")})
	wantCode(t, err, "InvalidParameterValueException", "PackageType Zip")
	create(t, c, "zip", nil)
	_, err = c.UpdateFunctionCode(t.Context(), &lambda.UpdateFunctionCodeInput{FunctionName: aws.String("zip"), ImageUri: aws.String("registry.example.com/app:1")})
	wantCode(t, err, "InvalidParameterValueException", "PackageType Image")
}
