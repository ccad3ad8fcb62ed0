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
	clusterFetched  = describe("seuss_cluster_nodes_fetched", "Snapshot nodes that came from other members since the start.")
	clusterFailed   = describe("seuss_cluster_nodes_failed", "Functions whose snapshots were to come from other members and did not.")
	clusterBytes    = describe("seuss_cluster_node_bytes", "Bytes of nodes and images that went between members since the start, by direction.", "direction")
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
	gauge(clusterFetched, float64(v.Nodes.Fetched))
	gauge(clusterFailed, float64(v.Nodes.Failed))
	gauge(clusterBytes, float64(v.Nodes.FetchedBytes), "in")
	gauge(clusterBytes, float64(v.Nodes.GivenBytes), "out")
	gauge(clusterRoutes, float64(v.Routes))
}
