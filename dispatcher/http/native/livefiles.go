package native

import (
	"context"
	"net/http"

	"seuss/dispatcher/http/server"
	"seuss/dispatcher/instances"
	"seuss/dispatcher/instances/archive"
)

// getFiles answers with a tar archive of what is at ?path= of an instance. If something goes
// wrong once it has begun, the answer breaks off.
func (l live) getFiles(w http.ResponseWriter, r *http.Request) error {
	return l.copyFiles(r, func(ctx context.Context, i *instances.Instance, path string) error {
		begun := false
		err := archive.Pack(ctx, i, path, w, func() {
			begun = true
			w.Header().Set("Content-Type", "application/x-tar")
		})
		if err != nil && begun {
			l.Log.Info("an instance's files were copied in part", "instance", r.PathValue("name"), "path", path, "error", err)
			panic(http.ErrAbortHandler)
		}
		return err
	})
}

// putFiles unpacks a tar archive at ?path= of an instance. What is durable is kept with them
// before the answer.
func (l live) putFiles(w http.ResponseWriter, r *http.Request) error {
	return done(w, l.copyFiles(r, func(ctx context.Context, i *instances.Instance, path string) error {
		if err := archive.Unpack(ctx, i, path, r.Body); err != nil {
			return err
		}
		return i.Keep(ctx)
	}))
}

func (l live) copyFiles(r *http.Request, do func(ctx context.Context, i *instances.Instance, path string) error) error {
	i, err := l.find(r)
	if err != nil {
		return err
	}
	leave, err := l.copying.enter(server.PrincipalOf(r).Owner)
	if err != nil {
		return err
	}
	defer leave()
	return do(r.Context(), i, r.URL.Query().Get("path"))
}
