package lambda

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"seuss/dispatcher"
	"seuss/dispatcher/events"
	"seuss/dispatcher/functions"
	_ "seuss/dispatcher/http/native"
	"seuss/dispatcher/http/servertest"
)

// sdk is AWS's own client, pointed at a server. It does not retry: the tests
// look at each answer.
func sdk(url string) *lambda.Client {
	return lambda.New(lambda.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(url), RetryMaxAttempts: 1, HTTPClient: servertest.HTTPClient(),
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
}

func archive(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		f, err := z.Create(files[i])
		if err == nil {
			_, err = io.WriteString(f, files[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func create(t testing.TB, c *lambda.Client, name string, change func(*lambda.CreateFunctionInput)) *lambda.CreateFunctionOutput {
	t.Helper()
	in := &lambda.CreateFunctionInput{
		FunctionName: &name, Handler: aws.String("main.handler"), Runtime: types.RuntimePython311, Role: aws.String("arn:aws:iam::000000000000:role/any"),
		Code: &types.FunctionCode{ZipFile: archive(t, "main.py", "def handler(event, context):\n    return event\n")},
	}
	if change != nil {
		change(in)
	}
	out, err := c.CreateFunction(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// code returns the error name that the SDK read, and what it says.
func code(err error) (string, string) {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode(), api.ErrorMessage()
	}
	return "", fmt.Sprint(err)
}

func wantCode(t *testing.T, err error, want, words string) {
	t.Helper()
	if got, message := code(err); got != want || !strings.Contains(message, words) {
		t.Errorf("error %s: %s; want %s with %q", got, message, want, words)
	}
}

func TestGoSDKLifecycle(t *testing.T) {
	f := servertest.New(t)
	_, url := f.Serve(t, nil)
	c := sdk(url)
	ctx := t.Context()
	made := create(t, c, "hello", func(in *lambda.CreateFunctionInput) {
		in.Description, in.Timeout, in.MemorySize = aws.String("says hello"), aws.Int32(7), aws.Int32(256)
		in.Environment = &types.Environment{Variables: map[string]string{"MODE": "test"}}
		in.Tags = map[string]string{"team": "a"}
	})
	if *made.FunctionName != "hello" || *made.FunctionArn != "arn:aws:lambda:us-east-1:000000000000:function:hello" || *made.Version != "$LATEST" ||
		*made.Timeout != 7 || *made.MemorySize != 256 || made.State != types.StateActive || made.Environment.Variables["MODE"] != "test" || made.CodeSize == 0 || *made.CodeSha256 == "" {
		t.Errorf("%+v", made)
	}
	if f.Spec.Image != dispatcher.DefaultImage() || f.Spec.Settings.TimeoutSec != 7 || f.Spec.Settings.Environment["MODE"] != "test" {
		t.Errorf("deployed %+v", f.Spec)
	}
	// What waits for a function to become active returns at once.
	if err := lambda.NewFunctionActiveV2Waiter(c).Wait(ctx, &lambda.GetFunctionInput{FunctionName: aws.String("hello")}, time.Minute); err != nil {
		t.Error(err)
	}
	got, err := c.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String("arn:aws:lambda:us-east-1:000000000000:function:hello")})
	if err != nil {
		t.Fatal(err)
	}
	if got.Tags["team"] != "a" || *got.Configuration.CodeSha256 != *made.CodeSha256 {
		t.Errorf("%+v", got)
	}
	resp, err := http.Get(*got.Code.Location)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	z, zerr := zip.NewReader(bytes.NewReader(body), int64(len(body)))
	if err != nil || zerr != nil || len(z.File) != 1 || z.File[0].Name != "main.py" {
		t.Errorf("code: %v %v %d bytes", err, zerr, len(body))
	}

	v1, err := c.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: aws.String("hello"), Description: aws.String("first")})
	if err != nil || *v1.Version != "1" || !strings.HasSuffix(*v1.FunctionArn, ":hello:1") {
		t.Fatal(v1, err)
	}
	again, err := c.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: aws.String("hello")})
	if err != nil || *again.Version != "1" {
		t.Error("nothing changed, but there is a new version:", *again.Version, err)
	}
	if _, err := c.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("hello"), Timeout: aws.Int32(9)}); err != nil {
		t.Error(err)
	}
	_, err = c.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("hello"), Timeout: aws.Int32(9), RevisionId: aws.String("old")})
	wantCode(t, err, "PreconditionFailedException", "Revision")
	up, err := c.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: aws.String("hello"), ZipFile: archive(t, "main.py", "# two"), Publish: true})
	if err != nil || *up.Version != "2" || *up.CodeSha256 == *made.CodeSha256 || *up.Timeout != 9 {
		t.Errorf("%+v %v", up, err)
	}
	alias, err := c.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: aws.String("hello"), Name: aws.String("live"), FunctionVersion: aws.String("1")})
	if err != nil || !strings.HasSuffix(*alias.AliasArn, ":hello:live") {
		t.Fatal(alias, err)
	}
	_, err = c.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: aws.String("hello"), Name: aws.String("live"), FunctionVersion: aws.String("1")})
	wantCode(t, err, "ResourceConflictException", "live")
	_, err = c.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("hello"), Qualifier: aws.String("1")})
	wantCode(t, err, "ResourceConflictException", "live")
	for qualifier, want := range map[string]string{"": "$LATEST", "$LATEST": "$LATEST", "1": "1", "2": "2", "live": "1"} {
		in := &lambda.InvokeInput{FunctionName: aws.String("hello"), Payload: []byte(`{"a":1}`)}
		if qualifier != "" {
			in.Qualifier = &qualifier
		}
		out, err := c.Invoke(ctx, in)
		if err != nil || *out.ExecutedVersion != want || out.StatusCode != 200 {
			t.Errorf("qualifier %q: %+v %v", qualifier, out, err)
		}
	}
	if _, err := c.UpdateAlias(ctx, &lambda.UpdateAliasInput{FunctionName: aws.String("hello"), Name: aws.String("live"), FunctionVersion: aws.String("2"),
		RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"1": 0.5}}}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for range 100 {
		out, err := c.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("hello:live")})
		if err != nil {
			t.Fatal(err)
		}
		seen[*out.ExecutedVersion]++
	}
	if seen["1"] == 0 || seen["2"] == 0 {
		t.Error("the alias does not share its traffic:", seen)
	}
	a, err := c.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: aws.String("hello"), Name: aws.String("live")})
	if err != nil || *a.FunctionVersion != "2" || a.RoutingConfig.AdditionalVersionWeights["1"] != 0.5 {
		t.Errorf("%+v %v", a, err)
	}
	aliases, err := c.ListAliases(ctx, &lambda.ListAliasesInput{FunctionName: aws.String("hello")})
	versions, verr := c.ListVersionsByFunction(ctx, &lambda.ListVersionsByFunctionInput{FunctionName: aws.String("hello")})
	if err != nil || verr != nil || len(aliases.Aliases) != 1 || len(versions.Versions) != 3 {
		t.Errorf("%+v %v %+v %v", aliases, err, versions, verr)
	}
	if _, err := c.DeleteAlias(ctx, &lambda.DeleteAliasInput{FunctionName: aws.String("hello"), Name: aws.String("live")}); err != nil {
		t.Error(err)
	}
	if _, err := c.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("hello"), Qualifier: aws.String("1")}); err != nil {
		t.Error(err)
	}
	if _, err := c.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("hello")}); err != nil {
		t.Error(err)
	}
	_, err = c.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String("hello"), Qualifier: aws.String("2")})
	wantCode(t, err, "ResourceNotFoundException", "Function not found: arn:aws:lambda:us-east-1:000000000000:function:hello:2")
	var typed *types.ResourceNotFoundException
	if !errors.As(err, &typed) {
		t.Errorf("%T is not the SDK's typed error", err)
	}
}

func TestGoSDKInvoke(t *testing.T) {
	f := servertest.New(t)
	_, url := f.Serve(t, func(o *servertest.Options) { o.Delay = func(int) time.Duration { return time.Millisecond } })
	c := sdk(url)
	ctx := t.Context()
	f.Put(t, "echo")
	client := base64.StdEncoding.EncodeToString([]byte(`{"custom":{"k":"v"}}`))
	out, err := c.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("000000000000:function:echo"), Payload: []byte(` {"n": [1]} `), LogType: types.LogTypeTail, ClientContext: &client})
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Echo   json.RawMessage
		ID     string `json:"request_id"`
		ARN    string
		Client struct{ Custom map[string]string }
	}
	if err := json.Unmarshal(out.Payload, &doc); err != nil || string(doc.Echo) != `{"n":[1]}` || doc.Client.Custom["k"] != "v" || doc.ARN != "arn:aws:lambda:us-east-1:000000000000:function:echo" {
		t.Errorf("%s %v", out.Payload, err)
	}
	log, err := base64.StdEncoding.DecodeString(*out.LogResult)
	for _, want := range []string{"START RequestId: " + doc.ID + " Version: $LATEST\n", "version $LATEST\n", "END RequestId: ", "REPORT RequestId: " + doc.ID + "\tDuration: 1.50 ms\tBilled Duration: 2 ms\tMemory Size: "} {
		if err != nil || !strings.Contains(string(log), want) {
			t.Errorf("log tail has no %q: %v\n%s", want, err, log)
		}
	}
	// The report is of the version that ran, not of what its function is by now.
	if _, err := f.Configure("echo", "", func(s *functions.Settings) { s.MemoryMiB = 192 }); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Publish("echo", "", "", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Configure("echo", "", func(s *functions.Settings) { s.MemoryMiB = 256 }); err != nil {
		t.Fatal(err)
	}
	for qualifier, want := range map[string]string{"1": "192 MB", "$LATEST": "256 MB"} {
		out, err = c.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("echo"), Qualifier: aws.String(qualifier), Payload: []byte(`{}`), LogType: types.LogTypeTail})
		if err != nil {
			t.Fatal(err)
		}
		if log, err := base64.StdEncoding.DecodeString(*out.LogResult); err != nil || !strings.Contains(string(log), "Memory Size: "+want) {
			t.Errorf("%s: %s, %v", qualifier, log, err)
		}
	}
	out, err = c.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("echo"), Payload: []byte(`{"print": 10000}`), LogType: types.LogTypeTail})
	if err != nil {
		t.Fatal(err)
	}
	if log, err := base64.StdEncoding.DecodeString(*out.LogResult); err != nil || len(log) != 4096 || !strings.Contains(string(log), "REPORT") {
		t.Errorf("log tail of %d bytes, %v", len(log), err)
	}
	out, err = c.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("echo"), Payload: []byte(`{"fail": "no"}`)})
	if err != nil || out.FunctionError == nil || *out.FunctionError != "Unhandled" || out.StatusCode != 200 || out.LogResult != nil ||
		!strings.Contains(string(out.Payload), `"errorMessage":"no","errorType":"ValueError"`) {
		t.Errorf("%+v %v %s", out, err, out.Payload)
	}
	out, err = c.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("echo"), InvocationType: types.InvocationTypeDryRun})
	if err != nil || out.StatusCode != 204 || len(out.Payload) != 0 {
		t.Errorf("dry run: %+v %v", out, err)
	}
	done := make(chan string, 10)
	f.OnInvoke = func(_ context.Context, r dispatcher.Request) (*dispatcher.Result, error) {
		done <- string(r.Event)
		return &dispatcher.Result{Error: &dispatcher.FunctionError{Type: "E"}}, nil
	}
	out, err = c.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("echo"), InvocationType: types.InvocationTypeEvent, Payload: []byte(`{"e":1}`)})
	if err != nil || out.StatusCode != 202 || len(out.Payload) != 0 {
		t.Errorf("event: %+v %v", out, err)
	}
	for range events.Attempts { // it fails, and is tried twice more
		if got := <-done; got != `{"e":1}` {
			t.Errorf("event %s", got)
		}
	}
}

func TestGoSDKRefusals(t *testing.T) {
	f := servertest.New(t)
	_, url := f.Serve(t, nil)
	c := sdk(url)
	ctx := t.Context()
	f.Put(t, "echo")
	invoke := func(name, payload string, change func(*lambda.InvokeInput)) error {
		in := &lambda.InvokeInput{FunctionName: &name, Payload: []byte(payload)}
		if change != nil {
			change(in)
		}
		_, err := c.Invoke(ctx, in)
		return err
	}
	wantCode(t, invoke("echo", `{"a":`, nil), "InvalidRequestContentException", "Could not parse request body into json")
	wantCode(t, invoke("nobody", `{}`, nil), "ResourceNotFoundException", "function:nobody")
	wantCode(t, invoke("echo", `{}`, func(in *lambda.InvokeInput) { in.Qualifier = aws.String("7") }), "ResourceNotFoundException", "function:echo:7")
	wantCode(t, invoke("echo", `{}`, func(in *lambda.InvokeInput) { in.Qualifier = aws.String("green") }), "ResourceNotFoundException", "function:echo:green")
	wantCode(t, invoke("echo:1", `{}`, func(in *lambda.InvokeInput) { in.Qualifier = aws.String("2") }), "InvalidParameterValueException", "derived qualifier")
	wantCode(t, invoke("../../etc/passwd", `{}`, nil), "ValidationException", "functionName")
	wantCode(t, invoke("arn:aws:lambda:eu-west-1:000000000000:function:echo", `{}`, nil), "ResourceNotFoundException", "region")
	wantCode(t, invoke("echo", `"`+strings.Repeat("a", maxEventSync)+`"`, nil), "RequestTooLargeException", "6291456 bytes for the InvokeFunction operation")
	wantCode(t, invoke("echo", `"`+strings.Repeat("a", maxEventAsync)+`"`, func(in *lambda.InvokeInput) { in.InvocationType = types.InvocationTypeEvent }), "RequestTooLargeException", "1048576")
	if err := invoke("echo", `"`+strings.Repeat("a", maxEventSync-2)+`"`, nil); err != nil {
		t.Errorf("an event of exactly the limit: %v", err)
	}

	bad := func(change func(*lambda.CreateFunctionInput)) error {
		in := &lambda.CreateFunctionInput{FunctionName: aws.String("new"), Handler: aws.String("main.handler"), Runtime: types.RuntimePython311, Role: aws.String("r"),
			Code: &types.FunctionCode{ZipFile: archive(t, "main.py", "x = 1")}}
		change(in)
		_, err := c.CreateFunction(ctx, in)
		return err
	}
	for words, change := range map[string]func(*lambda.CreateFunctionInput){
		"nodejs20.x":      func(in *lambda.CreateFunctionInput) { in.Runtime = types.RuntimeNodejs20x },
		"Could not unzip": func(in *lambda.CreateFunctionInput) { in.Code.ZipFile = []byte("PK") },
		"clean path":      func(in *lambda.CreateFunctionInput) { in.Code.ZipFile = archive(t, "../up.py", "x") },
		"S3": func(in *lambda.CreateFunctionInput) {
			in.Code = &types.FunctionCode{S3Bucket: aws.String("b"), S3Key: aws.String("k")}
		},
		"Layers":            func(in *lambda.CreateFunctionInput) { in.Layers = []string{"l"} },
		"arm64":             func(in *lambda.CreateFunctionInput) { in.Architectures = []types.Architecture{types.ArchitectureArm64} },
		"MemorySize 512":    func(in *lambda.CreateFunctionInput) { in.MemorySize = aws.Int32(512) },
		"The code does not": func(in *lambda.CreateFunctionInput) { in.Code.ZipFile = archive(t, "main.py", "does not compile") },
		"is reserved": func(in *lambda.CreateFunctionInput) {
			in.Environment = &types.Environment{Variables: map[string]string{"AWS_LAMBDA_RUNTIME_API": "x"}}
		},
		"at most 4096": func(in *lambda.CreateFunctionInput) {
			in.Environment = &types.Environment{Variables: map[string]string{"BIG": strings.Repeat("x", 5000)}}
		},
	} {
		err := bad(change)
		got, message := code(err)
		if got != "InvalidParameterValueException" && got != "ValidationException" || !strings.Contains(message, words) {
			t.Errorf("%s: %s: %s", words, got, message)
		}
	}
	wantCode(t, bad(func(in *lambda.CreateFunctionInput) { in.FunctionName = aws.String("echo") }), "ResourceConflictException", "Function already exist: echo")
	wantCode(t, bad(func(in *lambda.CreateFunctionInput) { in.Timeout = aws.Int32(901) }), "ValidationException", "timeout")
	wantCode(t, bad(func(in *lambda.CreateFunctionInput) { in.Handler = aws.String("no dot") }), "ValidationException", "handler")
	if _, err := f.Function("new"); !errors.Is(err, dispatcher.ErrUnknownFunction) {
		t.Errorf("a refused function is there: %v", err)
	}
	_, err := c.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("echo"), Qualifier: aws.String("$LATEST")})
	wantCode(t, err, "InvalidParameterValueException", "$LATEST")
	_, err = c.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: aws.String("echo"), Name: aws.String("12"), FunctionVersion: aws.String("$LATEST")})
	wantCode(t, err, "ValidationException", "12")
	_, err = c.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: aws.String("echo"), Name: aws.String("live"), FunctionVersion: aws.String("3")})
	wantCode(t, err, "ResourceNotFoundException", "")
}

func TestGoSDKThrottles(t *testing.T) {
	f := servertest.New(t)
	_, url := f.Serve(t, nil)
	c := sdk(url)
	f.Put(t, "echo")
	if _, err := c.PutFunctionConcurrency(t.Context(), &lambda.PutFunctionConcurrencyInput{FunctionName: aws.String("echo"), ReservedConcurrentExecutions: aws.Int32(0)}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("echo")})
	var throttled *types.TooManyRequestsException
	if !errors.As(err, &throttled) || throttled.Reason != types.ThrottleReasonReservedFunctionConcurrentInvocationLimitExceeded || aws.ToString(throttled.RetryAfterSeconds) != "1" {
		t.Errorf("%v %+v", err, throttled)
	}
	got, err := c.GetFunctionConcurrency(t.Context(), &lambda.GetFunctionConcurrencyInput{FunctionName: aws.String("echo")})
	if err != nil || got.ReservedConcurrentExecutions == nil || *got.ReservedConcurrentExecutions != 0 {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := c.DeleteFunctionConcurrency(t.Context(), &lambda.DeleteFunctionConcurrencyInput{FunctionName: aws.String("echo")}); err != nil {
		t.Error(err)
	}
	if _, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("echo")}); err != nil {
		t.Error(err)
	}
}

func TestGoSDKPages(t *testing.T) {
	f := servertest.New(t)
	_, url := f.Serve(t, nil)
	c := sdk(url)
	for n := range 120 {
		f.Put(t, fmt.Sprintf("f%03d", n))
	}
	pages, names := 0, map[string]bool{}
	for p := lambda.NewListFunctionsPaginator(c, &lambda.ListFunctionsInput{}); p.HasMorePages(); pages++ {
		out, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range out.Functions {
			names[*f.FunctionName] = true
		}
	}
	if pages != 3 || len(names) != 120 {
		t.Errorf("%d functions on %d pages", len(names), pages)
	}
}
