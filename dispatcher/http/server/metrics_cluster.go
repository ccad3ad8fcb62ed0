package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"seuss/dispatcher/cluster/members"
)

var (
	clusterMembers  = describe("seuss_cluster_members", "Members of the cluster by what this one knows of them.", "state")
	clusterCordoned = describe("seuss_cluster_cordoned", "Members that are here and are to get nothing new.")
	clusterPassed   = describe("seuss_cluster_passed", "Invocations passed on to other members since the start.")
	clusterServed   = describe("seuss_cluster_served", "Invocations run for other members since the start.")
	clusterRoutes   = describe("seuss_cluster_routes", "Members that this one is connected to.")
)

// collectCluster collects what this daemon sees of its cluster; nothing where it is in none.
func (c *stateCollector) collectCluster(gauge func(*prometheus.Desc, float64, ...string)) {
	if c.s.Cluster == nil {
		return
	}
	v := c.s.Cluster.Members()
	states, cordoned := map[members.State]int{members.Here: 0, members.Leaving: 0, members.Gone: 0}, 0
	for _, m := range v.Members {
		states[m.State]++
		if m.State == members.Here && m.Cordoned {
			cordoned++
		}
	}
	for state, n := range states {
		gauge(clusterMembers, float64(n), string(state))
	}
	gauge(clusterCordoned, float64(cordoned))
	gauge(clusterPassed, float64(v.Passed))
	gauge(clusterServed, float64(v.Served))
	gauge(clusterRoutes, float64(v.Routes))
}
