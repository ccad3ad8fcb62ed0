package confine

import (
	"errors"
	"fmt"
	"os/user"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"

	seccomp "github.com/elastic/go-seccomp-bpf"

	"seuss/dispatcher/api"
)

// Offers says what a daemon on this host would be under, as far as can be told
// without one.
func Offers(root bool) []api.Measure {
	who := api.Measure{Name: "user", InForce: true, Detail: "a daemon runs as the user that starts it"}
	var unknown user.UnknownUserError
	if root {
		who.Detail = "root's daemon becomes " + DefaultUser
		if _, err := user.Lookup(DefaultUser); errors.As(err, &unknown) {
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
	return []api.Measure{who, land, filter}
}

// What to do about what is missing.
const (
	makeUser        = "make it with: useradd --system " + DefaultUser + ", or name another one with serve --user"
	withoutLandlock = "the kernel does not offer it"
	getLandlock     = "use Linux 5.19 or newer with CONFIG_SECURITY_LANDLOCK, and landlock among those of the kernel's option lsm="
	getGroups       = "run it as a service (the Debian package has a unit), or as: systemd-run --user --scope -p Delegate=yes seussctl serve"
	getFilters      = "use a kernel with CONFIG_SECCOMP_FILTER, and in a container a profile that allows seccomp(2)"
)
