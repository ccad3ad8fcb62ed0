package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/access"
	"seuss/lineage/sealed"
	"seuss/tools/seussctl/cmdline"
)

const (
	// tokenVariable holds the token where --token-file does not name a file.
	tokenVariable = "SEUSS_TOKEN"
	// tokenName is the file in the state directory with the token that serve makes.
	tokenName = "token"
	// minToken keeps a token that a user chose from being guessed.
	minToken = 16
	// maxToken bounds what is read of its file.
	maxToken = 4096
)

// token is what clients over TCP need.
type token struct {
	text  string
	file  string // where it is kept; empty: nowhere
	open  bool   // none is asked for
	given bool   // by the user: it may be for clients of other machines
}

// readTokenFlags reads the token that the user gives; its text is empty where there
// is none, and one is to be made.
func readTokenFlags(e *cmdline.Env, c *cli.Context) (t token, err error) {
	file := c.String("token-file")
	t = token{text: e.Getenv(tokenVariable), open: c.Bool("no-token")}
	if t.open {
		if file != "" || t.text != "" {
			return t, cmdline.Usagef(c.Command.HelpName, "--no-token: --token-file or $%s gives one", tokenVariable)
		}
		return t, nil
	}
	if file != "" {
		if t.file, err = filepath.Abs(file); err == nil {
			t.text, err = readToken(file)
		}
		if err != nil {
			return t, fmt.Errorf("token: %w", err)
		}
	}
	if t.text != "" && len(t.text) < minToken {
		return t, fmt.Errorf("token: it has %d characters, at least %d are needed: it is all that keeps others out", len(t.text), minToken)
	}
	t.given = t.text != ""
	return t, nil
}

func readToken(file string) (string, error) {
	b, err := sealed.ReadFile(file, maxToken)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return "", fmt.Errorf("%s is empty", file)
	}
	return text, nil
}

// ensureToken completes t with the token of the state directory, which the caller
// holds, and makes one where there is none yet.
func ensureToken(t *token, stateDir string) error {
	if t.open || t.given {
		return nil
	}
	t.file = filepath.Join(stateDir, tokenName)
	text, err := readToken(t.file)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = makeToken(t.file)
	}
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	if len(text) < minToken {
		return fmt.Errorf("token: %s has %d characters, at least %d are needed: remove it, and one is made", t.file, len(text), minToken)
	}
	t.text = text
	return nil
}

func makeToken(file string) (string, error) {
	text := access.NewSecret()
	files := sealed.OS()
	if err := files.WriteFile(file, []byte(text+"\n")); err != nil {
		return "", err
	}
	return text, os.Chmod(file, sealed.OpenMode) // whoever wants may write another one
}
