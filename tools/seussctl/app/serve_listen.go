package app

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"

	"seuss/tools/seussctl/cmdline"
)

type endpoint struct {
	net.Listener
	unix bool
	name string
}

// listen opens the address and the sockets.
func listen(e *cmdline.Env, cfg *serveConfig) (list []endpoint, err error) {
	defer func() {
		if err != nil {
			for _, l := range list {
				l.Close()
			}
		}
	}()
	l, err := net.Listen("tcp", cfg.listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	list = append(list, endpoint{l, false, "http://" + l.Addr().String()})
	paths := []string{filepath.Join(e.StateDir, cmdline.SocketName)}
	if cfg.socket != "" {
		paths = append(paths, cfg.socket)
	}
	for _, path := range paths {
		l, err := cmdline.ListenSocket(path)
		if err != nil {
			return list, err
		}
		list = append(list, endpoint{l, true, "unix:" + path})
	}
	return list, nil
}

// announce says where the service is reached: programs read the one JSON
// document on stdout, people a line on stderr.
func announce(e *cmdline.Env, listeners []endpoint) error {
	var names []string
	for _, l := range listeners {
		names = append(names, l.name)
	}
	if e.JSON {
		return e.PrintJSON(struct {
			Listening []string `json:"listening"`
		}{names})
	}
	_, err := io.WriteString(e.Stderr, "seussctl: serving on "+strings.Join(names, " and ")+"\n")
	return err
}
