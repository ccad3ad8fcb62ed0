/*
 * inet_port.c: which sockets own which ports. The sockets that accept() makes
 * share their listener's port and are in no list.
 */
#include "inet.h"

/* net.ipv4.ip_local_port_range */
#define EPHEMERAL_FIRST 32768u
#define EPHEMERAL_LAST 60999u

struct list *inet_ports(struct list *ports)
{
	if (!list_linked(ports))
		list_init(ports);
	return ports;
}

bool inet_overlap(const struct inet *a, const struct inet_addr *x, const struct inet *b)
{
	const struct inet_addr *y = &b->local;
	if (x->port != y->port)
		return false;
	if (y->kind == INET_FOREIGN) /* connected to others: only sockets for any address meet it */
		return x->kind == INET_V6_ANY || (x->kind == INET_V4 && !x->ip);
	bool x4 = x->kind == INET_V4, y4 = y->kind == INET_V4;
	if (x4 && y4)
		return x->ip == y->ip || !x->ip || !y->ip;
	if (x4)
		return y->kind == INET_V6_ANY && !b->v6only;
	if (y4)
		return x->kind == INET_V6_ANY && !a->v6only;
	return true; /* ::1 and :: */
}

long inet_bind(struct list *ports, struct inet *in, const struct inet_addr *a, bool (*exclusive)(const struct inet *))
{
	if (a->kind == INET_FOREIGN || (a->kind == INET_V4 && in->v6only))
		return -EADDRNOTAVAIL;
	if (a->port == 0) {
		struct inet_addr before = in->local;
		in->local = *a;
		long err = inet_autobind(ports, in);
		if (err)
			in->local = before;
		return err ? -EADDRINUSE : 0;
	}
	struct list *head = inet_ports(ports);
	for (struct list *l = head->next; l != head; l = l->next) {
		const struct inet *o = container_of(l, struct inet, bound);
		if (!inet_overlap(in, a, o))
			continue;
		bool both_port = sock_opt(in->s, SO_REUSEPORT) && sock_opt(o->s, SO_REUSEPORT);
		bool both_addr = sock_opt(in->s, SO_REUSEADDR) && sock_opt(o->s, SO_REUSEADDR);
		if (!both_port && !(both_addr && !exclusive(o)))
			return -EADDRINUSE;
	}
	in->local = *a;
	list_add_tail(head, &in->bound);
	return 0;
}

long inet_autobind(struct list *ports, struct inet *in)
{
	static u32 next = EPHEMERAL_FIRST;
	struct list *head = inet_ports(ports);
	for (u32 tries = EPHEMERAL_FIRST; tries <= EPHEMERAL_LAST; tries++) {
		u16 port = (u16)next;
		next = next == EPHEMERAL_LAST ? EPHEMERAL_FIRST : next + 1;
		bool taken = false;
		for (struct list *l = head->next; l != head && !taken; l = l->next)
			taken = container_of(l, struct inet, bound)->local.port == port;
		if (taken)
			continue;
		in->local.port = port;
		list_add_tail(head, &in->bound);
		return 0;
	}
	return -EADDRNOTAVAIL;
}

void inet_unbind(struct inet *in)
{
	if (list_linked(&in->bound))
		list_del(&in->bound);
}
