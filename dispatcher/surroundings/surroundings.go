// Package surroundings says which variables a function finds in its environment, beside
// those that it was deployed with: AWS Lambda's (its Developer Guide, "Defined runtime
// environment variables"). What is the same for all functions of an image, such as where
// layers are looked for, is in the image (images/runtimes).
//
// They are no part of a function's code, whose digest they leave alone, and go to the
// driver with it. Version and memory may be others at an invocation than when the code was
// loaded: drivers take these from the invocation's context.
//
// It keeps no state and has no locks.
package surroundings

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"seuss/dispatcher/functions"
	"seuss/images/runtimes"
)

// latest is the version of what has none.
const latest = "$LATEST"

// Function is what the variables are made of.
type Function struct {
	*functions.Function
	Runtime   string // AWS Lambda's name of what it runs on; "": it has none
	MemoryMiB uint64
}

// Variables are those of a function.
func (f *Function) Variables() map[string]string {
	name := functions.NameOf(functions.BaseName(f.Name))
	_, version, _ := strings.Cut(f.Name, ":")
	v := runtimes.Constants(f.Runtime)
	for variable, value := range map[string]string{
		"AWS_LAMBDA_FUNCTION_NAME":        name,
		"AWS_LAMBDA_FUNCTION_VERSION":     cmp.Or(version, latest),
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.FormatUint(f.MemoryMiB, 10),
		"AWS_LAMBDA_LOG_GROUP_NAME":       "/aws/lambda/" + name,
		"_HANDLER":                        f.Handler,
	} {
		v[variable] = value
	}
	return v
}

// AddTo returns a LOAD request, a JSON object, with the variables in it that a driver does
// not have from its image.
func (f *Function) AddTo(code []byte) ([]byte, error) {
	if len(code) < 3 || code[0] != '{' {
		return nil, fmt.Errorf("code of %q: %d bytes are no request", f.Name, len(code))
	}
	own := f.Variables()
	for name := range runtimes.Constants(f.Runtime) {
		delete(own, name)
	}
	b, err := json.Marshal(struct {
		Surroundings map[string]string `json:"surroundings"`
	}{own})
	if err != nil {
		return nil, err
	}
	b[len(b)-1] = ','
	return append(b, code[1:]...), nil
}
