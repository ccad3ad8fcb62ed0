/* inbound.h: connections that the monitor opens to TCP ports of the guest. */
#ifndef SEUSS_IPC_INBOUND_H
#define SEUSS_IPC_INBOUND_H

#include "../hoststream.h"
#include "tcp.h"

/* Would a connection of the monitor's to its port reach this listener? */
bool inbound_reaches(const struct tcp *l);

#endif
