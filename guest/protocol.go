package guest

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
)

//go:embed abi/driver.h
var driverHeader string

var driverDefine = regexp.MustCompile(`(?m)^#define ABI_(\w+) (0x[0-9a-f]+|[0-9]+)\b`)

// Protocol renders every constant of abi/driver.h in a driver's language: head, then a
// line for each, whose format takes the name without ABI_ and the value as the header
// writes it, decimal or hexadecimal. The contract's version is called VERSION.
func Protocol(head, line string) []byte {
	var b strings.Builder
	b.WriteString(head)
	for _, m := range driverDefine.FindAllStringSubmatch(driverHeader, -1) {
		name := m[1]
		if name == "DRIVER_VERSION" {
			name = "VERSION"
		}
		fmt.Fprintf(&b, line, name, m[2])
	}
	return []byte(b.String())
}
