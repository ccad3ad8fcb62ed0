// Package validate tests that the manifests are what Kubernetes takes, by its own types, and
// what the daemon takes. It is a module of its own, for nothing else needs those types.
package validate

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// documents reads the documents of a file as JSON.
func documents(t *testing.T, path string) (list [][]byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	for {
		var document any
		switch err := d.Decode(&document); {
		case errors.Is(err, io.EOF):
			return list
		case err != nil:
			t.Fatalf("%s: %v", path, err)
		}
		text, err := json.Marshal(document)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		list = append(list, text)
	}
}

// strict decodes a document, and refuses fields that its kind does not have.
func strict(t *testing.T, path string, document []byte, into any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(document))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// manifests are those of a kustomization, by kind and name.
func manifests(t *testing.T, dir string) map[string]any {
	t.Helper()
	var k struct {
		APIVersion, Kind, Namespace string
		Resources                   []string
		Patches                     []struct{ Path string }
	}
	all := map[string]any{}
	strict(t, dir, documents(t, filepath.Join(dir, "kustomization.yaml"))[0], &k)
	for _, name := range k.Resources {
		path := filepath.Join(dir, name)
		if filepath.Ext(name) == "" {
			for key, object := range manifests(t, path) {
				all[key] = object
			}
			continue
		}
		for _, document := range documents(t, path) {
			var meta struct {
				APIVersion, Kind string
				Metadata         struct{ Name, Namespace string }
			}
			if err := json.Unmarshal(document, &meta); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if meta.Kind != "Namespace" && meta.Metadata.Namespace != "seuss" {
				t.Errorf("%s: %s %s is in namespace %q", path, meta.Kind, meta.Metadata.Name, meta.Metadata.Namespace)
			}
			objects := map[string]any{"v1 Namespace": &core.Namespace{}, "v1 Service": &core.Service{}, "apps/v1 DaemonSet": &apps.DaemonSet{}, "networking.k8s.io/v1 NetworkPolicy": &networking.NetworkPolicy{}}
			object := objects[meta.APIVersion+" "+meta.Kind]
			if object == nil {
				t.Fatalf("%s: %s %s is not tested", path, meta.APIVersion, meta.Kind)
			}
			strict(t, path, document, object)
			all[meta.Kind+" "+meta.Metadata.Name] = object
		}
	}
	for _, patch := range k.Patches {
		path := filepath.Join(dir, patch.Path)
		key := "DaemonSet seuss"
		original, err := json.Marshal(all[key])
		if err != nil {
			t.Fatal(err)
		}
		merged, err := strategicpatch.StrategicMergePatch(original, documents(t, path)[0], &apps.DaemonSet{})
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		patched := &apps.DaemonSet{}
		strict(t, path, merged, patched)
		all[key] = patched
	}
	return all
}

// TestManifests: what names something names something that is there, and the daemon takes
// the command line.
func TestManifests(t *testing.T) {
	for _, dir := range []string{"../kubernetes/base", "../kubernetes/privileged"} {
		all := manifests(t, dir)
		set := all["DaemonSet seuss"].(*apps.DaemonSet)
		pod := set.Spec.Template
		for key, value := range set.Spec.Selector.MatchLabels {
			if pod.Labels[key] != value {
				t.Errorf("%s: pods have no label %s=%s", dir, key, value)
			}
		}
		c := pod.Spec.Containers[0]
		var ports []string
		for _, p := range c.Ports {
			ports = append(ports, p.Name)
		}
		for _, name := range []string{"Service seuss", "Service seuss-members"} {
			service := all[name].(*core.Service)
			for key, value := range service.Spec.Selector {
				if pod.Labels[key] != value {
					t.Errorf("%s: %s selects no pod", dir, name)
				}
			}
			for _, p := range service.Spec.Ports {
				if !slices.Contains(ports, p.Name) {
					t.Errorf("%s: %s: the pod has no port %s", dir, name, p.Name)
				}
			}
		}
		for _, rule := range all["NetworkPolicy seuss"].(*networking.NetworkPolicy).Spec.Ingress {
			for _, p := range rule.Ports {
				if !slices.Contains(ports, p.Port.String()) {
					t.Errorf("%s: the network policy's port %s is not the pod's", dir, p.Port)
				}
			}
		}
		for _, probe := range []*core.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
			if !slices.Contains(ports, probe.HTTPGet.Port.String()) {
				t.Errorf("%s: a probe's port %s is not the pod's", dir, probe.HTTPGet.Port.String())
			}
		}
		volumes := map[string]bool{}
		for _, v := range pod.Spec.Volumes {
			volumes[v.Name] = true
		}
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("%s: no volume %s", dir, m.Name)
			}
		}
		device := c.Resources.Limits["devices.kubevirt.io/kvm"]
		if own := volumes["kvm"]; own == (device.Value() == 1) || own != (c.SecurityContext.Privileged != nil) {
			t.Errorf("%s: /dev/kvm comes from the host's folder (%v) and from a plugin (%v)", dir, own, device.Value())
		}
		values := map[string]string{}
		for _, v := range c.Env {
			if v.ValueFrom == nil {
				t.Errorf("%s: %s is written down", dir, v.Name)
			}
			values["$("+v.Name+")"] = map[string]string{"NODE_NAME": "ip-10-0-0-1.zone.internal", "POD_IP": "127.0.0.1"}[v.Name]
		}
		var args []string
		for _, arg := range c.Args {
			arg = regexp.MustCompile(`\$\(\w+\)`).ReplaceAllStringFunc(arg, func(name string) string {
				if values[name] == "" {
					t.Errorf("%s: nothing defines %s", dir, name)
				}
				return values[name]
			})
			args = append(args, arg)
		}
		// The last thing that is read of the command line is the cluster's secret: all before
		// it was taken.
		var said strings.Builder
		daemon := exec.CommandContext(t.Context(), "../../../bin/seussctl", append([]string{"--state", t.TempDir()}, args...)...)
		daemon.Env, daemon.Stderr = []string{"SEUSS_TOKEN=" + strings.Repeat("t", 32), "SEUSS_CLUSTER_SECRET=short"}, &said
		err := daemon.Run()
		if daemon.ProcessState == nil || daemon.ProcessState.ExitCode() != 1 || !strings.Contains(said.String(), "--cluster-secret: $SEUSS_CLUSTER_SECRET has 5 characters") {
			t.Errorf("%s: seussctl %s: %v, %s", dir, strings.Join(args, " "), err, said.String())
		}
	}
}
