package dispatcher

import (
	"time"

	"seuss/dispatcher/instance"
	"seuss/lineage"
)

// What a start from a node costs is predicted from what starts have cost: the
// time to move its pages into a machine, unless one stands ready, and the time
// that the function then still takes.

// defaultPageCost is the time to put one page in place while nothing has been
// measured: a copy and its page fault (docs/decisions/reset.md, "Why is a reset a memcpy?").
const defaultPageCost = time.Microsecond

// restoreCost is what a move takes besides pages: registers and devices.
const restoreCost = 15 * time.Microsecond

// costs predicts what starts will cost, from what they have.
type costs struct {
	page  instance.Mean                              // of moving one into a machine
	ready func(img *image, s *instance.Snapshot) int // machines that stand ready on it
}

// Prediction is what an invocation would cost from a node.
type Prediction struct {
	Total time.Duration `json:"predicted_ns"`
	Move  time.Duration `json:"predicted_move_ns"` // bringing a machine to the node
	Run   time.Duration `json:"predicted_run_ns"`  // from there to the result
	Saved time.Duration `json:"saved_ns"`          // what the node makes unnecessary, as it was measured at its capture
	// Pages are those that a machine on the image's base lacks.
	Pages uint64 `json:"pages_to_move"`
	// Ready is how many machines stand ready on the node: with one, nothing is
	// moved.
	Ready int `json:"machines_ready"`
	// Measured tells a measured Run from one that is concluded from Saved.
	Measured bool `json:"measured"`
}

// predict says what an invocation of f from t would cost.
func (c *costs) predict(f *function, t *instance.Snapshot) Prediction {
	p := Prediction{Saved: t.Node.Info.SavedTime, Pages: t.Pages, Ready: c.ready(f.image, t)}
	if p.Ready == 0 {
		page := defaultPageCost
		if c.page.Known() {
			page = c.page.Get()
		}
		p.Move = restoreCost + time.Duration(t.Pages)*page
	}
	switch full := f.fullRun(); {
	case t.Run.Known():
		p.Run, p.Measured = t.Run.Get(), true
	case t.Node.Info.Kind == lineage.KindArgument:
		p.Run = max(full-p.Saved, 0)
	case t == f.node:
		p.Run = full
	case f.node != nil:
		p.Run = full + f.node.Node.Info.SavedTime // the code has to be loaded
	}
	p.Total = p.Move + p.Run
	return p
}

// fullRun is how long f runs from its function node: as measured, or as measured
// from an argument node and what that saves, or at least what any of these saves.
func (f *function) fullRun() (full time.Duration) {
	if f.node != nil && f.node.Run.Known() {
		return f.node.Run.Get()
	}
	for _, t := range f.arguments {
		if t.Run.Known() {
			return t.Run.Get() + t.Node.Info.SavedTime
		}
		full = max(full, t.Node.Info.SavedTime)
	}
	return full
}

// moveSlack is how much longer than what it saves a move may take: the machine
// then stands on the node for those that come next, and a host's other work makes
// short moves look long.
const moveSlack = 10 * time.Millisecond

// fewPages is below what number of pages a move is never held against a node: 16
// MiB, some milliseconds at most on a host that has nothing else to do.
const fewPages = 4096

// tellingPages is from what number of pages a move tells what a page costs. What a
// smaller one takes is mostly its beginning and end, and on a host that has much else to
// do mostly waiting: 187 pages in 29 ms made large moves look thirty times as long as
// they are. The predictions that decide are of moves of fewPages and more.
const tellingPages = 1024

// better reports whether a deeper node is worth it: whether bringing a machine to
// it takes little longer than what it saves over the other one. Runs that were
// measured do not decide: they were of other events, and a function that is quick
// with some argument would seem to need no node for those with which it is slow.
func (c *costs) better(f *function, deeper, than *instance.Snapshot) bool {
	if deeper.Pages < than.Pages+fewPages {
		return true
	}
	gain := deeper.Node.Info.SavedTime
	if than.Node.Info.Kind == lineage.KindArgument { // both count from the function node
		gain -= than.Node.Info.SavedTime
	}
	return c.predict(f, deeper).Move <= c.predict(f, than).Move+max(gain, 0)+moveSlack
}

// learn takes over what an invocation has cost.
func (c *costs) learn(t *instance.Snapshot, r *Result) {
	if r.Error != nil {
		return
	}
	if moved := r.PagesCopied + r.PagesMapped; !r.Pooled && moved >= tellingPages && r.Timings.Deploy > 0 {
		c.page.AddPicoseconds(int64(r.Timings.Deploy) * 1000 / int64(moved))
	}
	if r.Pooled { // on a machine that has just been moved, faults would be counted as the function's
		t.Run.Add(r.Timings.Load + r.Timings.Run)
	}
}
