package app

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"

	"seuss/dispatcher/api"
	"seuss/tools/seussctl/cmdline"
)

// listenNowhere is the address of a service that is reached through Unix sockets only.
const listenNowhere = "none"

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
	if cfg.listen != listenNowhere {
		l, err := net.Listen("tcp", cfg.listen)
		if err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
		list = append(list, endpoint{l, false, "http://" + l.Addr().String()})
	}
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

// endpointOf is what clients are told of where the service is reached.
func endpointOf(listeners []endpoint, t token) api.Endpoint {
	for _, l := range listeners {
		if !l.unix {
			url := l.name
			if at, ok := l.Addr().(*net.TCPAddr); ok && at.IP.IsUnspecified() {
				url = fmt.Sprintf("http://127.0.0.1:%d", at.Port)
			}
			return api.Endpoint{URL: url, Token: !t.open, TokenFile: t.file}
		}
	}
	return api.Endpoint{}
}

// announce says where the service is reached: programs read the one JSON
// document on stdout, people a line on stderr.
func announce(e *cmdline.Env, listeners []endpoint, tcp api.Endpoint) error {
	var names []string
	for _, l := range listeners {
		names = append(names, l.name)
	}
	if e.JSON {
		return e.PrintJSON(struct {
			Listening []string `json:"listening"`
			TokenFile string   `json:"token_file,omitempty"`
		}{names, tcp.TokenFile})
	}
	if log := e.Notes; log != nil {
		log.Info("serving", "on", names, "token_file", tcp.TokenFile, "open", tcp.URL != "" && !tcp.Token)
		return nil
	}
	text := "seussctl: serving on " + strings.Join(names, " and ") + "\n"
	switch {
	case tcp.URL == "":
	case !tcp.Token:
		text += "seussctl: note: every program of this machine, whoever runs it, may use " + tcp.URL + "\n"
	case tcp.TokenFile != "":
		text += "seussctl: the token of " + tcp.URL + " is in " + tcp.TokenFile + "; seussctl env prints what AWS's clients need\n"
	}
	_, err := io.WriteString(e.Stderr, text)
	return err
}
