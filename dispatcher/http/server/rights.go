package server

import (
	"fmt"
	"net/http"
	"slices"

	"seuss/dispatcher/access"
)

// need is what a route asks of whoever calls it.
type need struct {
	right access.Right
	// everywhere: the right must be on all functions of all owners, because the answer
	// tells of all. Else a route that names a function wants the right on that, and one
	// that lists shows what the caller reaches.
	everywhere bool
}

// rights is the one table of what every route needs. A route that is not in it cannot be
// registered.
var rights = map[string]need{
	"/":                                   {access.None, false}, // no operation of the service
	"GET /openapi.json":                   {access.None, false},
	"GET /healthz":                        {access.None, false}, // Access asks nobody who he is
	"GET /readyz":                         {access.None, false},
	"GET /metrics":                        {access.Read, true},
	"GET /v1/health":                      {access.None, false}, // of the load only those hear who read everywhere
	"GET /v1/endpoint":                    {access.Admin, true},
	"GET /v1/functions":                   {access.Read, false},
	"GET /v1/functions/{name}":            {access.Read, false},
	"PUT /v1/functions/{name}":            {access.Deploy, false},
	"PATCH /v1/functions/{name}":          {access.Deploy, false},
	"DELETE /v1/functions/{name}":         {access.Deploy, false},
	"GET /v1/functions/{name}/code":       {access.Read, false},
	"GET /v1/functions/{name}/imports":    {access.Read, false},
	"GET /v1/functions/{name}/start":      {access.Read, false},
	"POST /v1/functions/{name}/invoke":    {access.Invoke, false},
	"POST /v1/functions/{name}/explain":   {access.Read, false},
	"POST /v1/functions/{name}/snapshots": {access.Deploy, false},
	"POST /v1/run":                        {access.Deploy | access.Invoke, false},
	"POST /v1/images/{image}/base":        {access.Admin, true},
	"POST /v1/images/{image}/imports":     {access.Admin, true},
	"DELETE /v1/images/{image}":           {access.Admin, true},
	"GET /v1/snapshots":                   {access.Read, false},
	"GET /v1/snapshots/{id}":              {access.Read, false},
	"DELETE /v1/snapshots/{id}":           {access.Admin, true},
	"POST /v1/snapshots/{id}/form":        {access.Admin, true},
	"POST /v1/snapshots/{id}/flatten":     {access.Admin, true},
	"POST /v1/import":                     {access.Admin, true},
	"POST /v1/gc":                         {access.Admin, true},
	"POST /v1/marks":                      {access.Admin, true},
	"GET /v1/lineage":                     {access.Read, false},
	"GET /v1/watch":                       {access.Read, false},
	"GET /v1/pools":                       {access.Read, true},
	"GET /v1/tiers":                       {access.Read, true},
	"GET /v1/sockets":                     {access.Read, false},
	"POST /v1/instances":                  {access.Deploy | access.Invoke, false},
	"GET /v1/instances":                   {access.Read, false},
	"GET /v1/instances/{name}":            {access.Read, false},
	"DELETE /v1/instances/{name}":         {access.Deploy, false},
	"POST /v1/instances/{name}/exec":      {access.Deploy | access.Invoke, false},
	"POST /v1/instances/{name}/invoke":    {access.Invoke, false},
	"POST /v1/instances/{name}/pause":     {access.Invoke, false},
	"POST /v1/instances/{name}/resume":    {access.Invoke, false},
	"POST /v1/instances/{name}/fork":      {access.Deploy | access.Invoke, false},
	"POST /v1/instances/{name}/forward":   {access.Deploy | access.Invoke, false},
	"POST /v1/instances/{name}/rollback":  {access.Deploy | access.Invoke, false},
	"GET /v1/instances/{name}/diff":       {access.Deploy | access.Invoke, false},
	"GET /v1/instances/{name}/files":      {access.Deploy | access.Invoke, false},
	"PUT /v1/instances/{name}/files":      {access.Deploy | access.Invoke, false},
	"GET /v1/instances/{name}/wait":       {access.Read, false},
	"GET /v1/instances/{name}/logs":       {access.Read, false},
	"GET /v1/watch/instances":             {access.Read, false},

	"POST /v1/instances/{name}/checkpoint": {access.Deploy | access.Invoke, false},

	"GET /v1/invocations":             {access.Read, false},
	"DELETE /v1/invocations/{id}":     {access.Deploy, false}, // of a function that the caller reaches
	"GET /v1/functions/{name}/logs":   {access.Read, false},
	"GET /v1/functions/{name}/events": {access.Read, false},
	"GET /v1/sandbox":                 {access.Admin, true},
	"GET /v1/images":                  {access.Read, true},
	"GET /v1/snapshots/{id}/inspect":  {access.Read, true},
	"GET /v1/snapshots/{id}/rebase":   {access.Read, true},
	"GET /v1/usage":                   {access.Read, true},
	"GET /v1/snapshots/{id}/diff":     {access.Admin, true}, // these tell of guests' memory
	"GET /v1/snapshots/{id}/export":   {access.Admin, true},
	"POST /v1/verify":                 {access.Admin, true},
	"POST /v1/duplicates":             {access.Admin, true},
	"POST /v1/refresh":                {access.Admin, true},
	"GET /v1/cluster":                 {access.Read, true},
	"PUT /v1/cluster/members/{host}":  {access.Admin, true},
	"GET /v1/plans":                   {access.Read, false},
	"POST /v1/plans":                  {access.Deploy, false}, // one for everybody's functions: as below
	"DELETE /v1/plans":                {access.Deploy, false}, // takes admin everywhere, which the handler asks for

	// State is that of the caller's owner, whose functions his rights must all be about.
	"GET /v1/state":              {access.Read, false},
	"GET /v1/state/stats":        {access.Read, false},
	"GET /v1/state/{path...}":    {access.Read, false},
	"PUT /v1/state/{path...}":    {access.Admin, false},
	"POST /v1/state/{path...}":   {access.Admin, false},
	"DELETE /v1/state/{path...}": {access.Admin, false},
	"POST /v1/push/{path...}":    {access.Admin, false},
	"DELETE /v1/push/{path...}":  {access.Admin, false},
	"POST /v1/pull/{path...}":    {access.Admin, false},

	"GET /v1/functions/{name}/http/{path...}":     {access.Invoke, false},
	"POST /v1/functions/{name}/http/{path...}":    {access.Invoke, false},
	"PUT /v1/functions/{name}/http/{path...}":     {access.Invoke, false},
	"PATCH /v1/functions/{name}/http/{path...}":   {access.Invoke, false},
	"DELETE /v1/functions/{name}/http/{path...}":  {access.Invoke, false},
	"OPTIONS /v1/functions/{name}/http/{path...}": {access.Invoke, false},

	"POST /2015-03-31/functions/{name}/invocations":       {access.Invoke, false},
	"POST /2015-03-31/functions":                          {access.Deploy, false},
	"POST /2015-03-31/functions/{$}":                      {access.Deploy, false},
	"GET /2015-03-31/functions":                           {access.Read, false},
	"GET /2015-03-31/functions/{$}":                       {access.Read, false},
	"GET /2015-03-31/functions/{name}":                    {access.Read, false},
	"DELETE /2015-03-31/functions/{name}":                 {access.Deploy, false},
	"PUT /2015-03-31/functions/{name}/code":               {access.Deploy, false},
	"GET /2015-03-31/functions/{name}/configuration":      {access.Read, false},
	"PUT /2015-03-31/functions/{name}/configuration":      {access.Deploy, false},
	"POST /2015-03-31/functions/{name}/versions":          {access.Deploy, false},
	"GET /2015-03-31/functions/{name}/versions":           {access.Read, false},
	"POST /2015-03-31/functions/{name}/aliases":           {access.Deploy, false},
	"GET /2015-03-31/functions/{name}/aliases":            {access.Read, false},
	"GET /2015-03-31/functions/{name}/aliases/{alias}":    {access.Read, false},
	"PUT /2015-03-31/functions/{name}/aliases/{alias}":    {access.Deploy, false},
	"DELETE /2015-03-31/functions/{name}/aliases/{alias}": {access.Deploy, false},
	"PUT /2017-10-31/functions/{name}/concurrency":        {access.Deploy, false},
	"DELETE /2017-10-31/functions/{name}/concurrency":     {access.Deploy, false},
	"GET /2019-09-30/functions/{name}/concurrency":        {access.Read, false},

	"POST /2021-11-15/functions/{name}/response-streaming-invocations": {access.Invoke, false},

	"POST /2021-10-31/functions/{name}/url":   {access.Deploy, false},
	"GET /2021-10-31/functions/{name}/url":    {access.Read, false},
	"PUT /2021-10-31/functions/{name}/url":    {access.Deploy, false},
	"DELETE /2021-10-31/functions/{name}/url": {access.Deploy, false},
	"GET /2021-10-31/functions/{name}/urls":   {access.Read, false},

	"GET /2018-10-31/layers":                                   {access.Read, false},   // of the caller's owner
	"POST /2018-10-31/layers/{layer}/versions":                 {access.Deploy, false}, // of the caller's owner
	"GET /2018-10-31/layers/{layer}/versions":                  {access.Read, false},   // of the caller's owner
	"GET /2018-10-31/layers/{layer}/versions/{number}":         {access.Read, false},   // of the caller's owner
	"DELETE /2018-10-31/layers/{layer}/versions/{number}":      {access.Deploy, false}, // of the caller's owner
	"GET /2018-10-31/layers/{layer}/versions/{number}/content": {access.Read, false},   // of the caller's owner

	"GET /2017-03-31/tags/{name}":                               {access.Read, false},
	"POST /2017-03-31/tags/{name}":                              {access.Deploy, false},
	"DELETE /2017-03-31/tags/{name}":                            {access.Deploy, false},
	"POST /2015-03-31/functions/{name}/policy":                  {access.Deploy, false},
	"GET /2015-03-31/functions/{name}/policy":                   {access.Read, false},
	"DELETE /2015-03-31/functions/{name}/policy/{statement}":    {access.Deploy, false},
	"GET /2016-08-19/account-settings":                          {access.Read, false}, // of the caller's owner
	"GET /2016-08-19/account-settings/{$}":                      {access.Read, false},
	"GET /2020-06-30/functions/{name}/code-signing-config":      {access.Read, false},
	"PUT /2019-09-25/functions/{name}/event-invoke-config":      {access.Deploy, false},
	"POST /2019-09-25/functions/{name}/event-invoke-config":     {access.Deploy, false},
	"GET /2019-09-25/functions/{name}/event-invoke-config":      {access.Read, false},
	"DELETE /2019-09-25/functions/{name}/event-invoke-config":   {access.Deploy, false},
	"GET /2019-09-25/functions/{name}/event-invoke-config/list": {access.Read, false},
}

// Routes takes the routes of the front doors.
type Routes struct {
	s   *Server
	mux *http.ServeMux
}

// HandleFunc adds a route, which the table of rights must have.
func (m *Routes) HandleFunc(pattern string, f func(http.ResponseWriter, *http.Request)) {
	need, ok := rights[pattern]
	if !ok {
		panic(fmt.Sprintf("server: the route %q has no right: declare it in the table of http/server/rights.go", pattern))
	}
	m.s.routes = append(m.s.routes, pattern)
	m.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if p := PrincipalOf(r); !p.Has(need.right) || need.everywhere && !p.Everywhere() {
			m.s.refuse(w, r, errDenied(p, need))
			return
		}
		f(w, r)
	})
}

// Routes returns the patterns of all routes.
func (s *Server) Routes() []string { return slices.Clone(s.routes) }

// Handle is HandleFunc for a handler.
func (m *Routes) Handle(pattern string, h http.Handler) { m.HandleFunc(pattern, h.ServeHTTP) }

func errDenied(p *access.Principal, need need) error {
	what := need.right.String()
	if need.everywhere {
		what += " on all functions of all owners"
	}
	return &Refusal{Status: http.StatusForbidden, Code: "AccessDeniedException", Message: fmt.Sprintf("The token %s may not do this: it takes the right to %s.", p.Name, what)}
}
