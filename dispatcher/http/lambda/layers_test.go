package lambda

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"seuss/dispatcher"
	"seuss/dispatcher/bundle"
	"seuss/dispatcher/http/servertest"
)

const layerPrefix = "arn:aws:lambda:us-east-1:000000000000:layer:"

// TestGoSDKLayers publishes layers with AWS's client, looks at them, gives them to functions
// and takes them away again.
func TestGoSDKLayers(t *testing.T) {
	f := servertest.New(t)
	_, url := f.Serve(t, nil)
	c, ctx := sdk(url), t.Context()
	publish := func(name string, zip []byte) *lambda.PublishLayerVersionOutput {
		t.Helper()
		out, err := c.PublishLayerVersion(ctx, &lambda.PublishLayerVersionInput{
			LayerName: &name, Description: aws.String("some fonts"), LicenseInfo: aws.String("MIT"), Content: &types.LayerVersionContentInput{ZipFile: zip},
			CompatibleRuntimes: []types.Runtime{types.RuntimePython311}, CompatibleArchitectures: []types.Architecture{types.ArchitectureX8664},
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	zip := archive(t, "python/fonts.py", "NAME = 'serif'\n")
	one := publish("fonts", zip)
	if one.Version != 1 || *one.LayerVersionArn != layerPrefix+"fonts:1" || *one.LayerArn != layerPrefix+"fonts" || one.Content.CodeSize != int64(len(zip)) || *one.LicenseInfo != "MIT" {
		t.Errorf("%+v", one)
	}
	two, other := publish("fonts", archive(t, "python/fonts.py", "NAME = 'sans'\n")), publish("tools", zip)
	list, err := c.ListLayers(ctx, &lambda.ListLayersInput{})
	if err != nil || len(list.Layers) != 2 || *list.Layers[0].LayerName != "fonts" || list.Layers[0].LatestMatchingVersion.Version != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	if none, err := c.ListLayers(ctx, &lambda.ListLayersInput{CompatibleRuntime: types.RuntimeNodejs20x}); err != nil || len(none.Layers) != 0 {
		t.Errorf("%+v, %v", none, err)
	}
	versions, err := c.ListLayerVersions(ctx, &lambda.ListLayerVersionsInput{LayerName: aws.String(layerPrefix + "fonts"), MaxItems: aws.Int32(1)})
	if err != nil || len(versions.LayerVersions) != 1 || versions.LayerVersions[0].Version != 2 || versions.NextMarker == nil {
		t.Errorf("%+v, %v", versions, err)
	}
	byARN, err := c.GetLayerVersionByArn(ctx, &lambda.GetLayerVersionByArnInput{Arn: one.LayerVersionArn})
	if err != nil || byARN.Version != 1 || *byARN.Content.CodeSha256 != *one.Content.CodeSha256 {
		t.Fatalf("%+v, %v", byARN, err)
	}
	resp, err := http.Get(*byARN.Content.Location)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(b, zip) {
		t.Errorf("%d bytes at %s, %v", len(b), *byARN.Content.Location, err)
	}

	made := create(t, c, "hello", func(in *lambda.CreateFunctionInput) {
		in.Layers = []string{*one.LayerVersionArn, *other.LayerVersionArn}
	})
	if len(made.Layers) != 2 || *made.Layers[0].Arn != *one.LayerVersionArn || made.Layers[0].CodeSize != int64(len(zip)) || f.Spec.Image != dispatcher.DefaultImage()+"+fonts:1+tools:1" {
		t.Errorf("%+v in %s", made.Layers, f.Spec.Image)
	}
	if _, err := c.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("hello"), Timeout: aws.Int32(9)}); err != nil || len(f.Spec.Settings.Layers) != 2 {
		t.Errorf("with another timeout it has %+v, %v", f.Spec.Settings.Layers, err)
	}
	if _, err := c.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("hello"), Layers: []string{*two.LayerVersionArn}}); err != nil || f.Spec.Image != dispatcher.DefaultImage()+"+fonts:2" {
		t.Errorf("in %s, %v", f.Spec.Image, err)
	}
	// What functions have, they keep.
	if _, err := c.DeleteLayerVersion(ctx, &lambda.DeleteLayerVersionInput{LayerName: aws.String("fonts"), VersionNumber: aws.Int64(2)}); err != nil {
		t.Error(err)
	}
	if got, err := c.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String("hello")}); err != nil || len(got.Configuration.Layers) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := c.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: aws.String("hello"), ZipFile: archive(t, "main.py", "def handler(e, c):\n    return 1\n")}); err != nil || f.Spec.Image != dispatcher.DefaultImage()+"+fonts:2" {
		t.Errorf("in %s, %v", f.Spec.Image, err)
	}
	_, err = c.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("hello"), Runtime: types.RuntimePython311})
	wantCode(t, err, "InvalidParameterValueException", "fonts:2 was deleted")
	if got, err := c.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("hello"), Layers: []string{}}); err != nil || len(got.Layers) != 0 || f.Spec.Image != dispatcher.DefaultImage() {
		t.Errorf("%+v in %s, %v", got, f.Spec.Image, err)
	}
	if three := publish("fonts", zip); three.Version != 3 { // no number is given twice
		t.Errorf("version %d", three.Version)
	}
}

// TestGoSDKLayersRefused: what is no layer, or not the caller's, is refused by name.
func TestGoSDKLayersRefused(t *testing.T) {
	f := servertest.New(t)
	_, url := f.Serve(t, nil)
	c, ctx := sdk(url), t.Context()
	publish := func(name string, content types.LayerVersionContentInput) error {
		_, err := c.PublishLayerVersion(ctx, &lambda.PublishLayerVersionInput{LayerName: &name, Content: &content})
		return err
	}
	const parameter = "InvalidParameterValueException"
	wantCode(t, publish("a", types.LayerVersionContentInput{ZipFile: []byte("no zip")}), parameter, "not a usable layer archive")
	wantCode(t, publish("a", types.LayerVersionContentInput{ZipFile: archive(t, "../x", "y")}), parameter, "not a clean path")
	wantCode(t, publish("a", types.LayerVersionContentInput{ZipFile: archive(t, "big", strings.Repeat("0", bundle.MaxUnpacked+1))}), parameter, "unpacked")
	wantCode(t, publish("a", types.LayerVersionContentInput{}), parameter, "ZipFile")
	wantCode(t, publish("arn:aws:lambda:us-east-1:111111111111:layer:a", types.LayerVersionContentInput{ZipFile: archive(t, "x", "y")}), parameter, "its owner's alone")
	_, err := c.PublishLayerVersion(ctx, &lambda.PublishLayerVersionInput{
		LayerName: aws.String("a"), Content: &types.LayerVersionContentInput{ZipFile: archive(t, "x", "y")}, CompatibleArchitectures: slices.Repeat([]types.Architecture{types.ArchitectureX8664}, 10_000),
	})
	wantCode(t, err, parameter, "at most 2") // else its description would be larger than can be read
	for i := range 6 {
		if err := publish(fmt.Sprint("l", i), types.LayerVersionContentInput{ZipFile: archive(t, "x", strings.Repeat("y", 60<<20))}); err != nil {
			t.Fatal(err)
		}
	}
	with := func(arns ...string) error {
		_, err := c.CreateFunction(ctx, &lambda.CreateFunctionInput{
			FunctionName: aws.String("f"), Handler: aws.String("main.handler"), Runtime: types.RuntimePython311, Role: aws.String("r"), Layers: arns,
			Code: &types.FunctionCode{ZipFile: archive(t, "main.py", "def handler(e, c): pass\n")},
		})
		return err
	}
	var all []string
	for i := range 6 {
		all = append(all, fmt.Sprintf("%sl%d:1", layerPrefix, i))
	}
	wantCode(t, with(all...), parameter, "at most 5")
	wantCode(t, with(all[:5]...), parameter, "unzipped")
	wantCode(t, with(all[0], all[0]), parameter, "two versions of the layer l0")
	wantCode(t, with(layerPrefix+"l0:7"), parameter, "l0:7")
	wantCode(t, with("arn:aws:lambda:us-east-1:111111111111:layer:x:1"), parameter, "its owner's alone")
	_, err = c.AddLayerVersionPermission(ctx, &lambda.AddLayerVersionPermissionInput{LayerName: aws.String("l0"), VersionNumber: aws.Int64(1), StatementId: aws.String("s"), Action: aws.String("lambda:GetLayerVersion"), Principal: aws.String("*")})
	wantCode(t, err, "UnknownOperationException", "a layer is its owner's alone")
	_, err = c.GetLayerVersion(ctx, &lambda.GetLayerVersionInput{LayerName: aws.String("l0"), VersionNumber: aws.Int64(9)})
	wantCode(t, err, "ResourceNotFoundException", "l0")
}
