// Package instances keeps instances that live on: each has a name, an owner and a time to
// live, does one thing after the other as it is asked, and holds no machine between two of
// them. What an instance is made of, and how it comes to a machine and off it, is its
// Body's; this package decides who may have how many, whose turn it is within an instance,
// when one is let go, and what is said of it.
//
// Units: bytes; time.Duration.
//
// Ownership: a Keeper owns a goroutine for each of its instances, from Create to Remove or
// Close; only that goroutine uses the Body.
//
// Locks: Keeper.mu, then Instance.mu, then Keeper.watching; journal.mu is a leaf. No Body is
// called with one held.
package instances
