/* interfaces.c: the list of network interfaces, of which a guest has the loopback only. */
#include "abi.h"
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

int main(void)
{
	R(if_nametoindex("lo"));
	R(if_nametoindex("nosuch0"));
	char name[IF_NAMESIZE] = "";
	R(if_indextoname(1, name) != NULL);
	puts(name);
	R(if_indextoname(99999, name) != NULL);
	struct if_nameindex *list = if_nameindex();
	R(list != NULL);
	for (struct if_nameindex *i = list; i && i->if_index; i++)
		if (!strcmp(i->if_name, "lo"))
			R(i->if_index);
	struct ifaddrs *all = NULL;
	R(getifaddrs(&all));
	for (struct ifaddrs *i = all; i; i = i->ifa_next)
		if (!strcmp(i->ifa_name, "lo")) {
			char text[INET6_ADDRSTRLEN] = "";
			R(i->ifa_addr->sa_family);
			if (i->ifa_addr->sa_family == AF_INET) {
				inet_ntop(AF_INET, &((struct sockaddr_in *)i->ifa_addr)->sin_addr, text, sizeof text);
				R(i->ifa_flags & (IFF_UP | IFF_LOOPBACK | IFF_RUNNING));
			}
			puts(text);
		}
	int s = socket(AF_INET, SOCK_DGRAM, 0), u = socket(AF_UNIX, SOCK_STREAM, 0);
	struct ifreq r = {.ifr_name = "lo"};
	R(ioctl(s, SIOCGIFINDEX, &r));
	R(ioctl(u, SIOCGIFINDEX, &r));
	R(r.ifr_ifindex);
	R(ioctl(s, SIOCGIFFLAGS, &r));
	R(r.ifr_flags & (IFF_UP | IFF_LOOPBACK | IFF_RUNNING));
	R(ioctl(s, SIOCGIFMTU, &r));
	R(r.ifr_mtu);
	R(ioctl(s, SIOCGIFADDR, &r));
	R(ioctl(s, SIOCGIFHWADDR, &r));
	R(r.ifr_hwaddr.sa_family);
	strcpy(r.ifr_name, "nosuch0");
	R(ioctl(s, SIOCGIFINDEX, &r));
	R(ioctl(s, SIOCGIFNAME, (void *)8));
	R(socket(AF_NETLINK, SOCK_STREAM, NETLINK_ROUTE));
	int n = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	struct sockaddr_nl a = {.nl_family = AF_NETLINK, .nl_pid = 1 << 30};
	R(sendto(n, "", 0, 0, (void *)&a, sizeof a));
	R(recv(n, name, 1, MSG_DONTWAIT));
	R(bind(n, (void *)&a, 3));
	R(getsockname(n, (void *)&a, &(socklen_t){sizeof a}));
	R(a.nl_family);
	struct { struct nlmsghdr h; struct rtgenmsg g; } ask = {{sizeof ask, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 7, 0}, {AF_UNSPEC}};
	char big[65536];
	R(send(n, &ask, sizeof ask, 0));
	for (int done = 0; !done;) {
		int left = recv(n, big, sizeof big, 0);
		for (struct nlmsghdr *h = (void *)big; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
			struct ifinfomsg *i = NLMSG_DATA(h);
			done |= h->nlmsg_type == NLMSG_DONE;
			if (h->nlmsg_type == RTM_NEWLINK && i->ifi_index == 1) {
				R(i->ifi_type);
				R(h->nlmsg_seq);
				R(h->nlmsg_flags & NLM_F_MULTI);
			}
		}
	}
	ask.h.nlmsg_type = 9999;
	R(send(n, &ask, sizeof ask, 0));
	struct { struct nlmsghdr h; struct nlmsgerr e; } reply;
	R(recv(n, &reply, sizeof reply, 0) > 0);
	R(reply.h.nlmsg_type);
	R(reply.e.error);
	return 0;
}
