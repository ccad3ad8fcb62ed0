package app

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Where spans go beside a URL: nowhere, and to stdout.
const (
	traceNone   = "none"
	traceStdout = "stdout"
)

// tracesPath is that of OTLP over HTTP, localCollector where a collector is that nobody
// names ("OpenTelemetry Protocol Exporter").
const (
	tracesPath     = "/v1/traces"
	localCollector = "http://localhost:4318"
)

// Names of what is said of the exporter, for all signals or for traces, which comes first.
const (
	otlp       = "OTEL_EXPORTER_OTLP_"
	otlpTraces = otlp + "TRACES_"
)

// environment is the variables of OpenTelemetry ("Environment Variable Specification").
// Those that the exporter and the SDK read themselves are honoured (headers, timeouts,
// compression, certificates, the sampler, limits, batches, the resource); they leave out
// what they cannot read, so that it is refused here, by name.
type environment func(name string) string

func (get environment) refuse(name, why string) error {
	return fmt.Errorf("$%s is %q: %s", name, get(name), why)
}

// readTrace says where spans go: what --trace says, or else the environment. It is none,
// stdout or a URL.
func readTrace(given bool, to string, get environment) (string, error) {
	if disabled := get("OTEL_SDK_DISABLED"); !given && disabled != "" && !strings.EqualFold(disabled, "true") && !strings.EqualFold(disabled, "false") {
		return "", get.refuse("OTEL_SDK_DISABLED", "want true or false")
	}
	if !given {
		named := get(otlp+"ENDPOINT") != "" || get(otlpTraces+"ENDPOINT") != ""
		switch exporter := get("OTEL_TRACES_EXPORTER"); {
		case strings.EqualFold(get("OTEL_SDK_DISABLED"), "true"), exporter == "none":
			to = traceNone
		case exporter == "otlp", exporter == "" && named:
			var err error
			if to, err = get.collector(); err != nil {
				return "", err
			}
		case exporter == "console":
			to = traceStdout
		case exporter != "":
			return "", get.refuse("OTEL_TRACES_EXPORTER", "want otlp, console or none")
		}
	}
	switch to {
	case traceNone:
		return to, nil
	case traceStdout:
	default:
		u, err := collectorURL(to)
		if err != nil {
			return "", fmt.Errorf("--trace %s: must be none, stdout, or an http:// or https:// URL", to)
		}
		if given && (u.Path == "" || u.Path == "/") {
			u.Path = tracesPath // it is a collector's base URL
		}
		to = u.String()
		if err := get.checkExporter(); err != nil {
			return "", err
		}
	}
	if err := get.checkSDK(); err != nil {
		return "", err
	}
	return to, nil
}

// collector is the URL that the environment names.
func (get environment) collector() (string, error) {
	if text := strings.TrimSpace(get(otlpTraces + "ENDPOINT")); text != "" {
		u, err := collectorURL(text)
		if err != nil {
			return "", get.refuse(otlpTraces+"ENDPOINT", err.Error())
		}
		if u.Path == "" {
			u.Path = "/"
		}
		return u.String(), nil
	}
	text := strings.TrimSpace(get(otlp + "ENDPOINT"))
	if text == "" {
		text = localCollector
	}
	u, err := collectorURL(text)
	if err != nil {
		return "", get.refuse(otlp+"ENDPOINT", err.Error())
	}
	return u.JoinPath(tracesPath).String(), nil
}

func collectorURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" {
		return nil, fmt.Errorf("want an http:// or https:// URL, without user and query")
	}
	return u, nil
}

// checkExporter refuses what the exporter would leave out.
func (get environment) checkExporter() error {
	for _, prefix := range []string{otlp, otlpTraces} {
		if p := get(prefix + "PROTOCOL"); p != "" && p != "http/protobuf" {
			return get.refuse(prefix+"PROTOCOL", "spans are sent as http/protobuf alone")
		}
		if c := strings.TrimSpace(get(prefix + "COMPRESSION")); c != "" && c != "gzip" && c != "none" {
			return get.refuse(prefix+"COMPRESSION", "want gzip or none")
		}
		if err := get.checkNumber(prefix+"TIMEOUT", 1); err != nil {
			return err
		}
		if text := strings.TrimSpace(get(prefix + "HEADERS")); text != "" {
			for i, pair := range strings.Split(text, ",") {
				name, value, ok := strings.Cut(pair, "=")
				_, err := url.PathUnescape(value)
				if !ok || err != nil || !httpguts.ValidHeaderFieldName(strings.TrimSpace(name)) {
					// It may be a secret, and is not repeated.
					return fmt.Errorf("$%s: entry %d is none of the form NAME=VALUE, the value in percent encoding", prefix+"HEADERS", i+1)
				}
			}
		}
		if err := get.checkFiles(prefix); err != nil {
			return err
		}
	}
	return nil
}

// certificateNames are ends of names of files, which the exporter reads when it starts.
var certificateNames = []string{"CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"}

// files are those that the environment names.
func (get environment) files() (paths []string) {
	for _, prefix := range []string{otlp, otlpTraces} {
		for _, name := range certificateNames {
			if path := strings.TrimSpace(get(prefix + name)); path != "" {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

func (get environment) checkFiles(prefix string) error {
	if path := strings.TrimSpace(get(prefix + "CERTIFICATE")); path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return get.refuse(prefix+"CERTIFICATE", err.Error())
		}
		if !x509.NewCertPool().AppendCertsFromPEM(b) {
			return get.refuse(prefix+"CERTIFICATE", "no certificate in PEM")
		}
	}
	certificate, key := strings.TrimSpace(get(prefix+"CLIENT_CERTIFICATE")), strings.TrimSpace(get(prefix+"CLIENT_KEY"))
	switch {
	case certificate == "" && key == "":
	case key == "":
		return get.refuse(prefix+"CLIENT_CERTIFICATE", "there is no $"+prefix+"CLIENT_KEY")
	case certificate == "":
		return get.refuse(prefix+"CLIENT_KEY", "there is no $"+prefix+"CLIENT_CERTIFICATE")
	default:
		if _, err := tls.LoadX509KeyPair(certificate, key); err != nil {
			return get.refuse(prefix+"CLIENT_CERTIFICATE", err.Error())
		}
	}
	return nil
}

// checkNumber refuses what is not a whole number of at least a least.
func (get environment) checkNumber(name string, least int) error {
	text := get(name)
	if text == "" {
		return nil
	}
	if n, err := strconv.Atoi(text); err != nil || n < least {
		return get.refuse(name, fmt.Sprintf("want a whole number, at least %d", least))
	}
	return nil
}

// Numbers of the SDK by the least that they may be; limits of -1 are none.
var (
	batchNumbers = []string{"OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT", "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"}
	limitNumbers = []string{"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
		"OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"}
	samplers = []string{"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"}
)

// checkSDK refuses what the SDK would leave out.
func (get environment) checkSDK() error {
	if s := strings.ToLower(strings.TrimSpace(get("OTEL_TRACES_SAMPLER"))); s != "" && !slices.Contains(samplers, s) {
		return get.refuse("OTEL_TRACES_SAMPLER", "want one of "+strings.Join(samplers, ", "))
	}
	if arg := strings.TrimSpace(get("OTEL_TRACES_SAMPLER_ARG")); arg != "" {
		if ratio, err := strconv.ParseFloat(arg, 64); err != nil || !(ratio >= 0 && ratio <= 1) {
			return get.refuse("OTEL_TRACES_SAMPLER_ARG", "want a number from 0 to 1")
		}
	}
	for _, name := range batchNumbers {
		if err := get.checkNumber(name, 1); err != nil {
			return err
		}
	}
	for _, name := range limitNumbers {
		if err := get.checkNumber(name, -1); err != nil {
			return err
		}
	}
	if p := get("OTEL_PROPAGATORS"); p != "" {
		for name := range strings.SplitSeq(p, ",") {
			if name = strings.TrimSpace(name); name != "tracecontext" && name != "baggage" {
				return get.refuse("OTEL_PROPAGATORS", "traces come in by tracecontext (traceparent) alone")
			}
		}
	}
	return nil
}
