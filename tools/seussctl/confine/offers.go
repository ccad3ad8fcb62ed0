package confine

import (
	"fmt"
	"os/user"
	"strings"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"

	"seuss/dispatcher/api"
)

// Offers says what a daemon on this host would be under, as far as can be told
// without one.
func Offers(root bool) []api.Measure {
	who := api.Measure{Name: "user", InForce: true, Detail: "a daemon runs as the user that starts it"}
	if root {
		who.Detail = "root's daemon becomes " + DefaultUser
		if _, err := user.Lookup(DefaultUser); noUser(err) {
			who.InForce, who.Detail, who.Fix = false, "root's daemon stays root: there is no user "+DefaultUser, makeUser
		}
	}
	land := api.Measure{Name: "Landlock", Detail: withoutLandlock, Fix: getLandlock}
	if abi, err := ll.LandlockGetABIVersion(); err == nil && abi > 0 {
		land = api.Measure{Name: "Landlock", InForce: true, Detail: fmt.Sprintf("ABI %d", abi)}
	}
	filter := api.Measure{Name: "system call filter", Detail: "the kernel takes none", Fix: getFilters}
	if seccomp.Supported() {
		filter = api.Measure{Name: "system call filter", InForce: true, Detail: "the kernel takes them"}
	}
	return []api.Measure{who, land, filter, offeredGroups()}
}

// offeredGroups looks whether a daemon that is started here may make control groups.
func offeredGroups() api.Measure {
	m := api.Measure{Name: "control groups", Fix: getGroups}
	list := ownHierarchies()
	if len(list) == 0 {
		m.Detail = noControllers
		return m
	}
	for _, h := range list {
		if err := unix.Access(h.own(), unix.W_OK); err != nil {
			m.Detail = fmt.Sprintf("%s: a daemon that is started here may make none in %s: %v", strings.Join(h.Controllers, ", "), h.own(), err)
			return m
		}
		if h.V2 && h.Path != "/" {
			m.Detail = fmt.Sprintf("a daemon that is started here is not alone in its group, %s", h.Path)
			return m
		}
	}
	return api.Measure{Name: m.Name, InForce: true, Detail: "a daemon that is started here may make them"}
}

// noControllers says that the kernel offers nothing of what groups are for.
var noControllers = "there are none with controllers of " + strings.Join(controllers, ", ")

// What to do about what is missing.
const (
	makeUser        = "make it with: useradd --system " + DefaultUser + ", or name another one with serve --user"
	withoutLandlock = "the kernel does not offer it"
	getLandlock     = "use Linux 5.19 or newer with CONFIG_SECURITY_LANDLOCK, and landlock among those of the kernel's option lsm="
	getGroups       = "run it as a service (the Debian package has a unit), or as: systemd-run --user --scope -p Delegate=yes seussctl serve"
	getFilters      = "use a kernel with CONFIG_SECCOMP_FILTER, and in a container a profile that allows seccomp(2)"
)
