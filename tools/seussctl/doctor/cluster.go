package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"seuss/dispatcher/cluster"
	"seuss/dispatcher/cluster/members"
)

// cluster says what the daemon sees of its cluster; nothing where it is in none.
func (h *Host) cluster(ctx context.Context) []Check {
	if h.Cluster == nil {
		return nil
	}
	v, err := h.Cluster(ctx)
	if errors.Is(err, cluster.ErrNone) {
		return nil
	}
	if err != nil {
		return []Check{{Name: "cluster", Status: Warning, Detail: err.Error(), Fix: "look at the daemon's log"}}
	}
	return []Check{clusterCheck(&v)}
}

// clusterCheck judges what is seen of one.
func clusterCheck(v *cluster.View) Check {
	var gone, cordoned, other []string
	var self, here = members.Member{}, 0
	for _, m := range v.Members {
		if m.Self {
			self = m
		}
	}
	for _, m := range v.Members {
		switch {
		case m.State == members.Gone:
			gone = append(gone, m.Member)
			continue
		case m.Cordoned:
			cordoned = append(cordoned, m.Member)
		}
		here++
		if m.Release != self.Release || m.CPU != self.CPU || m.Platform != self.Platform {
			other = append(other, m.Member)
		}
	}
	c := Check{Name: "cluster " + v.Name, Status: OK, Detail: fmt.Sprintf("%s, one of %d members that are here", v.Self, here)}
	tell := func(list []string, what, fix string) {
		if len(list) > 0 {
			c.Status, c.Detail, c.Fix = Warning, c.Detail+"; "+what+": "+strings.Join(list, ", "), fix
		}
	}
	tell(cordoned, "cordoned", "seussctl cluster uncordon HOST, when it may get something again")
	tell(other, "of another release, platform or processor than this one", "have all members run one release; snapshots go to a processor that has the features of theirs")
	tell(gone, "gone", "start seussctl serve there again; a member that was taken away is forgotten after a day")
	var lost []string
	for _, l := range v.Conflicts {
		lost = append(lost, fmt.Sprintf("%s of %s to %s", l.Deployment, l.Lost, l.Holds))
	}
	tell(lost, "deployments that were lost to others, made at the same time", "deploy them again where they are wanted")
	if here > 1 && v.Routes == 0 {
		c.Status, c.Detail, c.Fix = Warning, c.Detail+"; connected to none of them", "look at the network between the addresses of seussctl cluster ls"
	}
	return c
}
