package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"seuss/dispatcher"
	"seuss/dispatcher/events"
	"seuss/dispatcher/http/servertest"
)

// TestGoSDKTools makes the calls that tools make beside those that deploy and invoke.
func TestGoSDKTools(t *testing.T) {
	f := servertest.New(t)
	_, url := f.Serve(t, nil)
	c, ctx, name := sdk(url), t.Context(), aws.String("hello")
	arn := create(t, c, "hello", func(in *lambda.CreateFunctionInput) { in.Tags = map[string]string{"team": "a"} }).FunctionArn
	if _, err := c.TagResource(ctx, &lambda.TagResourceInput{Resource: arn, Tags: map[string]string{"cost": "ü 1", "old": ""}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.UntagResource(ctx, &lambda.UntagResourceInput{Resource: arn, TagKeys: []string{"old", "never"}}); err != nil {
		t.Fatal(err)
	}
	got, err := c.ListTags(ctx, &lambda.ListTagsInput{Resource: arn})
	if err != nil || len(got.Tags) != 2 || got.Tags["cost"] != "ü 1" || got.Tags["team"] != "a" {
		t.Error(got, err)
	}
	_, err = c.TagResource(ctx, &lambda.TagResourceInput{Resource: arn, Tags: map[string]string{"aws:x": "y"}})
	wantCode(t, err, "InvalidParameterValueException", "aws:")
	many := map[string]string{}
	for n := range maxTags {
		many[strings.Repeat("x", n+1)] = ""
	}
	_, err = c.TagResource(ctx, &lambda.TagResourceInput{Resource: arn, Tags: many})
	wantCode(t, err, "InvalidParameterValueException", "at most 50 tags")
	_, err = c.ListTags(ctx, &lambda.ListTagsInput{Resource: aws.String("arn:aws:lambda:us-east-1:000000000000:function:nobody")})
	wantCode(t, err, "ResourceNotFoundException", "nobody")

	signing, err := c.GetFunctionCodeSigningConfig(ctx, &lambda.GetFunctionCodeSigningConfigInput{FunctionName: name})
	if err != nil || signing.CodeSigningConfigArn != nil || *signing.FunctionName != "hello" {
		t.Error(signing, err)
	}
	account, err := c.GetAccountSettings(ctx, &lambda.GetAccountSettingsInput{})
	if err != nil || account.AccountUsage.FunctionCount != 1 || account.AccountUsage.TotalCodeSize == 0 || account.AccountLimit.ConcurrentExecutions != dispatcher.DefaultPoolSize ||
		account.AccountLimit.TotalCodeSize <= account.AccountUsage.TotalCodeSize || account.AccountLimit.CodeSizeZipped != maxArchiveBytes {
		t.Errorf("%+v %+v %v", account.AccountLimit, account.AccountUsage, err)
	}

	_, err = c.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: name})
	wantCode(t, err, "ResourceNotFoundException", "has no policy")
	allow := func(change func(*lambda.AddPermissionInput)) error {
		in := &lambda.AddPermissionInput{FunctionName: name, StatementId: aws.String("public"), Action: aws.String(actionURL), Principal: aws.String("*"), FunctionUrlAuthType: types.FunctionUrlAuthTypeNone}
		change(in)
		_, err := c.AddPermission(ctx, in)
		return err
	}
	if err := allow(func(*lambda.AddPermissionInput) {}); err != nil {
		t.Fatal(err)
	}
	for words, change := range map[string]func(*lambda.AddPermissionInput){
		"events.amazonaws.com": func(in *lambda.AddPermissionInput) {
			in.Principal, in.Action, in.FunctionUrlAuthType = aws.String("events.amazonaws.com"), aws.String(actionInvoke), ""
		},
		"123456789012":       func(in *lambda.AddPermissionInput) { in.Principal = aws.String("123456789012") },
		"lambda:GetFunction": func(in *lambda.AddPermissionInput) { in.Action = aws.String("lambda:GetFunction") },
		"SourceArn":          func(in *lambda.AddPermissionInput) { in.SourceArn = aws.String("arn:aws:s3:::b") },
		`"*" is not supported`: func(in *lambda.AddPermissionInput) {
			in.Action, in.FunctionUrlAuthType = aws.String(actionInvoke), ""
		},
	} {
		wantCode(t, allow(func(in *lambda.AddPermissionInput) { in.StatementId = aws.String("other"); change(in) }), "InvalidParameterValueException", words)
	}
	policy, err := c.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: name})
	var doc struct {
		Version   string
		Statement []struct {
			Sid, Effect, Principal, Action, Resource string
			Condition                                map[string]map[string]string
		}
	}
	if err != nil || json.Unmarshal([]byte(*policy.Policy), &doc) != nil || len(doc.Statement) != 1 || doc.Statement[0].Resource != *arn || doc.Statement[0].Condition["StringEquals"]["lambda:FunctionUrlAuthType"] != "NONE" {
		t.Error(policy, err)
	}
	if _, err := c.RemovePermission(ctx, &lambda.RemovePermissionInput{FunctionName: name, StatementId: aws.String("public")}); err != nil {
		t.Error(err)
	}
	_, err = c.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: name, KMSKeyArn: aws.String("arn:aws:kms:us-east-1:000000000000:key/k")})
	wantCode(t, err, "InvalidParameterValueException", "KMSKeyArn")
}

// What hangs on a function survives a deployment and its daemon, and goes with what it hangs
// on; a version has none of it.
func TestAttachmentsStay(t *testing.T) {
	f := servertest.New(t)
	_, url := f.Serve(t, nil)
	c, ctx, name := sdk(url), t.Context(), aws.String("hello")
	create(t, c, "hello", func(in *lambda.CreateFunctionInput) { in.Publish = true })
	for _, a := range []string{"live", "next"} {
		if _, err := c.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: name, Name: &a, FunctionVersion: aws.String("1")}); err != nil {
			t.Fatal(err)
		}
	}
	for _, qualifier := range []string{"$LATEST", "live", "next", "1"} {
		out, err := c.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{FunctionName: name, Qualifier: &qualifier, MaximumRetryAttempts: aws.Int32(0)})
		if err != nil || !strings.HasSuffix(*out.FunctionArn, ":hello:"+qualifier) || time.Since(*out.LastModified) > time.Hour {
			t.Fatal(qualifier, err, out)
		}
	}
	for _, qualifier := range []string{"2", "other"} {
		_, err := c.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{FunctionName: name, Qualifier: &qualifier})
		wantCode(t, err, "ResourceNotFoundException", qualifier)
	}
	list := func() string {
		out, err := c.ListFunctionEventInvokeConfigs(ctx, &lambda.ListFunctionEventInvokeConfigsInput{FunctionName: name})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, config := range out.FunctionEventInvokeConfigs {
			names = append(names, (*config.FunctionArn)[strings.LastIndex(*config.FunctionArn, ":")+1:])
		}
		return strings.Join(names, " ")
	}
	if got := list(); got != "$LATEST 1 live next" {
		t.Error(got)
	}
	if _, err := c.DeleteAlias(ctx, &lambda.DeleteAliasInput{FunctionName: name, Name: aws.String("next")}); err != nil {
		t.Error(err)
	}
	published, err := c.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: name})
	if err != nil || *published.Version != "1" {
		t.Error("what hangs on a function makes another version of it:", published, err)
	}
	if got := list(); got != "$LATEST 1 live" {
		t.Error(got)
	}
	_, err = c.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: name})
	if err != nil {
		t.Error(err)
	}
	create(t, c, "hello", nil)
	if got := list(); got != "" {
		t.Errorf("of a function that was removed %s is left", got)
	}
}

// sent are the events that a function was invoked with.
type sent struct {
	sync.Mutex
	by map[string][]string
}

// TestDestinations: what a function asks for its events is done, and who is named is told
// what came of them, once each.
func TestDestinations(t *testing.T) {
	f := servertest.New(t)
	got := sent{by: map[string][]string{}}
	f.OnInvoke = func(_ context.Context, r dispatcher.Request) (*dispatcher.Result, error) {
		got.Lock()
		defer got.Unlock()
		got.by[r.Function] = append(got.by[r.Function], string(r.Event))
		result := &dispatcher.Result{RequestID: r.RequestID, Output: []byte(`{"done":true}`)}
		if strings.Contains(string(r.Event), `"fail"`) && r.Function == "work" {
			result.Output, result.Error = nil, &dispatcher.FunctionError{Type: "ValueError", Message: "no", StackTrace: []string{}}
		}
		if strings.Contains(string(r.Event), `"huge"`) && r.Function == "work" {
			result.Output = []byte(`"` + strings.Repeat("x", events.MaxPayload) + `"`)
		}
		return result, nil
	}
	s, url := f.Serve(t, func(o *servertest.Options) { o.Delay = func(int) time.Duration { return time.Millisecond } })
	c, ctx := sdk(url), t.Context()
	for _, name := range []string{"work", "failures", "successes", "loop"} {
		create(t, c, name, nil)
	}
	to := func(name string) *string { return aws.String("arn:aws:lambda:us-east-1:000000000000:function:" + name) }
	put := func(name string, retries int32, d *types.DestinationConfig) error {
		_, err := c.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{FunctionName: &name, MaximumRetryAttempts: &retries, DestinationConfig: d})
		return err
	}
	if err := errors.Join(put("work", 1, &types.DestinationConfig{OnFailure: &types.OnFailure{Destination: to("failures")}, OnSuccess: &types.OnSuccess{Destination: to("successes")}}),
		put("loop", 0, &types.DestinationConfig{OnSuccess: &types.OnSuccess{Destination: to("loop")}})); err != nil {
		t.Fatal(err)
	}
	for words, destination := range map[string]string{"sqs": "arn:aws:sqs:us-east-1:000000000000:q", "nobody": *to("nobody"), "eu-west-1": "arn:aws:lambda:eu-west-1:000000000000:function:work"} {
		wantCode(t, put("work", 1, &types.DestinationConfig{OnFailure: &types.OnFailure{Destination: &destination}}), "InvalidParameterValueException", words)
	}
	send := func(name, event string) {
		if out, err := c.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, InvocationType: types.InvocationTypeEvent, Payload: []byte(event)}); err != nil || out.StatusCode != 202 {
			t.Fatal(out, err)
		}
	}
	send("work", `{"fail":1}`)
	send("work", `{"ok":1}`)
	send("work", `{"huge":1}`)
	send("loop", `{}`)
	for s.Events.Len() > 0 {
		time.Sleep(time.Millisecond)
	}
	got.Lock()
	defer got.Unlock()
	if n := len(got.by["work"]); n != 4 { // one of them failed and was tried once more
		t.Errorf("%d attempts, want 4", n)
	}
	if n := len(got.by["loop"]); n != 1+events.MaxHops {
		t.Errorf("a loop went on for %d events, want %d", n, 1+events.MaxHops)
	}
	type told struct {
		Version        string
		RequestContext struct {
			RequestId, FunctionArn, Condition string
			ApproximateInvokeCount            int
		}
		RequestPayload  json.RawMessage
		ResponseContext struct {
			StatusCode                     int
			ExecutedVersion, FunctionError string
		}
		ResponsePayload json.RawMessage
	}
	var failure told
	if len(got.by["failures"]) != 1 || json.Unmarshal([]byte(got.by["failures"][0]), &failure) != nil || failure.Version != "1.0" || failure.RequestContext.Condition != "RetriesExhausted" ||
		failure.RequestContext.ApproximateInvokeCount != 2 || failure.RequestContext.FunctionArn != *to("work:$LATEST") || failure.RequestContext.RequestId == "" || string(failure.RequestPayload) != `{"fail":1}` ||
		failure.ResponseContext.FunctionError != "Unhandled" || !strings.Contains(string(failure.ResponsePayload), `"errorType":"ValueError"`) {
		t.Errorf("%s", got.by["failures"])
	}
	if len(got.by["successes"]) != 2 {
		t.Fatalf("%.200s", got.by["successes"])
	}
	for _, text := range got.by["successes"] {
		var success told
		if err := json.Unmarshal([]byte(text), &success); err != nil || success.RequestContext.Condition != "Success" || success.ResponseContext.FunctionError != "" || success.ResponseContext.ExecutedVersion != "$LATEST" {
			t.Errorf("%.300s %v", text, err)
		}
		if want := map[bool]string{true: `null`, false: `{"done":true}`}[string(success.RequestPayload) == `{"huge":1}`]; string(success.ResponsePayload) != want {
			t.Errorf("%.300s, want %s", success.ResponsePayload, want)
		}
	}
}
