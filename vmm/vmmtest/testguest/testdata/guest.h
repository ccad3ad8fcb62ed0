/*
 * guest.h: where the tests' guest (guest.S) takes its orders, and where it runs code
 * that a test has put there.
 */
#define MAILBOX 0x400000
#define PROGRAM 0x401000 /* outside the kernel library */
