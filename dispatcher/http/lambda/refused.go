package lambda

import (
	"encoding/json"

	"seuss/dispatcher/http/server"
)

// What there is of what Lambda offers more of, in Lambda's words.
const (
	snapStartNone     = "None"
	snapStartVersions = "PublishedVersions"
	tracingPassed     = "PassThrough"
	logText           = "Text"
	ephemeralMB       = 512
)

// logGroup is what a function's own log is called.
func logGroup(function string) string { return "/aws/lambda/" + function }

// notOffered are the fields of CreateFunction and UpdateFunctionConfiguration that would
// change how a function runs, and are not offered: they are refused by name where they ask
// for more than there is.
type notOffered struct {
	VpcConfig *struct {
		SubnetIds, SecurityGroupIds []string
		Ipv6AllowedForDualStack     bool
	}
	FileSystemConfigs      []json.RawMessage
	DeadLetterConfig       *struct{ TargetArn string }
	ImageConfig            *imageConfig
	EphemeralStorage       *struct{ Size int }
	TracingConfig          *struct{ Mode string }
	LoggingConfig          *struct{ LogFormat, LogGroup, ApplicationLogLevel, SystemLogLevel string }
	KMSKeyArn              string
	CapacityProviderConfig json.RawMessage
	DurableConfig          json.RawMessage
}

// asked reports whether a field is there and is not null.
func asked(field json.RawMessage) bool { return len(field) > 0 && string(field) != "null" }

func (r *notOffered) check(name string, container bool) error {
	switch {
	case r.VpcConfig != nil && (len(r.VpcConfig.SubnetIds)+len(r.VpcConfig.SecurityGroupIds) > 0 || r.VpcConfig.Ipv6AllowedForDualStack):
		return server.InvalidParameter("VpcConfig is not supported: what a function reaches is said by seussctl function update --allow-net.")
	case len(r.FileSystemConfigs) > 0:
		return server.InvalidParameter("FileSystemConfigs are not supported: files are those of the function's archive and image.")
	case r.DeadLetterConfig != nil && r.DeadLetterConfig.TargetArn != "":
		return server.InvalidParameter("DeadLetterConfig is not supported: PutFunctionEventInvokeConfig names a function as OnFailure destination.")
	case r.ImageConfig != nil && !container:
		return server.InvalidParameter("ImageConfig is not supported: the package type is Zip.")
	case r.EphemeralStorage != nil && r.EphemeralStorage.Size != ephemeralMB:
		return server.InvalidParameter("EphemeralStorage of %d MB is not supported: it is %d MB, and files are memory of the guest.", r.EphemeralStorage.Size, ephemeralMB)
	case r.TracingConfig != nil && r.TracingConfig.Mode != "" && r.TracingConfig.Mode != tracingPassed:
		return server.InvalidParameter("TracingConfig %q is not supported: the service sends the spans of all functions (seussctl serve --trace); the mode is %s.", r.TracingConfig.Mode, tracingPassed)
	case r.KMSKeyArn != "":
		return server.InvalidParameter("KMSKeyArn is not supported: the state directory is kept from others by its permissions.")
	case asked(r.CapacityProviderConfig):
		return server.InvalidParameter("CapacityProviderConfig is not supported: %s.", noProviders)
	case asked(r.DurableConfig):
		return server.InvalidParameter("DurableConfig is not supported: %s.", noDurable)
	}
	if l := r.LoggingConfig; l != nil {
		switch {
		case l.LogFormat != "" && l.LogFormat != logText:
			return server.InvalidParameter("LoggingConfig with the LogFormat %q is not supported: logs are %s.", l.LogFormat, logText)
		case l.LogGroup != "" && l.LogGroup != logGroup(name):
			return server.InvalidParameter("LoggingConfig with the LogGroup %q is not supported: a function's log is its own, %s.", l.LogGroup, logGroup(name))
		case l.ApplicationLogLevel != "":
			return server.InvalidParameter("LoggingConfig with an ApplicationLogLevel (%q) is not supported: all that a function prints is kept.", l.ApplicationLogLevel)
		case l.SystemLogLevel != "":
			return server.InvalidParameter("LoggingConfig with a SystemLogLevel (%q) is not supported: seussctl serve --log-level is that of the service.", l.SystemLogLevel)
		}
	}
	return nil
}

// notPublished refuses another target of a version than a number.
func notPublished(to string) error {
	if to != "" {
		return server.InvalidParameter("PublishTo %q is not supported: a version has a number.", to)
	}
	return nil
}
