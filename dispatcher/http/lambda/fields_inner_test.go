package lambda

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"seuss/dispatcher/http/servertest"
)

// fieldBench makes requests for the operations that are offered.
type fieldBench struct {
	*testing.T
	*lambda.Client
	zip []byte
	n   int // functions
}

// prepared makes a function with a version and an alias, and the least input for an operation.
func (b *fieldBench) prepared(operation string) reflect.Value {
	b.n++
	name := fmt.Sprintf("f%d", b.n)
	if operation != "CreateFunction" {
		create(b.T, b.Client, name, func(in *lambda.CreateFunctionInput) { in.Publish = true })
		if _, err := b.Client.CreateAlias(b.Context(), &lambda.CreateAliasInput{FunctionName: &name, Name: aws.String("live"), FunctionVersion: aws.String("$LATEST")}); err != nil {
			b.Fatal(err)
		}
		if _, err := b.Client.PutFunctionEventInvokeConfig(b.Context(), &lambda.PutFunctionEventInvokeConfigInput{FunctionName: &name}); err != nil {
			b.Fatal(err)
		}
		if _, err := b.Client.AddPermission(b.Context(), &lambda.AddPermissionInput{FunctionName: &name, StatementId: aws.String("there"), Action: aws.String(actionInvoke), Principal: aws.String("000000000000")}); err != nil {
			b.Fatal(err)
		}
	}
	if strings.Contains(operation, "Url") && operation != "CreateFunctionUrlConfig" {
		if _, err := b.Client.CreateFunctionUrlConfig(b.Context(), &lambda.CreateFunctionUrlConfigInput{FunctionName: &name, AuthType: types.FunctionUrlAuthTypeNone}); err != nil {
			b.Fatal(err)
		}
	}
	if strings.Contains(operation, "Layer") {
		return b.preparedLayer(operation, name)
	}
	in := reflect.New(reflect.ValueOf(b.Client).MethodByName(operation).Type().In(1).Elem()).Elem()
	required := map[string]any{
		"FunctionName": name, "Role": "r", "Name": "live", "StatementId": "there", "FunctionVersion": "$LATEST",
		"Resource": "arn:aws:lambda:us-east-1:000000000000:function:" + name,
	}
	switch operation {
	case "CreateFunction":
		in.FieldByName("Code").Set(reflect.ValueOf(&types.FunctionCode{ZipFile: b.zip}))
		required["Handler"] = "main.handler"
		in.FieldByName("Runtime").Set(reflect.ValueOf(types.RuntimePython311))
	case "UpdateFunctionCode":
		in.FieldByName("ZipFile").Set(reflect.ValueOf(b.zip))
		delete(required, "Role")
	case "UpdateFunctionConfiguration", "ListFunctions", "ListAliases":
		delete(required, "Role")
		delete(required, "FunctionVersion")
	case "CreateAlias":
		required["Name"] = "next"
	case "AddPermission":
		required["StatementId"], required["Action"], required["Principal"] = "new", actionURL, "*"
		in.FieldByName("FunctionUrlAuthType").Set(reflect.ValueOf(types.FunctionUrlAuthTypeNone))
	case "CreateFunctionUrlConfig":
		in.FieldByName("AuthType").Set(reflect.ValueOf(types.FunctionUrlAuthTypeNone))
	case "TagResource":
		in.FieldByName("Tags").Set(reflect.ValueOf(map[string]string{"a": "b"}))
	case "UntagResource":
		in.FieldByName("TagKeys").Set(reflect.ValueOf([]string{"a"}))
	case "PutFunctionConcurrency":
		in.FieldByName("ReservedConcurrentExecutions").Set(reflect.ValueOf(aws.Int32(1)))
	}
	for field, value := range required {
		if v := in.FieldByName(field); v.IsValid() && v.Type() == reflect.TypeFor[*string]() {
			v.Set(reflect.ValueOf(aws.String(value.(string))))
		}
	}
	return in
}

// preparedLayer is prepared for an operation on a layer, which has a version.
func (b *fieldBench) preparedLayer(operation, name string) reflect.Value {
	content := &types.LayerVersionContentInput{ZipFile: b.zip}
	v, err := b.Client.PublishLayerVersion(b.Context(), &lambda.PublishLayerVersionInput{LayerName: &name, Content: content})
	if err != nil {
		b.Fatal(err)
	}
	in := reflect.New(reflect.ValueOf(b.Client).MethodByName(operation).Type().In(1).Elem()).Elem()
	for field, value := range map[string]any{"LayerName": &name, "VersionNumber": aws.Int64(v.Version), "Arn": v.LayerVersionArn, "Content": content} {
		if at := in.FieldByName(field); at.IsValid() {
			at.Set(reflect.ValueOf(value))
		}
	}
	return in
}

// named: a refusal names one of the fields in a field.
func named(t reflect.Type, message string) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Struct {
		for i := range t.NumField() {
			if t.Field(i).IsExported() && strings.Contains(message, t.Field(i).Name) {
				return true
			}
		}
	}
	return false
}

// TestFieldsOfFields sets each field of each structure in an operation's request, alone: it is
// refused by its name or that of what holds it, or named here with what is taken.
func TestFieldsOfFields(t *testing.T) {
	f := servertest.New(t)
	s, url := f.Serve(t, nil)
	c := sdk(url)
	b := &fieldBench{t, c, archive(t, "main.py", "def handler(event, context):\n    return event\n"), 0}
	taken := map[string]any{ // nil: what fill makes
		"PublishLayerVersion.Content.ZipFile": b.zip,
		"CreateFunction.Code.ZipFile":         b.zip, "CreateFunction.Environment.Variables": nil, "UpdateFunctionConfiguration.Environment.Variables": nil,
		"CreateAlias.RoutingConfig.AdditionalVersionWeights": map[string]float64{"1": 0.1}, "UpdateAlias.RoutingConfig.AdditionalVersionWeights": map[string]float64{"1": 0.1},
	}
	for _, operation := range []string{"CreateFunction", "UpdateFunctionConfiguration"} {
		taken[operation+".EphemeralStorage.Size"], taken[operation+".SnapStart.ApplyOn"] = aws.Int32(512), types.SnapStartApplyOnPublishedVersions
		taken[operation+".TracingConfig.Mode"], taken[operation+".LoggingConfig.LogFormat"] = types.TracingModePassThrough, types.LogFormatText
	}
	for _, operation := range []string{"CreateFunctionUrlConfig", "UpdateFunctionUrlConfig"} {
		for field, value := range map[string]any{"AllowCredentials": nil, "AllowHeaders": nil, "AllowMethods": []string{"GET"}, "AllowOrigins": nil, "ExposeHeaders": nil, "MaxAge": nil} {
			taken[operation+".Cors."+field] = value
		}
	}
	used := map[string]bool{}
	for operation := range offeredOperations(s) {
		var base reflect.Value
		for i := range reflect.TypeOf(c).NumMethod() {
			if m := reflect.TypeOf(c).Method(i); m.Name == operation {
				base = reflect.New(m.Type.In(2).Elem()).Elem()
			}
		}
		for i := range base.NumField() {
			outer := base.Type().Field(i)
			inner := outer.Type
			for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
				inner = inner.Elem()
			}
			if inner.Kind() != reflect.Struct || !outer.IsExported() || outer.Name == "ResultMetadata" {
				continue
			}
			for j := range inner.NumField() {
				field := inner.Field(j)
				if !field.IsExported() {
					continue
				}
				name := strings.Join([]string{operation, outer.Name, field.Name}, ".")
				value, known := taken[name]
				used[name] = true
				in := b.prepared(operation)
				if current := in.Field(i); (outer.Name == "Code" || outer.Name == "Content") && field.Name != "ZipFile" {
					current.Set(reflect.New(inner)) // instead of an archive
				} else if current.IsZero() && current.Kind() == reflect.Pointer {
					current.Set(reflect.New(inner))
				} else if current.Kind() == reflect.Slice {
					current.Set(reflect.MakeSlice(outer.Type, 1, 1))
				}
				at := in.Field(i)
				if at.Kind() == reflect.Slice {
					at = at.Index(0)
				}
				if at.Kind() == reflect.Pointer {
					at = at.Elem()
				}
				if value != nil {
					at.Field(j).Set(reflect.ValueOf(value))
				} else {
					at.Field(j).Set(fill(field.Type))
				}
				_, err := call(t, c, operation, in)
				got, message := code(err)
				lower := strings.ToLower(message)
				switch {
				case known && err != nil:
					t.Errorf("%s is refused: %s: %s", name, got, message)
				case !known && err == nil:
					t.Errorf("%s is accepted and dropped: honour it or refuse it by name", name)
				case !known && !slices.ContainsFunc([]string{field.Name, outer.Name}, func(word string) bool { return strings.Contains(lower, strings.ToLower(word)) }):
					t.Errorf("%s is refused, but not by its name: %s: %s", name, got, message)
				}
			}
		}
	}
	for name := range taken {
		if !used[name] {
			t.Errorf("%s is no field of the SDK's", name)
		}
	}
}

// Nested fields that are accepted in part.
func TestFieldsInFields(t *testing.T) {
	f := servertest.New(t)
	_, url := f.Serve(t, nil)
	c := sdk(url)
	create(t, c, "f", nil)
	for words, in := range map[string]*lambda.UpdateFunctionConfigurationInput{
		"LogFormat":                 {LoggingConfig: &types.LoggingConfig{LogFormat: types.LogFormatJson}},
		"LogGroup":                  {LoggingConfig: &types.LoggingConfig{LogGroup: aws.String("/other")}},
		"ApplicationLogLevel":       {LoggingConfig: &types.LoggingConfig{ApplicationLogLevel: types.ApplicationLogLevelDebug}},
		"SystemLogLevel":            {LoggingConfig: &types.LoggingConfig{SystemLogLevel: types.SystemLogLevelWarn}},
		"TracingConfig":             {TracingConfig: &types.TracingConfig{Mode: types.TracingModeActive}},
		"EphemeralStorage of 10240": {EphemeralStorage: &types.EphemeralStorage{Size: aws.Int32(10240)}},
		"applyOn":                   {SnapStart: &types.SnapStart{ApplyOn: "Everything"}},
	} {
		in.FunctionName = aws.String("f")
		_, err := c.UpdateFunctionConfiguration(t.Context(), in)
		if got, message := code(err); got != "InvalidParameterValueException" && got != "ValidationException" || !strings.Contains(message, words) {
			t.Errorf("%s: %s: %s", words, got, message)
		}
	}
	out, err := c.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("f"),
		LoggingConfig: &types.LoggingConfig{LogFormat: types.LogFormatText, LogGroup: aws.String("/aws/lambda/f")}, SnapStart: &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions}})
	if err != nil || out.SnapStart.ApplyOn != types.SnapStartApplyOnPublishedVersions || out.SnapStart.OptimizationStatus != types.SnapStartOptimizationStatusOff {
		t.Error(err, out)
	}
	version, err := c.PublishVersion(t.Context(), &lambda.PublishVersionInput{FunctionName: aws.String("f")})
	if err != nil || version.SnapStart.OptimizationStatus != types.SnapStartOptimizationStatusOn {
		t.Error(err, version)
	}
}
