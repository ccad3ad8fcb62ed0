package lambda

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"seuss/dispatcher/http/servertest"
)

// resources are what Terraform's AWS provider has of a function, with the calls that it makes,
// in its order, as its source has them (hashicorp/terraform-provider-aws, in its package of
// the service lambda). Each of its attributes that is compared with what is written in a
// configuration is in state.
type resources struct {
	*testing.T
	*lambda.Client
	name string
}

func (r resources) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// settled is what the provider waits for, which it looks at every few seconds.
func (r resources) settled() {
	r.Helper()
	out, err := r.GetFunction(r.Context(), &lambda.GetFunctionInput{FunctionName: &r.name})
	r.must(err)
	if out.Configuration.State != types.StateActive || out.Configuration.LastUpdateStatus != types.LastUpdateStatusSuccessful {
		r.Fatalf("a plan would wait: %s, %s", out.Configuration.State, out.Configuration.LastUpdateStatus)
	}
}

// state is what the provider reads in a plan.
func (r resources) state() map[string]any {
	r.Helper()
	ctx, s := r.Context(), map[string]any{}
	f, err := r.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &r.name})
	r.must(err)
	c := f.Configuration
	for _, name := range []string{"Architectures", "CodeSha256", "DeadLetterConfig", "Description", "Environment", "EphemeralStorage", "FileSystemConfigs", "FunctionArn", "Handler", "KMSKeyArn", "LastModified",
		"Layers", "LoggingConfig", "MemorySize", "PackageType", "Role", "Runtime", "SigningJobArn", "SigningProfileVersionArn", "SnapStart", "CodeSize", "Timeout", "TracingConfig", "VpcConfig"} {
		s[name] = reflect.ValueOf(c).Elem().FieldByName(name).Interface()
	}
	s["image_uri"], s["tags"], s["reserved"] = f.Code.ImageUri, f.Tags, f.Concurrency
	pages, last := lambda.NewListVersionsByFunctionPaginator(r.Client, &lambda.ListVersionsByFunctionInput{FunctionName: &r.name, MaxItems: aws.Int32(10000)}), ""
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		r.must(err)
		if n := len(page.Versions); n > 0 && page.NextMarker == nil {
			last = aws.ToString(page.Versions[n-1].Version)
			s["qualified_arn"] = page.Versions[n-1].FunctionArn
		}
	}
	s["version"] = last
	signing, err := r.GetFunctionCodeSigningConfig(ctx, &lambda.GetFunctionCodeSigningConfigInput{FunctionName: &r.name})
	r.must(err)
	s["code_signing_config_arn"] = aws.ToString(signing.CodeSigningConfigArn)
	tags, err := r.ListTags(ctx, &lambda.ListTagsInput{Resource: c.FunctionArn})
	r.must(err)
	if !maps.Equal(tags.Tags, f.Tags) {
		r.Errorf("tags are %v and %v", tags.Tags, f.Tags)
	}
	alias, err := r.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: &r.name, Name: aws.String("live")})
	r.must(err)
	s["alias"] = []any{alias.AliasArn, alias.Description, alias.FunctionVersion, alias.Name, alias.RoutingConfig}
	url, err := r.GetFunctionUrlConfig(ctx, &lambda.GetFunctionUrlConfigInput{FunctionName: &r.name, Qualifier: aws.String("live")})
	r.must(err)
	s["url"] = []any{url.AuthType, url.Cors, url.FunctionArn, url.FunctionUrl, url.InvokeMode}
	policy, err := r.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: &r.name, Qualifier: aws.String("live")})
	r.must(err)
	var doc struct{ Statement []map[string]any }
	r.must(json.Unmarshal([]byte(aws.ToString(policy.Policy)), &doc))
	s["permission"] = doc.Statement
	events, err := r.GetFunctionEventInvokeConfig(ctx, &lambda.GetFunctionEventInvokeConfigInput{FunctionName: &r.name})
	r.must(err)
	s["events"] = []any{events.MaximumEventAgeInSeconds, events.MaximumRetryAttempts, events.DestinationConfig}
	return s
}

// planned reads twice: a plan after an apply that nobody has come between has no difference.
func (r resources) planned(what string) map[string]any {
	r.Helper()
	first, second := r.state(), r.state()
	for name := range first {
		if !reflect.DeepEqual(first[name], second[name]) {
			r.Errorf("%s: a second read of %s gives %v, the first %v", what, name, second[name], first[name])
		}
	}
	return first
}

// TestTerraformSequence makes the calls of Terraform's AWS provider for a function with
// versions, an alias, a URL, a permission, event settings and tags: apply, a plan without
// difference, updates of code, configuration, tags and alias, destroy.
func TestTerraformSequence(t *testing.T) {
	f := servertest.New(t)
	_, url := f.Serve(t, nil)
	r := resources{t, sdk(url), "shop"}
	ctx, live := t.Context(), aws.String("live")
	// A provider begins with what is not there.
	_, err := r.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &r.name})
	wantCode(t, err, "ResourceNotFoundException", "")
	zip := archive(t, "main.py", "def handler(event, context):\n    return event\n")
	_, err = r.CreateFunction(ctx, &lambda.CreateFunctionInput{
		Code: &types.FunctionCode{ZipFile: zip}, Description: aws.String(""), FunctionName: &r.name, MemorySize: aws.Int32(128), PackageType: types.PackageTypeZip, Publish: true,
		Role: aws.String("arn:aws:iam::000000000000:role/shop"), Timeout: aws.Int32(3), Tags: map[string]string{"Name": "shop", "stage": "test"},
		Architectures: []types.Architecture{types.ArchitectureX8664}, Environment: &types.Environment{Variables: map[string]string{"MODE": "test"}},
		EphemeralStorage: &types.EphemeralStorage{Size: aws.Int32(512)}, Handler: aws.String("main.handler"), Runtime: types.RuntimePython311,
		TracingConfig: &types.TracingConfig{Mode: types.TracingModePassThrough}, LoggingConfig: &types.LoggingConfig{LogFormat: types.LogFormatText, LogGroup: aws.String("/aws/lambda/shop")},
		SnapStart: &types.SnapStart{ApplyOn: types.SnapStartApplyOnNone},
		VpcConfig: &types.VpcConfig{Ipv6AllowedForDualStack: aws.Bool(false), SecurityGroupIds: []string{}, SubnetIds: []string{}},
	})
	r.must(err)
	r.settled()
	made, err := r.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &r.name})
	r.must(err)
	arn := made.Configuration.FunctionArn // what other resources name the function by
	_, err = r.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: &r.name, ReservedConcurrentExecutions: aws.Int32(2)})
	r.must(err)
	_, err = r.CreateAlias(ctx, &lambda.CreateAliasInput{Description: aws.String(""), FunctionName: arn, FunctionVersion: aws.String("1"), Name: live, RoutingConfig: &types.AliasRoutingConfiguration{}})
	r.must(err)
	_, err = r.CreateFunctionUrlConfig(ctx, &lambda.CreateFunctionUrlConfigInput{AuthType: types.FunctionUrlAuthTypeNone, FunctionName: &r.name, InvokeMode: types.InvokeModeBuffered, Qualifier: live,
		Cors: &types.Cors{AllowCredentials: aws.Bool(false), AllowOrigins: []string{"https://shop.example"}, AllowMethods: []string{"GET"}, MaxAge: aws.Int32(300)}})
	r.must(err)
	_, err = r.AddPermission(ctx, &lambda.AddPermissionInput{Action: aws.String("lambda:InvokeFunctionUrl"), FunctionName: &r.name, FunctionUrlAuthType: types.FunctionUrlAuthTypeNone,
		Principal: aws.String("*"), StatementId: aws.String("FunctionURLAllowPublicAccess"), Qualifier: live})
	r.must(err)
	_, err = r.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{FunctionName: &r.name, MaximumEventAgeInSeconds: aws.Int32(60), MaximumRetryAttempts: aws.Int32(0)})
	r.must(err)
	applied := r.planned("after the first apply")
	if applied["version"] != "1" || applied["code_signing_config_arn"] != "" || aws.ToInt32(applied["reserved"].(*types.Concurrency).ReservedConcurrentExecutions) != 2 {
		t.Errorf("applied: %v", applied)
	}
	if alias := applied["alias"].([]any); alias[4].(*types.AliasRoutingConfiguration) != nil {
		t.Errorf("an alias without routing has %v, which a plan would take for a difference", alias[4])
	}
	if none := applied["SnapStart"].(*types.SnapStartResponse); none.ApplyOn != types.SnapStartApplyOnNone {
		t.Error(none)
	}

	// Another configuration: the code's digest stays, and no second version comes of nothing.
	_, err = r.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &r.name, Timeout: aws.Int32(9), Environment: &types.Environment{Variables: map[string]string{}}, LoggingConfig: &types.LoggingConfig{LogFormat: types.LogFormatText}})
	r.must(err)
	r.settled()
	published, err := r.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &r.name})
	r.must(err)
	if version, err := r.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: published.FunctionArn, Qualifier: published.Version}); err != nil || version.LastUpdateStatus != types.LastUpdateStatusSuccessful {
		t.Fatal(err, version)
	}
	again, err := r.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &r.name})
	r.must(err)
	configured := r.planned("after another configuration")
	if aws.ToString(published.Version) != "2" || aws.ToString(again.Version) != "2" || configured["version"] != "2" || !reflect.DeepEqual(configured["CodeSha256"], applied["CodeSha256"]) {
		t.Errorf("versions %s, %s, %v; code %v", *published.Version, *again.Version, configured["version"], configured["CodeSha256"])
	}
	if e := configured["Environment"].(*types.EnvironmentResponse); e != nil {
		t.Errorf("an environment without variables is %v", e)
	}
	// Other code.
	_, err = r.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &r.name, Architectures: []types.Architecture{types.ArchitectureX8664}, ZipFile: archive(t, "main.py", "def handler(event, context):\n    return 1\n")})
	r.must(err)
	r.settled()
	_, err = r.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &r.name})
	r.must(err)
	if coded := r.planned("after other code"); coded["version"] != "3" || reflect.DeepEqual(coded["CodeSha256"], applied["CodeSha256"]) {
		t.Errorf("version %v, code %v", coded["version"], coded["CodeSha256"])
	}
	// Tags, concurrency, the alias with a share of its traffic and without, URL, events.
	_, err = r.UntagResource(ctx, &lambda.UntagResourceInput{Resource: arn, TagKeys: []string{"stage"}})
	r.must(err)
	_, err = r.TagResource(ctx, &lambda.TagResourceInput{Resource: arn, Tags: map[string]string{"team": "a"}})
	r.must(err)
	_, err = r.DeleteFunctionConcurrency(ctx, &lambda.DeleteFunctionConcurrencyInput{FunctionName: &r.name})
	r.must(err)
	for _, weights := range []map[string]float64{{"2": 0.1}, nil} {
		_, err = r.UpdateAlias(ctx, &lambda.UpdateAliasInput{Description: aws.String(""), FunctionName: arn, FunctionVersion: aws.String("3"), Name: live, RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: weights}})
		r.must(err)
		alias := r.planned("after another alias")["alias"].([]any)
		if routing := alias[4].(*types.AliasRoutingConfiguration); (routing != nil) != (weights != nil) || routing != nil && !maps.Equal(routing.AdditionalVersionWeights, weights) {
			t.Errorf("weights %v are %v", weights, routing)
		}
	}
	_, err = r.UpdateFunctionUrlConfig(ctx, &lambda.UpdateFunctionUrlConfigInput{FunctionName: &r.name, Qualifier: live, InvokeMode: types.InvokeModeResponseStream, Cors: &types.Cors{}})
	r.must(err)
	_, err = r.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{FunctionName: &r.name, MaximumRetryAttempts: aws.Int32(2)})
	r.must(err)
	last := r.planned("after the last apply")
	if u := last["url"].([]any); u[1].(*types.Cors) != nil || u[4] != types.InvokeModeResponseStream {
		t.Errorf("url: %v", u)
	}
	if !reflect.DeepEqual(last["tags"], map[string]string{"Name": "shop", "team": "a"}) || last["reserved"].(*types.Concurrency) != nil {
		t.Errorf("tags %v, concurrency %v", last["tags"], last["reserved"])
	}

	// Destroy: in the order of what hangs on what, and each looks whether it is gone.
	_, err = r.RemovePermission(ctx, &lambda.RemovePermissionInput{FunctionName: &r.name, StatementId: aws.String("FunctionURLAllowPublicAccess"), Qualifier: live})
	r.must(err)
	_, err = r.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: &r.name, Qualifier: live})
	wantCode(t, err, "ResourceNotFoundException", "")
	_, err = r.DeleteFunctionEventInvokeConfig(ctx, &lambda.DeleteFunctionEventInvokeConfigInput{FunctionName: &r.name})
	r.must(err)
	_, err = r.DeleteFunctionUrlConfig(ctx, &lambda.DeleteFunctionUrlConfigInput{FunctionName: &r.name, Qualifier: live})
	r.must(err)
	_, err = r.DeleteAlias(ctx, &lambda.DeleteAliasInput{FunctionName: arn, Name: live})
	r.must(err)
	_, err = r.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: &r.name, Name: live})
	wantCode(t, err, "ResourceNotFoundException", "")
	_, err = r.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &r.name})
	r.must(err)
	_, err = r.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &r.name})
	wantCode(t, err, "ResourceNotFoundException", "")
	if list, err := r.ListFunctions(ctx, &lambda.ListFunctionsInput{FunctionVersion: types.FunctionVersionAll}); err != nil || slices.ContainsFunc(list.Functions, func(c types.FunctionConfiguration) bool { return aws.ToString(c.FunctionName) == r.name }) {
		t.Errorf("what is left: %v %v", list, err)
	}
}
