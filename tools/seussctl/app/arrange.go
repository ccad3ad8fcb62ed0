package app

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// helpWord may stand before any command: "seussctl help image build".
const helpWord = "help"

// commandLine is a command line taken apart by what its words are.
type commandLine struct {
	globals []string     // global flags and their values
	path    []string     // names of the command and subcommand
	command *cli.Command // the last of path; nil if path is empty
	flags   []string     // all other flags and their values
	args    []string     // positional arguments
	pending string       // flag at the end whose value is missing
}

// parseWords takes args (without the program's name) apart. It follows the
// commands' own flag definitions, so that a flag's value is never taken for an
// argument, and reports nothing: what is unknown stays among the flags for the
// cli library to complain about.
func parseWords(root *cli.App, args []string) commandLine {
	var l commandLine
	var flags []cli.Flag
	commands := root.Commands
	for i := 0; i < len(args); i++ {
		word := args[i]
		switch {
		case word == "--":
			l.args = append(l.args, args[i+1:]...)
			return l
		case len(word) > 1 && word[0] == '-':
			name, _, joined := strings.Cut(strings.TrimLeft(word, "-"), "=")
			into := &l.flags
			f := findFlag(flags, name)
			if f == nil {
				if f = findFlag(root.Flags, name); f != nil && name != helpWord && name != "h" {
					into = &l.globals
				}
			}
			*into = append(*into, word)
			if f == nil || joined || !takesValue(f) {
				continue
			}
			if i++; i < len(args) {
				*into = append(*into, args[i])
			} else {
				l.pending = name
			}
		default:
			sub := findCommand(commands, word)
			if sub == nil || len(l.args) > 0 {
				l.args = append(l.args, word)
				continue
			}
			l.path = append(l.path, sub.Name)
			l.command, flags, commands = sub, sub.Flags, sub.Subcommands
		}
	}
	return l
}

// arrange returns the command line in the order that the cli library, which
// stops looking for flags at the first argument, understands, and whether it asks for
// JSON. args begins with the program's name.
func arrange(root *cli.App, args []string) (words []string, asJSON bool) {
	if len(args) == 0 {
		return []string{root.Name}, false
	}
	words = args[1:]
	if len(words) > 0 && words[0] == helpWord {
		words = append(slices.Clone(words[1:]), "--help")
	}
	l := parseWords(root, words)
	out := append([]string{args[0]}, l.globals...)
	out = append(out, l.path...)
	out = append(out, l.flags...)
	if len(l.args) > 0 {
		out = append(append(out, "--"), l.args...)
	}
	for _, g := range l.globals {
		if name, value, given := strings.Cut(strings.TrimPrefix(g, "-"), "="); name == "-json" || name == "json" && name != g {
			asJSON = !given || value == "true"
		}
	}
	return out, asJSON
}

func findCommand(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

func findFlag(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func takesValue(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.TakesValue()
}
