package runtimes

import (
	"maps"
	"slices"
	"strings"

	"seuss/images"
)

// Where functions and layers lie, as in AWS Lambda.
const (
	TaskRoot  = "/var/task"
	layerRoot = "/opt"
)

// The variables of AWS Lambda that a program needs when it starts; the others come with a
// function's code (dispatcher/surroundings).
var startEnv = []string{"LAMBDA_TASK_ROOT=" + TaskRoot, "TZ=:UTC"}

// startPaths are lists of directories that follow those of the image.
var startPaths = map[string][]string{
	"PATH":            {layerRoot + "/bin"},
	"LD_LIBRARY_PATH": {TaskRoot, TaskRoot + "/lib", layerRoot + "/lib"},
}

// around returns the environment that a runtime's driver starts with, which is that of its
// image, with what AWS Lambda's functions find in theirs: an image's own words count.
func (r *Runtime) around(rt *images.Runtime) []string {
	env := images.MergeEnv(startEnv, rt.Env)
	paths := []map[string][]string{startPaths}
	if r.LayerPaths != nil {
		paths = append(paths, r.LayerPaths(rt.Version))
	}
	for _, lists := range paths {
		for _, name := range slices.Sorted(maps.Keys(lists)) { // equal input gives equal images
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
