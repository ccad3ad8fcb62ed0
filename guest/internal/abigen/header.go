package main

import (
	"regexp"
	"strings"
)

// define is one #define of the header, without its ABI_ prefix.
type define struct {
	name, value, comment string
	expression           bool // value is C, which the compiler has still to compute
}

var defineLine = regexp.MustCompile(`^#define ABI_(\w+)\s+(0[xX][0-9a-fA-F]+|[0-9]+)(?:[uUlL]*)\s*(?:/\*\s*(.*?)\s*(?:\*/)?)?$`)

// expressionLine is a #define that names what other headers define.
var expressionLine = regexp.MustCompile(`^#define ABI_(\w+)\s+([^/]+?)\s*(?:/\*\s*(.*?)\s*\*/)?$`)

// parseDefines returns the numeric #defines in the order of the header, and if they are
// asked for those whose values are expressions.
func parseDefines(text string, expressions bool) []define {
	var defs []define
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if m := defineLine.FindStringSubmatch(line); m != nil {
			defs = append(defs, define{name: m[1], value: m[2], comment: m[3]})
		} else if m := expressionLine.FindStringSubmatch(line); m != nil && expressions {
			defs = append(defs, define{name: m[1], value: m[2], comment: m[3], expression: true})
		}
	}
	return defs
}

var (
	structLine = regexp.MustCompile(`^struct abi_(\w+) \{`)
	fieldLine  = regexp.MustCompile(`^\s+\S.*?(\w+)(?:\[\w+\])?;\s*/\*\s*(.*?)\s*(?:\*/)?$`)
)

// addComments copies the one-line comments of the header's fields.
func addComments(structs []structure, text string) {
	comments := map[string]string{}
	current := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if m := structLine.FindStringSubmatch(line); m != nil {
			current = m[1]
		} else if strings.HasPrefix(line, "}") {
			current = ""
		} else if m := fieldLine.FindStringSubmatch(line); m != nil && current != "" {
			comments[current+"."+m[1]] = m[2]
		}
	}
	for _, s := range structs {
		for i := range s.fields {
			s.fields[i].comment = comments[s.name+"."+s.fields[i].name]
		}
	}
}
