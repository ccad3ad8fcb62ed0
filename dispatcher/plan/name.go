package plan

import (
	"fmt"
	"strings"
)

// Canonical returns the column of a pinned package: name==version, without extras, as
// pip prints it.
func Canonical(pin string) (string, error) {
	name, version, ok := strings.Cut(pin, "==")
	if i := strings.IndexByte(name, '['); i >= 0 {
		if !strings.HasSuffix(name, "]") {
			return "", fmt.Errorf("package %.80q: the bracket of its extras is not closed", pin)
		}
		name = name[:i]
	}
	if !ok || name == "" || version == "" || strings.ContainsAny(pin, " \t\r\n,") {
		return "", fmt.Errorf("package %.80q: want NAME==VERSION", pin)
	}
	return name + "==" + version, nil
}

// distribution returns the name of a column without its version.
func distribution(column string) string {
	name, _, _ := strings.Cut(column, "==")
	return name
}
