package lambda

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"seuss/dispatcher"
	"seuss/dispatcher/admission"
	"seuss/dispatcher/bundle"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
)

// Limits of the operations with code (API reference and "Lambda quotas").
const (
	maxCodeRequest   = 70167211 // a 50 MB archive in base64 and the rest of the request
	maxArchiveBytes  = 50 << 20
	maxConfigRequest = 1 << 20
)

// codeRequest is where a function's code comes from.
type codeRequest struct {
	ZipFile         []byte // base64 in JSON
	S3Bucket        string
	S3Key           string
	S3ObjectVersion string
	ImageUri        string
	SourceKMSKeyArn string

	S3ObjectStorageMode string
}

type createRequest struct {
	settingsRequest
	FunctionName  string
	Code          codeRequest
	Publish       bool
	PackageType   string
	Architectures []string
	Tags          map[string]string
	PublishTo     string

	CodeSigningConfigArn string
	TenancyConfig        json.RawMessage
}

// decode reads a request's JSON. Fields that this service does not know are refused by
// name.
func decode(r *http.Request, limit int64, operation string, v any) error {
	b, err := server.ReadBody(r, limit, operation)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err = d.Decode(v); err == nil {
		if _, after := d.Token(); !errors.Is(after, io.EOF) {
			err = fmt.Errorf("there is more after the JSON value, at byte %d", d.InputOffset())
		}
	}
	switch {
	case err == nil:
		return nil
	case json.Valid(b) && strings.HasPrefix(err.Error(), unknownField): // package json has no type for it
		return server.InvalidParameter("%s has the field %s, which this service does not know: leave it out.", operation, strings.TrimPrefix(err.Error(), unknownField))
	}
	return &server.Refusal{Status: http.StatusBadRequest, Code: "InvalidRequestContentException", Message: "Could not parse request body into json: " + err.Error()}
}

const unknownField = "json: unknown field "

// files unpacks the code of a request.
func (c *codeRequest) files(set *functions.Settings) (map[string][]byte, error) {
	switch {
	case c.S3Bucket+c.S3Key+c.S3ObjectVersion+c.S3ObjectStorageMode != "":
		return nil, server.InvalidParameter("Code from S3 (S3Bucket, S3Key, S3ObjectVersion, S3ObjectStorageMode) is not supported: upload the archive as ZipFile.")
	case c.ImageUri != "":
		return nil, server.InvalidParameter("ImageUri is for functions of PackageType %s; this one's code is an archive, ZipFile.", packageImage)
	case c.SourceKMSKeyArn != "":
		return nil, server.InvalidParameter("SourceKMSKeyArn is not supported: upload the archive as it is.")
	case len(c.ZipFile) == 0:
		return nil, server.InvalidParameter("Please provide a source for function code.")
	case len(c.ZipFile) > maxArchiveBytes:
		return nil, server.TooLarge(maxArchiveBytes, "code upload")
	}
	files, err := bundle.Zip(bytes.NewReader(c.ZipFile), int64(len(c.ZipFile)))
	if err != nil {
		return nil, server.InvalidParameter("Could not unzip uploaded file. Please check your file, then try to upload again: %v", err)
	}
	if len(files) == 0 {
		return nil, server.InvalidParameter("Uploaded file must be a non-empty zip")
	}
	sum := sha256.Sum256(c.ZipFile)
	set.PackageDigest, set.PackageBytes = base64.StdEncoding.EncodeToString(sum[:]), int64(len(c.ZipFile))
	return files, nil
}

// imageOf returns the image that a runtime runs in, and its memory in MiB.
func (s *door) imageOf(runtime string) (string, int, error) {
	image, err := s.Service.RuntimeImage(runtime)
	if err != nil {
		return "", 0, server.InvalidParameter("Value %s at 'runtime' failed to satisfy constraint: %v", runtime, err)
	}
	memory, err := s.Service.ImageMemory(image)
	if err != nil {
		return "", 0, err
	}
	return image, int(memory >> 20), nil
}

func (s *door) createFunction(w http.ResponseWriter, r *http.Request) error {
	var c createRequest
	if err := decode(r, maxCodeRequest, "CreateFunction", &c); err != nil {
		return err
	}
	name, err := s.ParseFunctionName(r, c.FunctionName, "")
	if err = s.answer(name, err); err != nil {
		return err
	}
	switch {
	case name.Qualifier != "":
		return server.InvalidParameter("FunctionName must not have a qualifier.")
	case c.PackageType != "" && c.PackageType != packageZip && c.PackageType != packageImage:
		return server.Validation("packageType", c.PackageType, "Member must satisfy enum value set: [Image, Zip]")
	case c.CodeSigningConfigArn != "":
		return server.InvalidParameter("CodeSigningConfigArn is not supported: %s.", noSigning)
	case asked(c.TenancyConfig):
		return server.InvalidParameter("TenancyConfig is not supported: every invocation has an instance of its own.")
	case c.PackageType == packageImage:
	case c.Handler == nil || *c.Handler == "":
		return server.InvalidParameter("Handler is required for packages of type Zip.")
	case c.Runtime == nil || *c.Runtime == "":
		return server.InvalidParameter("Runtime is required for packages of type Zip.")
	}
	if err := errors.Join(checkArchitectures(c.Architectures), notPublished(c.PublishTo), checkTags(c.Tags)); err != nil {
		return err
	}
	spec := dispatcher.FunctionSpec{Name: name.Key, Create: true, Settings: functions.Settings{
		TimeoutSec: defaultTimeoutSec, MemoryMiB: defaultMemoryMiB, Tags: c.Tags,
	}}
	if c.PackageType == packageImage {
		err = containers{s.Service}.fromContainer(&c, &spec)
	} else {
		err = s.fromArchive(r, &c, &spec)
	}
	if err != nil {
		return err
	}
	arn := s.ARN(name.Key, "")
	if err := (publishedLayers{s}).deployAbove(r, spec); err != nil {
		if e := server.Answer(err, arn); e.Code != "ResourceConflictException" {
			return e
		}
		return &server.Refusal{Status: http.StatusConflict, Code: "ResourceConflictException", Message: "Function already exist: " + functions.NameOf(name.Key)}
	}
	return s.answerDeployment(w, http.StatusCreated, name.Key, c.Publish)
}

// fromArchive makes a deployment of an archive and a runtime.
func (s *door) fromArchive(r *http.Request, c *createRequest, spec *dispatcher.FunctionSpec) error {
	image, memory, err := s.imageOf(*c.Runtime)
	if err != nil {
		return err
	}
	spec.Image = image
	if err := c.apply(functions.NameOf(spec.Name), &spec.Settings, &spec.Handler, memory); err != nil {
		return err
	}
	if spec.Files, err = c.Code.files(&spec.Settings); err == nil && c.Layers != nil {
		err = publishedLayers{s}.useLayers(r, *c.Layers, &spec.Settings, filesBytes(spec.Files))
	}
	return err
}

// answerDeployment describes a function after a change, and publishes it first
// if that was asked for.
func (s *door) answerDeployment(w http.ResponseWriter, status int, name string, publish bool) error {
	f, err := s.Service.Function(name)
	if err == nil && publish {
		f, err = s.Service.Publish(name, "", "", nil)
	}
	if err != nil {
		return server.Answer(err, s.ARN(name, ""))
	}
	qualifier := ""
	if publish {
		qualifier = dispatcher.VersionOf(f.Name)
	}
	server.WriteJSON(w, status, s.configuration(&f, qualifier))
	return nil
}

func (s *door) updateCode(w http.ResponseWriter, r *http.Request) error {
	var u struct {
		codeRequest
		Publish       bool
		DryRun        bool
		RevisionId    string
		Architectures []string
		PublishTo     string
	}
	f, spec, err := s.change(r, maxCodeRequest, "UpdateFunctionCode", &u)
	if err != nil {
		return err
	}
	if err := errors.Join(checkArchitectures(u.Architectures), notPublished(u.PublishTo)); err != nil {
		return err
	}
	name, arn := f.Name, s.ARN(f.Name, "")
	_, warmUp, err := s.Service.FunctionFiles(f)
	if err != nil {
		return server.Answer(err, arn)
	}
	spec.WarmUp, spec.Revision, spec.Snapshot = warmUp, u.RevisionId, "" // its code is other code
	if f.Settings.Container != nil {
		err = containers{s.Service}.newContainer(&u.codeRequest, &spec)
	} else {
		if spec.Files, err = u.files(&spec.Settings); err == nil {
			err = fitsLayers(&spec.Settings, filesBytes(spec.Files))
		}
	}
	if err != nil {
		return err
	}
	if u.DryRun {
		f.Settings = spec.Settings
		server.WriteJSON(w, http.StatusOK, s.configuration(&f, ""))
		return nil
	}
	if err := s.deploy(r, spec); err != nil {
		return server.Answer(err, arn)
	}
	return s.answerDeployment(w, http.StatusOK, name, u.Publish)
}

// deploy needs a machine, and so a slot of the owner's.
func (s *door) deploy(r *http.Request, spec dispatcher.FunctionSpec) error {
	return s.Admission.Once(r.Context(), admission.Work{Operation: admission.Deploy, Function: spec.Name, RequestID: server.RequestIDOf(r)}, func(ctx context.Context) error {
		_, err := s.Service.Deploy(ctx, spec)
		return err
	})
}

// deployAbove is deploy in an image that has the function's layers above the one that is
// named, which is made where there is none yet.
func (s publishedLayers) deployAbove(r *http.Request, spec dispatcher.FunctionSpec) error {
	list, err := s.uses(&spec.Settings)
	switch {
	case err != nil:
		return err
	case len(list) == 0:
		return s.deploy(r, spec)
	}
	return s.Admission.Once(r.Context(), admission.Work{Operation: admission.Deploy, Function: spec.Name, RequestID: server.RequestIDOf(r)}, func(ctx context.Context) error {
		var err error
		if spec.Image, err = s.Service.LayeredImage(ctx, spec.Image, list); err != nil {
			return err
		}
		_, err = s.Service.Deploy(ctx, spec)
		return err
	})
}

// change reads a request that changes a function, and describes the function's
// deployment as it was, but for its files.
func (s *door) change(r *http.Request, limit int64, operation string, request any) (f functions.Function, spec dispatcher.FunctionSpec, err error) {
	name, err := s.unqualified(r)
	if err == nil {
		err = decode(r, limit, operation, request)
	}
	if err != nil {
		return f, spec, err
	}
	if f, err = s.Service.Function(name); err != nil {
		return f, spec, server.Answer(err, s.ARN(name, ""))
	}
	return f, dispatcher.FunctionSpec{Name: f.Name, Handler: f.Handler, Image: f.Image, Imports: f.Imports, Snapshot: f.Snapshot, Lazy: f.Lazy, Settings: f.Settings}, nil
}

func (s *door) updateConfiguration(w http.ResponseWriter, r *http.Request) error {
	var u struct {
		settingsRequest
		RevisionId string
	}
	f, spec, err := s.change(r, maxConfigRequest, "UpdateFunctionConfiguration", &u)
	if err != nil {
		return err
	}
	name, arn := f.Name, s.ARN(f.Name, "")
	if f.Settings.Container != nil {
		if err := noArchive(&u.settingsRequest); err != nil {
			return err
		}
	} else if u.Runtime != nil {
		if spec.Image, _, err = s.imageOf(*u.Runtime); err != nil {
			return err
		}
	}
	memory, err := s.Service.ImageMemory(spec.Image)
	if err != nil {
		return server.Answer(err, arn)
	}
	if err := u.apply(functions.NameOf(name), &spec.Settings, &spec.Handler, int(memory>>20)); err != nil {
		return err
	}
	deploy := s.deploy
	if f.Settings.Container == nil && (u.Layers != nil || u.Runtime != nil && len(spec.Settings.Layers) > 0) {
		if deploy = (publishedLayers{s}).deployAbove; spec.Settings.Runtime == "" {
			return server.InvalidParameter("Layers of a function that was deployed without a Runtime: give the Runtime as well.")
		}
		if spec.Image, _, err = s.imageOf(spec.Settings.Runtime); err != nil {
			return err
		}
		if u.Layers != nil {
			files, _, err := s.Service.FunctionFiles(f)
			if err == nil {
				err = publishedLayers{s}.useLayers(r, *u.Layers, &spec.Settings, filesBytes(files))
			}
			if err != nil {
				return server.Answer(err, arn)
			}
		}
	}
	spec.Revision = u.RevisionId
	anew := u.Layers != nil || u.Handler != nil || u.Runtime != nil || u.Environment != nil
	if f.Settings.Container != nil && (u.ImageConfig != nil || u.SnapStart != nil) {
		anew = true
		if err := (containers{s.Service}).reconfigure(u.ImageConfig, &spec); err != nil {
			return err
		}
	}
	if !anew {
		_, err = s.Service.Configure(name, u.RevisionId, func(set *functions.Settings) { *set = spec.Settings })
	} else if spec.Files, spec.WarmUp, err = s.Service.FunctionFiles(f); err == nil {
		err = deploy(r, spec) // it has to be loaded anew
	}
	if err != nil {
		return server.Answer(err, arn)
	}
	return s.answerDeployment(w, http.StatusOK, name, false)
}

// find returns the deployment that a request names.
func (s *door) find(r *http.Request) (server.FunctionName, functions.Function, error) {
	name, err := s.nameOf(r)
	if err != nil {
		return name, functions.Function{}, err
	}
	arn := s.ARN(name.Key, name.Qualifier)
	deployment, err := s.lookup(name)
	if err != nil {
		return name, functions.Function{}, server.Answer(err, arn)
	}
	f, err := s.Service.Function(deployment)
	if err != nil {
		return name, f, server.Answer(err, arn)
	}
	return name, f, nil
}

func (s *door) getFunction(w http.ResponseWriter, r *http.Request) error {
	name, f, err := s.find(r)
	if err != nil {
		return err
	}
	type code struct {
		RepositoryType   string
		Location         string `json:",omitempty"`
		ImageUri         string `json:",omitempty"`
		ResolvedImageUri string `json:",omitempty"`
	}
	type concurrency struct{ ReservedConcurrentExecutions int }
	answer := struct {
		Configuration *functionConfiguration
		Code          code
		Tags          map[string]string `json:",omitempty"`
		Concurrency   *concurrency      `json:",omitempty"`
	}{Configuration: s.configuration(&f, name.Qualifier), Tags: f.Settings.Tags}
	answer.Code = code{RepositoryType: "S3", Location: codeLocation(r, server.Shown(r, f.Name))}
	if c := f.Settings.Container; c != nil {
		answer.Code = code{RepositoryType: "ECR", ImageUri: c.URI, ResolvedImageUri: resolved(c)}
	}
	if latest, err := s.Service.Function(name.Key); err == nil && latest.Settings.Concurrency != nil {
		answer.Concurrency = &concurrency{*latest.Settings.Concurrency}
	}
	server.WriteJSON(w, http.StatusOK, answer)
	return nil
}

// codeLocation is where getCode serves a deployment's files.
func codeLocation(r *http.Request, deployment string) string {
	host := r.Host
	if host == "" {
		host = "localhost"
	}
	return (&url.URL{Scheme: "http", Host: host, Path: "/v1/functions/" + deployment + "/code", RawPath: "/v1/functions/" + url.PathEscape(deployment) + "/code"}).String()
}

func (s *door) getConfiguration(w http.ResponseWriter, r *http.Request) error {
	name, f, err := s.find(r)
	if err != nil {
		return err
	}
	server.WriteJSON(w, http.StatusOK, s.configuration(&f, name.Qualifier))
	return nil
}

func (s *door) deleteFunction(w http.ResponseWriter, r *http.Request) error {
	name, err := s.nameOf(r)
	if err != nil {
		return err
	}
	switch {
	case name.Qualifier == dispatcher.Latest:
		return server.InvalidParameter("$LATEST version cannot be deleted without deleting the function.")
	case name.Qualifier != "" && !numberPattern.MatchString(name.Qualifier):
		return server.InvalidParameter("Deletion of functions by alias is not permitted: delete the alias.")
	}
	if err := s.Service.RemoveFunction(r.Context(), name.Deployment()); err != nil {
		return server.Answer(err, s.ARN(name.Key, name.Qualifier))
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func checkArchitectures(list []string) error {
	if len(list) > 1 || len(list) == 1 && list[0] != "x86_64" {
		return server.InvalidParameter("Architectures %v are not supported: guests are x86_64.", list)
	}
	return nil
}

func itoa(n int) string { return fmt.Sprint(n) }
