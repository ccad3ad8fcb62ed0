/* units.h: units that more than one part of the guest names, the vDSO included. */
#ifndef SEUSS_UNITS_H
#define SEUSS_UNITS_H

#define NS_PER_SEC 1000000000ull

#endif
