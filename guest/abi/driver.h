/*
 * driver.h: the contract between the monitor and a language runtime's driver, the
 * guest's first program. Drivers get these constants as a module of their language
 * that package guest renders; C includes the file.
 *
 * Each side refuses another version: the driver states its own in ABI_MSG_READY,
 * as "protocol", and an image its driver's in its configuration, as "driver_protocol"
 * (absent in either: 1); the monitor passes its own in the environment variable
 * SEUSS_DRIVER_PROTOCOL, and a driver of another ends with a message that says both.
 */
#ifndef SEUSS_ABI_DRIVER_H
#define SEUSS_ABI_DRIVER_H

#define ABI_DRIVER_VERSION 1

/* ---- Driver protocol ------------------------------------------------------
 *
 * The language runtime's driver connects to ABI_DRIVER_PORT of CID 2 once and
 * then speaks frames on that stream, strictly in turns: uint32_t payload
 * length, uint8_t type, payload. A seed is ABI_SEED_BYTES of fresh entropy for
 * the runtime's own generators. ctx is JSON, preceded by its uint32_t length.
 */
#define ABI_DRIVER_PORT 1
#define ABI_FRAME_HEADER 5
#define ABI_SEED_BYTES 32
#define ABI_EVENT_BYTES 0x600000  /* AWS Lambda's limit for a synchronous payload, 6 MiB */
#define ABI_RESULT_BYTES 0x600000 /* likewise; the driver turns more into an error */

/* host to driver */
#define ABI_MSG_IMPORT 1      /* JSON list of module names to import */
#define ABI_MSG_LOAD 2        /* JSON {handler, files: {path: base64}}: import the function */
#define ABI_MSG_INVOKE 3      /* seed, ctx, event JSON */
#define ABI_MSG_INVOKE_LAZY 4 /* seed, ctx: the event's keys are asked for with WANT */
#define ABI_MSG_ARG 5         /* seed, ctx, uint8_t present, value JSON: answers WANT */
#define ABI_MSG_PROGRAM 6     /* to the driver that becomes a program: records, which are answered by DONE or ERROR */
#define ABI_MSG_START 7       /* nothing: it becomes the last program, and its stream ends */
#define ABI_MSG_EXEC 8        /* JSON {code}: run it in the interpreter; RESULT is JSON {value, repr}, of which either may be absent.
                               * Or {files: [{do, path, ...}, ...]}: steps with files, one after the other up to the first that
                               * fails; value is a list of what came of each (dispatcher/instances/archive) */
#define ABI_MSG_WATCH 9       /* JSON true: what is imported from here on is noted; false: no longer, and DONE tells of it as of a LOAD.
                               * ERROR, of a driver that cannot: the next message is taken all the same */
/* driver to host */
#define ABI_MSG_READY 16  /* JSON {protocol, runtime, version}, the first being ABI_DRIVER_VERSION */
#define ABI_MSG_DONE 17   /* JSON: IMPORT, LOAD or WATCH succeeded; of LOAD what it imported (dispatcher/imports), {} if not told */
#define ABI_MSG_RESULT 18 /* JSON: what the handler returned */
#define ABI_MSG_ERROR 19  /* JSON {errorType, errorMessage, stackTrace} */
#define ABI_MSG_WANT 20   /* uint8_t ABI_WANT_*, then the key in UTF-8 (empty: the whole event) */
#define ABI_MSG_STREAM 21 /* content type: of an INVOKE the answer is what PIECEs bring; RESULT, of null, or ERROR ends it */
#define ABI_MSG_PIECE 22  /* the answer's next bytes, after STREAM; ABI_RESULT_BYTES at most in all */

#define ABI_WANT_ALL 1         /* the whole event */
#define ABI_WANT_CONTEXT 2     /* the function has read its context: impure */
#define ABI_WANT_RANDOM 4      /* it has drawn from the runtime's generators: impure */

/* A program is records, in any order: uint8_t kind, uint32_t bytes of the name, uint32_t
 * bytes of the value, the name, the value. */
#define ABI_PROGRAM_RECORD 9        /* bytes before the name */
#define ABI_PROGRAM_FILE 1          /* name: a path below the directory of functions; value: its content */
#define ABI_PROGRAM_ARGUMENT 2      /* value: the next of the command, the first being what is executed */
#define ABI_PROGRAM_VARIABLE 3      /* value: NAME=VALUE of the environment, besides or in place of the image's */
#define ABI_PROGRAM_DIRECTORY 4     /* value: where the command is started, in place of the directory of functions */
#define ABI_PROGRAM_TEXT_BYTES 0xc000 /* of all strings, each with a NUL */

/* setsockopt(AF_VSOCK, ABI_SO_DRIVER) on the driver's stream: it is the
 * driver's from now on, and the purity counters start at zero. A value
 * other than 0 is an address to which clock_gettime returns in code that waits
 * for a lock: CPython reads the clock at every lock, contended or not, and keeps
 * no trace of the time; such reads are not counted. At most ABI_LOCK_SITES. */
#define ABI_SO_DRIVER 0x5e55
#define ABI_LOCK_SITES 32

/* setsockopt(AF_VSOCK, ABI_SO_SEEDED) on the driver's stream, whatever the value: the thread
 * that calls it is the driver's, and has seeded the runtime's generators. A driver calls it
 * with every message that it takes, once it has and before any code of the function's runs:
 * from then on no other thread of the guest runs after a restore before it has called it
 * again, and no signal is delivered; one that takes too long ends the guest. Of one that
 * never calls it all threads run at once, and may draw what another copy draws. */
#define ABI_SO_SEEDED 0x5e56

/* What a function's module asks of the host in one exit: an ioctl of /dev/seuss/api (kernel.h
 * has its own head), behind which the request lies and then its answer. Numbers are little
 * endian; both begin with a head of ABI_ASK_HEAD bytes:
 *
 *   request                                     answer
 *    0  uint8_t   ABI_ASK_VERSION                0  uint8_t   ABI_ASK_VERSION
 *    1  uint8_t   what is asked                  1  uint8_t   ABI_ASK_DONE, LATER or FAILED
 *    2  uint16_t  flags                          2  uint16_t  0
 *    4  uint32_t  bytes of the key               4  uint32_t  0
 *    8  uint64_t  offset; of a lock its lease,   8  uint64_t  the value's size; what is left of
 *                 of a call its time, in ms                   a lease, in ms
 *   16  uint64_t  version that it must have;    16  uint64_t  its version; a lock's token
 *                 length of a range
 *   24  uint64_t  token                         24  uint64_t  where the value lies in the share's
 *   32  uint64_t  thread                                      window; 0: in none
 *   40  the key, and behind it the value        32  uint64_t  the place's id
 *                                               40  bytes: of a value, an id, or the document of
 *                                                   an error */
#define ABI_API_IOCTL 0xc0085e01 /* _IOWR(0x5e, 1, 8 bytes) */
#define ABI_API_BYTES 0x12000    /* of a request, and of an answer, at most */
#define ABI_ASK_VERSION 1
#define ABI_ASK_HEAD 40

#define ABI_ASK_GET 1
#define ABI_ASK_RANGE 2 /* of a value */
#define ABI_ASK_STAT 3  /* size and version */
#define ABI_ASK_SET 4   /* a value */
#define ABI_ASK_SET_RANGE 5
#define ABI_ASK_APPEND 6
#define ABI_ASK_DELETE 7
#define ABI_ASK_LOCK 8 /* without waiting */
#define ABI_ASK_RENEW 9
#define ABI_ASK_UNLOCK 10
#define ABI_ASK_CALL 11   /* the key is the function's name */
#define ABI_ASK_RESULT 12 /* the key is the call's id */

#define ABI_ASK_IF 1     /* flag: the version counts */
#define ABI_ASK_SHARED 2 /* flag of a lock */
#define ABI_ASK_SHOW 4   /* flag of a get: have the value in the share's window */

#define ABI_ASK_DONE 0
#define ABI_ASK_LATER 1 /* what has to wait, or is too large: it is to be asked by HTTP, and nothing was done */
#define ABI_ASK_FAILED 2

/* A window is memory that the host has of a share, the file /dev/seuss/region/SHARE%2F and a
 * byte 1. A value in it lies behind a head of ABI_WINDOW_HEAD bytes, of uint64_t: a
 * stamp, which is odd while the value is written, the place's id, the version and the size. Who
 * has read it reads stamp and id again: they are as before, or he has read nothing. */
#define ABI_WINDOW_HEAD 64
#define ABI_WINDOW_STAMP 0 /* words of the head */
#define ABI_WINDOW_ID 1
#define ABI_WINDOW_VERSION 2
#define ABI_WINDOW_SIZE 3

#endif
