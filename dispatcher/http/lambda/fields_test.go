package lambda

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"seuss/dispatcher/http/server"
	"seuss/dispatcher/http/servertest"
)

// TestOperations: every operation of AWS's model is offered, or refused with what there is in
// its place, under its own path.
func TestOperations(t *testing.T) {
	f := servertest.New(t)
	s, url := f.Serve(t, nil)
	c := sdk(url)
	offered := offeredOperations(s)
	for _, o := range operations {
		switch reason := instead[o.name]; {
		case offered[o.name] && reason != "":
			t.Errorf("%s is offered and refused", o.name)
		case offered[o.name]:
		case reason == "":
			t.Errorf("%s (%s %s) is neither offered nor is there a word on what to use instead", o.name, o.method, o.path)
		default:
			if reflect.ValueOf(c).MethodByName(o.name).Kind() != reflect.Func {
				t.Errorf("the SDK has no %s", o.name)
				continue
			}
			_, err := call(t, c, o.name, fill(reflect.ValueOf(c).MethodByName(o.name).Type().In(1).Elem()))
			wantCode(t, err, "UnknownOperationException", o.name+" is not supported: "+reason)
		}
	}
	for name := range instead {
		if !slices.ContainsFunc(operations, func(o operation) bool { return o.name == name }) {
			t.Errorf("%s is none of AWS's operations", name)
		}
	}
}

// offeredOperations are those that a route of the server takes.
func offeredOperations(s *server.Server) map[string]bool {
	plain := func(pattern string) string { return variable.ReplaceAllString(pattern, "{}") }
	routes := map[string]bool{}
	for _, pattern := range s.Routes() {
		routes[plain(pattern)] = true
	}
	offered := map[string]bool{}
	for _, o := range operations {
		if pattern, query := o.pattern(); routes[plain(pattern)] && query == "" {
			offered[o.name] = true
		}
	}
	return offered
}

// call calls an operation by its name; in is its input, a struct.
func call(t *testing.T, c *lambda.Client, operation string, in reflect.Value) (out reflect.Value, err error) {
	t.Helper()
	p := reflect.New(in.Type())
	p.Elem().Set(in)
	results := reflect.ValueOf(c).MethodByName(operation).Call([]reflect.Value{reflect.ValueOf(t.Context()), p})
	err, _ = results[1].Interface().(error)
	// A client's streams share a buffer: one is read to its end before the next begins.
	if streamed, ok := results[0].Interface().(*lambda.InvokeWithResponseStreamOutput); ok && err == nil {
		stream := streamed.GetStream()
		for range stream.Events() {
		}
		err = stream.Close()
	}
	return results[0], err
}

// fill makes a value of which everything is set to something.
func fill(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch t.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		v.Elem().Set(fill(t.Elem()))
	case reflect.Struct:
		for i := range t.NumField() {
			if t.Field(i).IsExported() {
				v.Field(i).Set(fill(t.Field(i).Type))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(t, 1, 1))
		v.Index(0).Set(fill(t.Elem()))
	case reflect.Map:
		v.Set(reflect.MakeMap(t))
		v.SetMapIndex(fill(t.Key()), fill(t.Elem()))
	case reflect.String:
		v.SetString("x1")
		if values := v.MethodByName("Values"); values.IsValid() { // the last one of an enum
			all := values.Call(nil)[0]
			v.Set(all.Index(all.Len() - 1))
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint8:
		v.SetUint('x')
	case reflect.Float64, reflect.Float32:
		v.SetFloat(0.5)
	case reflect.Interface: // io.Reader
		v.Set(reflect.ValueOf(strings.NewReader("x")))
	}
	return v
}

// TestFieldsAreHonouredOrRefused sets each field of each operation's request to something:
// it is refused by its name, or named here with a value that is taken. A field that a later
// SDK brings fails the test until it is decided.
func TestFieldsAreHonouredOrRefused(t *testing.T) {
	f := servertest.New(t)
	s, url := f.Serve(t, nil)
	c := sdk(url)
	zip := archive(t, "main.py", "def handler(event, context):\n    return event\n")
	honoured := map[string]any{ // nil: what fill makes
		"CreateFunction.Architectures": []types.Architecture{types.ArchitectureX8664}, "CreateFunction.Description": nil, "CreateFunction.Environment": nil,
		"CreateFunction.EphemeralStorage": &types.EphemeralStorage{Size: aws.Int32(512)}, "CreateFunction.MemorySize": aws.Int32(200), "CreateFunction.PackageType": types.PackageTypeZip,
		"CreateFunction.Publish": nil, "CreateFunction.SnapStart": &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions}, "CreateFunction.Tags": nil, "CreateFunction.Timeout": nil,
		"CreateFunction.TracingConfig": &types.TracingConfig{Mode: types.TracingModePassThrough}, "CreateFunction.Role": aws.String("another"),
		"UpdateFunctionConfiguration.Description": nil, "UpdateFunctionConfiguration.Environment": nil, "UpdateFunctionConfiguration.EphemeralStorage": &types.EphemeralStorage{Size: aws.Int32(512)},
		"UpdateFunctionConfiguration.Handler": aws.String("main.other"), "UpdateFunctionConfiguration.MemorySize": aws.Int32(200), "UpdateFunctionConfiguration.Role": nil,
		"UpdateFunctionConfiguration.Runtime": types.RuntimePython311, "UpdateFunctionConfiguration.SnapStart": &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions},
		"UpdateFunctionConfiguration.Timeout": nil, "UpdateFunctionConfiguration.TracingConfig": &types.TracingConfig{Mode: types.TracingModePassThrough},
		"UpdateFunctionConfiguration.RevisionId": "conflict", "UpdateFunctionCode.RevisionId": "conflict", "PublishVersion.RevisionId": "conflict", "UpdateAlias.RevisionId": "conflict",
		"AddPermission.RevisionId": "conflict", "RemovePermission.RevisionId": "conflict", "PublishVersion.CodeSha256": "conflict",
		"UpdateFunctionCode.Architectures": []types.Architecture{types.ArchitectureX8664}, "UpdateFunctionCode.DryRun": nil, "UpdateFunctionCode.Publish": nil,
		"PublishVersion.Description": nil,
		"CreateAlias.Description":    nil, "CreateAlias.RoutingConfig": &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"1": 0.1}},
		"UpdateAlias.Description": nil, "UpdateAlias.FunctionVersion": aws.String("1"), "UpdateAlias.RoutingConfig": &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"1": 0.1}},
		"Invoke.ClientContext": aws.String("e30="), "Invoke.InvocationType": types.InvocationTypeRequestResponse, "Invoke.LogType": nil, "Invoke.Payload": []byte("1"), "Invoke.Qualifier": aws.String("live"),
		"InvokeWithResponseStream.ClientContext": aws.String("e30="), "InvokeWithResponseStream.InvocationType": types.ResponseStreamingInvocationTypeRequestResponse,
		"InvokeWithResponseStream.LogType": nil, "InvokeWithResponseStream.Payload": []byte("1"), "InvokeWithResponseStream.Qualifier": aws.String("live"),
		"AddPermission.FunctionUrlAuthType": types.FunctionUrlAuthTypeNone, "AddPermission.InvokedViaFunctionUrl": "with", "AddPermission.Qualifier": aws.String("live"),
		"GetPolicy.Qualifier": "absent", "RemovePermission.Qualifier": "absent",
		"PutFunctionEventInvokeConfig.MaximumEventAgeInSeconds": aws.Int32(60), "PutFunctionEventInvokeConfig.MaximumRetryAttempts": nil, "PutFunctionEventInvokeConfig.Qualifier": aws.String("live"),
		"UpdateFunctionEventInvokeConfig.MaximumEventAgeInSeconds": aws.Int32(60), "UpdateFunctionEventInvokeConfig.MaximumRetryAttempts": nil, "UpdateFunctionEventInvokeConfig.Qualifier": "absent",
		"GetFunctionEventInvokeConfig.Qualifier": "absent", "DeleteFunctionEventInvokeConfig.Qualifier": "absent",
		"CreateFunctionUrlConfig.Cors": &types.Cors{AllowOrigins: []string{"*"}}, "CreateFunctionUrlConfig.Qualifier": aws.String("live"), "CreateFunctionUrlConfig.InvokeMode": types.InvokeModeResponseStream,
		"UpdateFunctionUrlConfig.AuthType": nil, "UpdateFunctionUrlConfig.InvokeMode": types.InvokeModeResponseStream, "UpdateFunctionUrlConfig.Cors": &types.Cors{AllowMethods: []string{"GET"}}, "UpdateFunctionUrlConfig.Qualifier": "absent",
		"GetFunctionUrlConfig.Qualifier": "absent", "DeleteFunctionUrlConfig.Qualifier": "absent", "ListFunctionUrlConfigs.Marker": aws.String("0"), "ListFunctionUrlConfigs.MaxItems": nil,
		"ListFunctionEventInvokeConfigs.Marker": aws.String("0"), "ListFunctionEventInvokeConfigs.MaxItems": nil,
		"ListFunctions.FunctionVersion": nil, "ListFunctions.Marker": aws.String("0"), "ListFunctions.MaxItems": nil,
		"ListVersionsByFunction.Marker": aws.String("0"), "ListVersionsByFunction.MaxItems": nil, "ListAliases.FunctionVersion": nil, "ListAliases.Marker": aws.String("0"), "ListAliases.MaxItems": nil,
		"GetFunction.Qualifier": aws.String("live"), "GetFunctionConfiguration.Qualifier": aws.String("live"), "DeleteFunction.Qualifier": "conflict",
	}
	used, b := map[string]bool{}, &fieldBench{t, c, zip, 0}
	for operation := range offeredOperations(s) {
		base := b.prepared(operation)
		if _, err := call(t, c, operation, base); err != nil {
			t.Errorf("%s with no more than it needs: %v", operation, err)
			continue
		}
		for i := range base.NumField() {
			field := base.Type().Field(i)
			name := operation + "." + field.Name
			in := b.prepared(operation)
			value, known := honoured[name]
			if !field.IsExported() || !in.Field(i).IsZero() && !known {
				continue
			}
			used[name] = true
			special, _ := value.(string)
			switch {
			case value == nil, special == "conflict", special == "absent", special == "with":
				in.Field(i).Set(fill(field.Type))
			default:
				in.Field(i).Set(reflect.ValueOf(value))
			}
			if special == "with" {
				in.FieldByName("FunctionUrlAuthType").SetZero()
				in.FieldByName("Action").Set(reflect.ValueOf(aws.String(actionInvoke)))
			}
			_, err := call(t, c, operation, in)
			got, message := code(err)
			switch {
			case special == "conflict" || special == "absent":
				if err == nil {
					t.Errorf("%s is taken with a value that is wrong", name)
				}
			case known && err != nil:
				t.Errorf("%s is refused: %s: %s", name, got, message)
			case !known && err == nil:
				t.Errorf("%s is accepted and dropped: honour it or refuse it by name", name)
			case !known && !strings.Contains(strings.ToLower(message), strings.ToLower(field.Name)) && !named(field.Type, message):
				t.Errorf("%s is refused, but not by its name: %s: %s", name, got, message)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(honoured)) {
		if !used[name] {
			t.Errorf("%s is no field of the SDK's", name)
		}
	}
}
