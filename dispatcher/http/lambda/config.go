package lambda

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"seuss/dispatcher"
	"seuss/dispatcher/contracts"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
)

// Defaults and ranges of a function's configuration (API reference,
// CreateFunction).
const (
	defaultTimeoutSec = 3
	maxTimeoutSec     = 900
	defaultMemoryMiB  = 128
	maxMemoryMiB      = 10240
	maxDescription    = 256
	maxEnvironment    = 4 << 10
)

// functionConfiguration is Lambda's FunctionConfiguration.
type functionConfiguration struct {
	FunctionName  string
	FunctionArn   string
	Runtime       string // "" of a container image
	Role          string
	Handler       string // likewise
	CodeSize      int64
	Description   string
	Timeout       int
	MemorySize    int
	LastModified  string
	CodeSha256    string
	Version       string
	Environment   *environment `json:",omitempty"`
	TracingConfig struct{ Mode string }
	RevisionId    string
	State         string
	LastUpdate    string `json:"LastUpdateStatus"`
	PackageType   string
	Architectures []string
	Ephemeral     struct{ Size int } `json:"EphemeralStorage"`
	SnapStart     struct{ ApplyOn, OptimizationStatus string }
	LoggingConfig struct{ LogFormat, LogGroup string }

	ImageConfigResponse *imageConfigResponse `json:",omitempty"`

	Layers []layerUse `json:",omitempty"`
}

type layerUse struct {
	Arn      string
	CodeSize int64
}

type imageConfigResponse struct{ ImageConfig imageConfig }

type environment struct{ Variables map[string]string }

// configuration describes a deployment. Its own ARN carries a qualifier only if
// the request named one.
func (s *door) configuration(f *functions.Function, qualifier string) *functionConfiguration {
	key := functions.BaseName(f.Name)
	name, set := functions.NameOf(key), &f.Settings
	c := &functionConfiguration{
		FunctionName: name, FunctionArn: s.ARN(key, qualifier),
		Runtime: s.Service.LambdaRuntime(f), Role: set.Role, Handler: f.Handler,
		CodeSize: set.PackageBytes, Description: set.Description,
		Timeout:      cmp.Or(set.TimeoutSec, int(dispatcher.DefaultTimeout.Seconds())),
		MemorySize:   cmp.Or(set.MemoryMiB, defaultMemoryMiB),
		LastModified: f.Deployed.UTC().Format("2006-01-02T15:04:05.000+0000"),
		CodeSha256:   cmp.Or(set.PackageDigest, base64Digest(f.CodeDigest)),
		Version:      dispatcher.VersionOf(f.Name), RevisionId: set.Revision,
		State: "Active", LastUpdate: "Successful", PackageType: packageZip, Architectures: []string{"x86_64"},
	}
	if len(set.Environment) > 0 {
		c.Environment = &environment{set.Environment}
	}
	if own := set.Container; own != nil {
		c.PackageType, c.Runtime, c.Handler, c.CodeSha256 = packageImage, "", "", strings.TrimPrefix(own.Digest, "sha256:")
		if own.Entrypoint != nil || own.Command != nil || own.WorkingDir != "" {
			c.ImageConfigResponse = &imageConfigResponse{imageConfig{own.Entrypoint, own.Command, own.WorkingDir}}
		}
	}
	for _, l := range set.Layers {
		c.Layers = append(c.Layers, layerUse{publishedLayers{s}.layerARN(l.Owner, l.Name, l.Number), l.Bytes})
	}
	c.TracingConfig.Mode = tracingPassed
	c.Ephemeral.Size = ephemeralMB
	c.SnapStart.ApplyOn, c.SnapStart.OptimizationStatus = cmp.Or(set.SnapStart, snapStartNone), "Off"
	if set.SnapStart != "" && c.Version != dispatcher.Latest {
		c.SnapStart.OptimizationStatus = "On"
	}
	c.LoggingConfig.LogFormat, c.LoggingConfig.LogGroup = logText, logGroup(name)
	return c
}

// base64Digest writes a hex digest the way Lambda writes digests.
func base64Digest(digest string) string {
	b, err := hex.DecodeString(digest)
	if err != nil {
		return digest
	}
	return base64.StdEncoding.EncodeToString(b)
}

// settingsRequest are the fields that CreateFunction and
// UpdateFunctionConfiguration share. Pointers tell absent from empty.
type settingsRequest struct {
	Runtime     *string
	Role        *string
	Handler     *string
	Description *string
	Timeout     *int
	MemorySize  *int
	Environment *environment

	SnapStart *struct{ ApplyOn string }

	Layers *[]string // ARNs of versions

	notOffered
}

// apply checks the fields and writes those that are there into settings and
// handler.
func (r *settingsRequest) apply(name string, set *functions.Settings, handler *string, memoryLimitMiB int) error {
	if err := r.check(name, set.Container != nil); err != nil {
		return err
	}
	if v := r.SnapStart; v != nil {
		switch v.ApplyOn {
		case "", snapStartNone:
			set.SnapStart = ""
		case snapStartVersions: // they start from snapshots, as everything does
			set.SnapStart = v.ApplyOn
		default:
			return server.Validation("snapStart.applyOn", v.ApplyOn, "Member must satisfy enum value set: [PublishedVersions, None]")
		}
	}
	if v := r.Description; v != nil {
		if len(*v) > maxDescription {
			return server.InvalidParameter("Description has %d characters, at most %d are allowed.", len(*v), maxDescription)
		}
		set.Description = *v
	}
	if v := r.Timeout; v != nil {
		if *v < 1 || *v > maxTimeoutSec {
			return server.Validation("timeout", itoa(*v), "Member must have value between 1 and 900")
		}
		set.TimeoutSec = *v
	}
	if v := r.MemorySize; v != nil {
		if *v < defaultMemoryMiB || *v > maxMemoryMiB {
			return server.Validation("memorySize", itoa(*v), "Member must have value between 128 and 10240")
		}
		if *v > memoryLimitMiB {
			return server.InvalidParameter("MemorySize %d is more than the %d MB of the image's guests; build an image with more memory.", *v, memoryLimitMiB)
		}
		set.MemoryMiB = *v
	}
	if v := r.Environment; v != nil {
		if err := checkEnvironment(v.Variables); err != nil {
			return err
		}
		set.Environment = v.Variables
	}
	if v := r.Role; v != nil {
		if len(*v) > 512 {
			return server.InvalidParameter("Role is longer than 512 characters.")
		}
		set.Role = *v
	}
	if v := r.Runtime; v != nil {
		set.Runtime, set.Program = *v, nil
	}
	if p := contracts.OfRuntime(set.Runtime); p != nil {
		// Who asks for SnapStart knows that a snapshot may hold seeded generators.
		p.SharedGenerators = set.SnapStart == snapStartVersions || r.SnapStart == nil && set.Program != nil && set.Program.SharedGenerators
		set.Program = p
	}
	if v := r.Handler; v != nil {
		if len(*v) > 128 || strings.ContainsAny(*v, " \t\n\r\x00") || !strings.Contains(*v, ".") && set.Program == nil {
			return server.Validation("handler", *v, `[^\s]+ of the form module.function, at most 128 characters`)
		}
		*handler = *v
	}
	return nil
}

// reservedVariables are set by the runtime itself.
var reservedVariables = []string{"AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR"}

func checkEnvironment(variables map[string]string) error {
	size := 0
	for name, value := range variables {
		size += len(name) + len(value)
		valid := len(name) > 1 && (name[0] >= 'a' && name[0] <= 'z' || name[0] >= 'A' && name[0] <= 'Z') &&
			!strings.ContainsFunc(name, func(r rune) bool {
				return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_')
			})
		switch {
		case !valid:
			return server.Validation("environment.variables", name, "[a-zA-Z]([a-zA-Z0-9_])+")
		case slices.Contains(reservedVariables, name):
			return server.InvalidParameter("Lambda was unable to configure your environment variables because %s is reserved.", name)
		case strings.ContainsRune(value, 0):
			return server.InvalidParameter("The value of environment variable %s holds a zero byte.", name)
		}
	}
	if size > maxEnvironment {
		return server.InvalidParameter("The environment takes %d bytes, at most %d are allowed.", size, maxEnvironment)
	}
	return nil
}
