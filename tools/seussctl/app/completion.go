package app

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/tools/seussctl/cmdline"
)

// completeWord is the hidden first argument with which the shells' completion
// functions ask for candidates. The words typed so far follow, the one under
// the cursor last.
const completeWord = "__complete"

// The scripts ask the program itself, so they never go out of date. No output
// means that the shell should offer file names.
var completionScripts = map[string]string{
	"bash": `# bash completion for seussctl: eval "$(seussctl completion bash)"
_seussctl() {
    local IFS=$'\n'
    COMPREPLY=($("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _seussctl seussctl
`,
	"zsh": `#compdef seussctl
# zsh completion for seussctl: eval "$(seussctl completion zsh)"
_seussctl() {
    local -a candidates
    candidates=("${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${candidates[1]}" ]]; then
        compadd -- "${candidates[@]}"
    else
        _files
    fi
}
compdef _seussctl seussctl
`,
	"fish": `# fish completion for seussctl: seussctl completion fish | source
function __seussctl_complete
    set -l words (commandline -opc)
    set -l candidates (seussctl __complete $words[2..-1] (commandline -ct) 2>/dev/null)
    if test (count $candidates) -gt 0
        string join \n -- $candidates
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c seussctl -f -a '(__seussctl_complete)'
`,
}

func completion(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "completion",
		ArgsUsage: "bash|zsh|fish",
		Usage:     "print a completion script for a shell",
		Examples: []string{
			`eval "$(seussctl completion bash)"`,
			`eval "$(seussctl completion zsh)"`,
			"seussctl completion fish | source",
		},
		MinArgs: 1, MaxArgs: 1,
		Complete: func(*cmdline.Env) []string { return []string{"bash", "fish", "zsh"} },
		Action: func(c *cli.Context, e *cmdline.Env) error {
			script, ok := completionScripts[c.Args().First()]
			if !ok {
				return cmdline.Usagef(c.Command.HelpName, "no completion for %q: want bash, zsh or fish", c.Args().First())
			}
			_, err := fmt.Fprint(e.Stdout, script)
			return err
		},
	})
}

// printCompletions prints what may stand in place of the last of words.
func printCompletions(e *cmdline.Env, root *cli.App, words []string) {
	current := ""
	if len(words) > 0 {
		current, words = words[len(words)-1], words[:len(words)-1]
	}
	l := parseWords(root, words)
	if l.pending != "" {
		return // a flag's value: a file, or something only the user knows
	}
	state := ""
	for i, g := range l.globals {
		if g == "--state" && i+1 < len(l.globals) {
			state = l.globals[i+1]
		} else if v, ok := strings.CutPrefix(g, "--state="); ok {
			state = v
		}
	}
	if err := e.SetState(state); err != nil {
		return // a completion has nobody to tell
	}
	for _, c := range candidates(e, root, l, strings.HasPrefix(current, "-")) {
		if strings.HasPrefix(c, current) {
			fmt.Fprintln(e.Stdout, c)
		}
	}
}

func candidates(e *cmdline.Env, root *cli.App, l commandLine, flags bool) (out []string) {
	commands, own := root.Commands, []cli.Flag(nil)
	if l.command != nil {
		commands, own = l.command.Subcommands, l.command.Flags
	}
	if flags {
		for _, f := range append(append([]cli.Flag{}, own...), root.Flags...) {
			out = append(out, "--"+f.Names()[0])
		}
		return append(out, "--help")
	}
	for _, c := range cmdline.Visible(commands) {
		out = append(out, c.Name)
	}
	if complete := e.Complete[l.command]; complete != nil && len(l.args) == 0 {
		out = append(out, complete(e)...)
	}
	return out
}
