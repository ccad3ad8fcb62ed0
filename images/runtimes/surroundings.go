package runtimes

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"seuss/guest"
	"seuss/images"
)

// Where functions and layers lie, as in AWS Lambda.
const (
	TaskRoot  = "/var/task"
	layerRoot = "/opt"
)

// Region is that of functions, unless their image or their own environment has another; it
// is that of the examples of AWS's clients.
const Region = "us-east-1"

// FunctionAPI is the variable with the address at which a function finds what it shares.
const FunctionAPI = "SEUSS_API"

// Constants are the variables of AWS Lambda, and FunctionAPI, that are the same for all functions of a
// runtime, which is AWS Lambda's name of it or "". They are in the environment that a
// driver starts with: with each function's code they would take pages of its snapshot.
func Constants(runtime string) map[string]string {
	v := map[string]string{
		"AWS_REGION":                     Region,
		"AWS_DEFAULT_REGION":             Region,
		"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
		"LAMBDA_TASK_ROOT":               TaskRoot,
		"TZ":                             ":UTC",
		FunctionAPI:                      fmt.Sprintf("127.0.0.1:%d", guest.FunctionApiTcp),
	}
	if runtime != "" {
		v["AWS_EXECUTION_ENV"] = "AWS_Lambda_" + runtime
	}
	return v
}

// startPaths are lists of directories that follow those of the image.
var startPaths = map[string][]string{
	"PATH":            {layerRoot + "/bin"},
	"LD_LIBRARY_PATH": {TaskRoot, TaskRoot + "/lib", layerRoot + "/lib"},
}

// around returns the environment that a runtime's driver starts with, which is that of its
// image, with what AWS Lambda's functions find in theirs: an image's own words count.
func (r *Runtime) around(rt *images.Runtime) []string {
	constants := Constants(r.LambdaName(rt.Version))
	var env []string
	for _, name := range slices.Sorted(maps.Keys(constants)) { // equal input gives equal images
		env = append(env, name+"="+constants[name])
	}
	env = images.MergeEnv(env, rt.Env)
	paths := []map[string][]string{startPaths}
	if r.LayerPaths != nil {
		paths = append(paths, r.LayerPaths(rt.Version))
	}
	for _, lists := range paths {
		for _, name := range slices.Sorted(maps.Keys(lists)) {
			env = appendPaths(env, name, lists[name])
		}
	}
	return env
}

func appendPaths(env []string, name string, dirs []string) []string {
	list := strings.Join(dirs, ":")
	for _, v := range env {
		if had, ok := strings.CutPrefix(v, name+"="); ok && had != "" {
			list = had + ":" + list
		}
	}
	return images.MergeEnv(env, []string{name + "=" + list})
}
