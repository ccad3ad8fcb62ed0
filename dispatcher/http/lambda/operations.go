package lambda

import (
	"net/http"
	"regexp"
	"strings"

	"seuss/dispatcher/http/server"
)

//go:generate go run ./internal/opgen -output operations_gen.go

// operation is one of AWS's: its path is that of AWS's model, with the variables' names
// there.
type operation struct{ name, method, path string }

// pattern is the operation's for a mux, and its query, if the path has one that tells it from
// another.
func (o operation) pattern() (pattern, query string) {
	path, query, _ := strings.Cut(o.path, "?")
	return o.method + " " + path, query
}

// instead says of the operations that are not offered what is there in their place. One that
// is neither here nor offered is an error of TestOperations.
var instead = map[string]string{
	"InvokeAsync": "it is Invoke with the invocation type Event",

	"CreateEventSourceMapping": noSources, "ListEventSourceMappings": noSources, "GetEventSourceMapping": noSources,
	"UpdateEventSourceMapping": noSources, "DeleteEventSourceMapping": noSources,

	"AddLayerVersionPermission": ownLayers, "GetLayerVersionPolicy": ownLayers, "RemoveLayerVersionPermission": ownLayers,

	"PutProvisionedConcurrencyConfig": provisioned, "GetProvisionedConcurrencyConfig": provisioned,
	"ListProvisionedConcurrencyConfigs": provisioned, "DeleteProvisionedConcurrencyConfig": provisioned,

	"CreateCodeSigningConfig": noSigning, "ListCodeSigningConfigs": noSigning, "GetCodeSigningConfig": noSigning, "UpdateCodeSigningConfig": noSigning,
	"DeleteCodeSigningConfig": noSigning, "ListFunctionsByCodeSigningConfig": noSigning, "PutFunctionCodeSigningConfig": noSigning, "DeleteFunctionCodeSigningConfig": noSigning,

	"GetRuntimeManagementConfig": noRuntimeUpdates, "PutRuntimeManagementConfig": noRuntimeUpdates,
	"GetFunctionRecursionConfig": recursion, "PutFunctionRecursionConfig": recursion,

	"CreateCapacityProvider": noProviders, "ListCapacityProviders": noProviders, "GetCapacityProvider": noProviders, "UpdateCapacityProvider": noProviders,
	"DeleteCapacityProvider": noProviders, "ListFunctionVersionsByCapacityProvider": noProviders, "GetFunctionScalingConfig": noProviders, "PutFunctionScalingConfig": noProviders,

	"GetDurableExecution": noDurable, "GetDurableExecutionHistory": noDurable, "GetDurableExecutionState": noDurable, "CheckpointDurableExecution": noDurable,
	"StopDurableExecution": noDurable, "ListDurableExecutionsByFunction": noDurable, "SendDurableExecutionCallbackFailure": noDurable,
	"SendDurableExecutionCallbackHeartbeat": noDurable, "SendDurableExecutionCallbackSuccess": noDurable,

	"GetResourcePolicy": noPolicies, "PutResourcePolicy": noPolicies, "DeleteResourcePolicy": noPolicies,
}

const (
	noSources        = "nothing here sends events by itself: send them with Invoke, of the type Event where nobody waits"
	ownLayers        = "a layer is its owner's alone: publish it under each that needs it, which costs its archive; what functions run with is stored once"
	provisioned      = "machines stand ready by themselves; seussctl serve --spare says how many at least"
	noSigning        = "code is not signed; who may deploy is said by tokens (seussctl token create)"
	noRuntimeUpdates = "a function stays in its image until it is deployed again; UpdateFunctionConfiguration with Runtime changes it"
	recursion        = "events that follow each other as destinations end after 16; there is no other loop to find"
	noProviders      = "the host's machines are all there is; seussctl serve --machines says how many"
	noDurable        = "an invocation runs at most for its function's timeout, and is not kept; send an event (Invoke, of the type Event), which is on disk until it is done"
	noPolicies       = "AddPermission, GetPolicy and RemovePermission are there; who may do what is said by tokens (seussctl token create)"
)

// byQuery are operations that differ from another one by the query alone, whose route answers
// both.
var byQuery = map[string]bool{"GetLayerVersionByArn": true} // ListLayers

// variable is one of a path.
var variable = regexp.MustCompile(`\{[A-Za-z]+\}`)

// unoffered answers for the operations that are not offered, and for what is none.
func (s *door) unoffered() http.HandlerFunc {
	mux, names := http.NewServeMux(), map[string][]operation{}
	add := func(o operation) {
		if instead[o.name] == "" {
			return
		}
		pattern, _ := o.pattern()
		pattern = variable.ReplaceAllString(pattern, "{_}") // ServeMux wants each name once
		for strings.Count(pattern, "{_}") > 1 {
			pattern = strings.Replace(pattern, "{_}", "{_"+strings.Repeat("x", strings.Count(pattern, "{_}"))+"}", 1)
		}
		if names[pattern] = append(names[pattern], o); len(names[pattern]) > 1 {
			return
		}
		mux.Handle(pattern, http.NotFoundHandler())
		if !strings.HasSuffix(pattern, "}") { // older SDKs have a slash there
			mux.Handle(pattern+"/{$}", http.NotFoundHandler())
		}
	}
	for _, o := range operations {
		add(o)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		message := "Unknown operation: " + r.Method + " " + r.URL.Path // what AWS answers for a path that is no operation of the service
		longest := 0                                                   // of the queries that tell operations of one path apart
		if _, pattern := mux.Handler(r); pattern != "" {
			for _, o := range names[strings.TrimSuffix(pattern, "/{$}")] {
				if _, query := o.pattern(); strings.Contains(r.URL.RawQuery, query) && len(query) >= longest {
					longest, message = len(query), o.name+" is not supported: "+instead[o.name]+"."
				}
			}
		}
		s.WriteRefusal(w, r, &server.Refusal{Status: http.StatusNotFound, Code: "UnknownOperationException", Message: message})
	}
}
