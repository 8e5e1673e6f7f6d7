/* SPDX-License-Identifier: Apache-2.0
 *
 * kvgate.h: the C ABI of libkvgate.so. What it promises, its threads and its errors are those of
 * client/client.h; only the forms differ: plain structs, pointers, no allocation that the caller
 * must free except clients and staging memory.
 *
 * Every struct that may grow starts with struct_bytes = sizeof of it, set by the caller; the
 * library reads no further. Functions return a google.rpc.Code (0 = OK); `error`, when not NULL,
 * gets a NUL-ended text. Numbers of enums are those of kvgate.v1 (match, tier, mode, durability,
 * advice, offer state) and of client.h (reason). Nothing here throws; any function may be called
 * from any thread.
 */
#ifndef KVGATE_H_
#define KVGATE_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* 2: each row of a Lookup has its own bitmap. */
#define KVGATE_ABI_VERSION 2
#define KVGATE_ERROR_BYTES 512

typedef struct kvgate_client kvgate_client;

typedef struct kvgate_bytes {
  const void* data;
  size_t bytes;
} kvgate_bytes;

/* One piece of a value in the caller's memory. */
typedef struct kvgate_piece {
  void* data;
  size_t bytes;
} kvgate_piece;

typedef struct kvgate_options {
  size_t struct_bytes;
  const char* transport;    /* "auto" (NULL), "local", "grpc" */
  const char* local_socket; /* NULL or "": none */
  const char* grpc_target;  /* "unix:/path", "host:port", NULL: none */
  const char* grpc_library; /* NULL: libkvgate_grpc.so beside this library */
  const char* client_name;
  uint64_t producer;           /* 0: drawn at random */
  uint64_t staging_bytes;      /* 0: 32 MiB */
  uint32_t verify;             /* 0 default, 1 always, 2 sampled 1/64, 3 never */
  uint32_t connect_timeout_ms; /* 0: 200 */
  uint32_t breaker_open_ms;    /* 0: 200 */
  const char* token;           /* that the gateway asks for; or */
  const char* token_file;      /* a file whose first line it is, read at each connect. NULL both:
                                  KVGATE_TOKEN_FILE, else KVGATE_TOKEN of the environment */
} kvgate_options;

typedef struct kvgate_open_result {
  size_t struct_bytes;
  uint64_t incarnation;
  uint64_t features; /* bit i = kvgate.v1.Feature i */
  uint32_t key_bytes_max, keys_max, lookup_keys_max, pin_ms_max;
  uint64_t value_bytes_max, key_list_bytes_max, payload_bytes_max, disk_value_bytes_max;
  uint32_t root_group_keys[64];
  uint32_t groups;
  uint32_t default_durability;
  uint8_t identity_digest[32];
  char disk_mode[16];
  char server_version[32];
} kvgate_open_result;

typedef struct kvgate_query {
  uint32_t group, match, window_blocks, block_tokens;
  const kvgate_bytes* keys;
  size_t keys_count;
} kvgate_query;

typedef struct kvgate_lookup_request {
  size_t struct_bytes;
  uint64_t ns;
  const kvgate_query* queries;
  size_t queries_count;
  uint32_t first_wanted_tokens, shards, pin_ms, stage, answer_by_ms;
  double recompute_ms_per_token;
} kvgate_lookup_request;

/* One row a query, in their order. */
typedef struct kvgate_group_held {
  uint32_t group, first, held;
  uint32_t memory_keys, disk_keys; /* of the held ones */
  uint64_t value_bytes;            /* of all held ones, all shards */
  /* Set by the caller; NULL: not wanted. For a MEMBERSHIP query a bit a key, least significant
   * first, so bitmap_bytes >= (keys_count + 7) / 8; what is beyond is zeroed, as is all of it for
   * another match. */
  uint8_t* bitmap;
  size_t bitmap_bytes;
} kvgate_group_held;

typedef struct kvgate_lookup_result {
  size_t struct_bytes;
  uint32_t boundary_tokens, pin_ms;
  uint64_t pin_token;
  double predicted_load_ms;
  uint32_t advice;
  uint32_t groups;         /* filled rows of `held` */
  kvgate_group_held* held; /* caller's array, one a query */
  size_t held_count;
} kvgate_lookup_result;

typedef struct kvgate_get_request {
  size_t struct_bytes;
  uint64_t ns;
  const kvgate_bytes* keys; /* or, pin_token != 0: by handle */
  size_t keys_count;        /* also the count by handle */
  uint64_t pin_token;
  uint32_t first;
  uint32_t group, shard, depth, prefix_only;
  kvgate_bytes root;
  uint64_t range_offset, range_bytes;
  /* pieces of all targets one after the other; piece_counts[i] belong to key i */
  const kvgate_piece* pieces;
  const uint32_t* piece_counts;
} kvgate_get_request;

typedef struct kvgate_get_result {
  uint32_t reason, tier;
  uint64_t value_bytes;
  uint32_t crc32c;
  uint32_t reserved;
} kvgate_get_result;

typedef struct kvgate_set_entry {
  kvgate_bytes key;
  uint32_t piece_count;
  uint32_t has_producer_crc;
  uint32_t producer_crc;
  uint32_t ttl_ms;
} kvgate_set_entry;

typedef struct kvgate_set_request {
  size_t struct_bytes;
  uint64_t ns;
  const kvgate_set_entry* entries;
  size_t entries_count;
  const kvgate_piece* pieces; /* read only */
  uint32_t mode, depth, group, shard, durability;
  kvgate_bytes parent, root;
  uint64_t ticket;
  uint32_t prompt_tokens, output_tokens, turn, finished;
} kvgate_set_request;

typedef struct kvgate_set_result {
  uint32_t reason, durability;
} kvgate_set_result;

typedef struct kvgate_stats {
  size_t struct_bytes;
  uint64_t calls, retries, reconnects, breaker_opens;
  uint64_t loaded_blocks, loaded_bytes, stored_blocks, stored_bytes;
  uint64_t verified_blocks, checksum_failures, revoked;
  uint64_t misses_by_reason[32];
  uint64_t staging_in_use;
  char transport[8];
  uint32_t breaker_state;  /* now: 0 closed, 1 half-open (one call probes), 2 open */
  char breaker_reason[20]; /* of the last opening: "none", "no_gateway", "no_answer", "failures",
                              "silence" */
} kvgate_stats;

uint32_t kvgate_abi_version(void);
const char* kvgate_version(void); /* "0.1.0" */
const char* kvgate_reason_name(uint32_t reason);

int kvgate_client_create(const kvgate_options* options, kvgate_client** client, char* error);
void kvgate_client_destroy(kvgate_client* client); /* calls must have returned */

/* identity: canonical bytes. *ns is valid even when the gateway is away (UNAVAILABLE). */
int kvgate_open(kvgate_client* client, kvgate_bytes identity, const char* alias,
                uint64_t required_features, double timeout_ms, uint64_t* ns,
                kvgate_open_result* result, char* error);
int kvgate_lookup(kvgate_client* client, const kvgate_lookup_request* request, double timeout_ms,
                  kvgate_lookup_result* result, char* error);
/* results[keys_count] are always filled. */
int kvgate_get(kvgate_client* client, const kvgate_get_request* request, double timeout_ms,
               kvgate_get_result* results, char* error);
int kvgate_set(kvgate_client* client, const kvgate_set_request* request, double timeout_ms,
               kvgate_set_result* results, char* error);
int kvgate_offer(kvgate_client* client, uint64_t ns, const kvgate_bytes* keys,
                 const uint64_t* value_bytes, size_t count, uint32_t group, uint32_t shard,
                 kvgate_bytes root, uint32_t depth, double timeout_ms, uint8_t* states,
                 uint64_t* ticket, char* error);
/* group, shard: -1 = all. */
int kvgate_delete(kvgate_client* client, uint64_t ns, const kvgate_bytes* keys, size_t count,
                  int32_t group, int32_t shard, uint32_t durability, double timeout_ms,
                  uint8_t* found, char* error);
int kvgate_touch(kvgate_client* client, uint64_t ns, kvgate_bytes last_key, uint32_t group,
                 uint32_t prompt_tokens, uint32_t output_tokens, uint32_t turn, uint32_t finished,
                 double timeout_ms, char* error);
int kvgate_pin(kvgate_client* client, uint64_t ns, uint64_t token, uint32_t pin_ms,
               double timeout_ms, uint32_t* granted_ms, char* error);
int kvgate_unpin(kvgate_client* client, uint64_t ns, uint64_t token, double timeout_ms,
                 char* error);
int kvgate_ping(kvgate_client* client, double timeout_ms, char* error);

void* kvgate_staging_alloc(kvgate_client* client, size_t bytes); /* NULL: none left */
void kvgate_staging_free(kvgate_client* client, void* memory);

/* Copies pieces one after the other into `target` and returns the CRC32C of what was written. */
uint32_t kvgate_gather(void* target, const kvgate_piece* pieces, size_t count);
/* CRC32C over pieces in order. */
uint32_t kvgate_crc32c(const kvgate_piece* pieces, size_t count);

void kvgate_client_stats(kvgate_client* client, kvgate_stats* stats);

#ifdef __cplusplus
}
#endif
#endif /* KVGATE_H_ */
