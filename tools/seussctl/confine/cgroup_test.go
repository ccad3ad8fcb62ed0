package confine

import (
	"reflect"
	"testing"
)

func TestHierarchies(t *testing.T) {
	const (
		v1 = "25 24 0:22 / /sys/fs/cgroup/cpu rw,relatime shared:5 - cgroup cgroup rw,cpu,cpuacct\n" +
			"26 24 0:23 / /sys/fs/cgroup/memory rw,relatime shared:6 - cgroup cgroup rw,memory\n" +
			"27 24 0:24 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer\n"
		v2 = "30 24 0:25 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
		// A container that sees its own part alone.
		part = "31 24 0:26 /docker/4711 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
	)
	one := func(c, mount, path string) hierarchy {
		return hierarchy{Mount: mount, Path: path, Controllers: []string{c}}
	}
	for _, c := range []struct {
		name, cgroup, mounts string
		want                 []hierarchy
	}{
		{"version 1", "9:freezer:/x\n8:memory:/a/b\n2:cpu,cpuacct:/\n", v1,
			[]hierarchy{one("memory", "/sys/fs/cgroup/memory", "/a/b"), one("cpu", "/sys/fs/cgroup/cpu", "/")}},
		{"version 2", "0::/system.slice/seuss.service\n", v2,
			[]hierarchy{{Mount: "/sys/fs/cgroup", Path: "/system.slice/seuss.service", V2: true, Controllers: []string{""}}}},
		{"container", "8:memory:/docker/4711\n", part, []hierarchy{one("memory", "/sys/fs/cgroup/memory", "/")}},
		{"a name with colons", "0::/a:b\n", v2, []hierarchy{{Mount: "/sys/fs/cgroup", Path: "/a:b", V2: true, Controllers: []string{""}}}},
		{"not mounted", "8:memory:/\n0::/\n", "", nil},
		{"nonsense", "x\n\n::\n", "x\n - \n" + v1, nil},
	} {
		if got := hierarchies(c.cgroup, c.mounts); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
