package attacks

// Attacks that need another daemon than that of TestAttacks, or none.
func init() {
	add(Attack{
		Name:  "drain",
		Tries: "Clients that do not read, and functions that do not end, hold up the end of the service",
		Holds: "it ends within --drain, and with a second signal at once",
		Tests: []string{"TestDrainEnds", "TestClientsThatDoNotRead", "TestCloseHasAnEnd"},
	})
	add(Attack{
		Name:  "stub",
		Tries: "A guest on the process platform forges what its stub and the monitor tell each other",
		Holds: "its process ends, and the monitor goes on",
		Tests: []string{"TestForgedTurn", "TestForgedSignalled", "TestForgedPark"},
	})
	add(Attack{
		Name:  "network",
		Tries: "A function speaks to the monitor's network port itself, and asks for what it may not reach or for connections without end",
		Holds: "it reaches what --allow-net names and no more, with a bound on its connections",
		Tests: []string{"TestOutboundHostile", "TestBudgetHostileBesideHonest", "TestOutboundFair", "TestGuestsReachAllowedPortsOnly", "TestResolveNonsense"},
	})
	add(Attack{
		Name:  "images",
		Tries: "A layout, an archive or a registry that is imported from lies about sizes, digests and links",
		Holds: "it is refused with bounded memory, and nothing of it is in the store",
		Tests: []string{"TestHostileLayouts", "TestHostileArchives", "TestHostileRegistry"},
	})
	add(Attack{
		Name:  "neighbours",
		Tries: "Another user of the host reads the state directory, takes its lock, or connects without the token",
		Holds: "folders and files are the service's alone, and mended when it starts; an address is no use without the token",
		Tests: []string{"TestNeighbours", "TestTokenOverTCP"},
	})
}
