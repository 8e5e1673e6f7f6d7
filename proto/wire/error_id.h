// SPDX-License-Identifier: Apache-2.0
//
// Every kind of error that a user or an operator can meet, with its cause and its remedy: by kind,
// not by the place that finds it. The number is for ever: what is given up is not used again. A
// message ends with it, " [KVG101]", and `kvgate errors KVG101` says the rest; the page of all of
// them, docs/troubleshooting.md, is what `kvgate errors --markdown` prints. 1xx start and
// configuration, 2xx requests, 3xx not now, 4xx data, 5xx clients, 6xx the connector of vLLM.
// Pure functions, thread-safe. Needs only libc, since libkvgate.so links it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "proto/wire/status.h"

namespace kvgate::wire {

enum class ErrorId : uint16_t {
  kStartFailed = 100,
  kBadFlag = 101,
  kBadSetting = 102,
  kBadConfigFile = 103,
  kTcpNotAllowed = 104,
  kDirectoryUnusable = 105,
  kDirectoryOfAnotherUser = 106,
  kForeignData = 107,
  kInUse = 108,
  kBadSocketPath = 109,
  kAddressTaken = 110,
  kNoSpace = 111,
  kDiskTooSmall = 112,
  kCopyOnWrite = 113,
  kLaterFormat = 114,
  kMixedDisks = 115,
  kCopiedDisk = 116,
  kIncompleteDisks = 117,
  kDamagedDisk = 118,
  kCheckpointOfAnotherSet = 119,
  kNoIoUring = 120,
  kServiceManager = 121,
  kStopTooLong = 122,
  kDiskBelowMade = 123,

  kBadField = 200,
  kBadKey = 201,
  kBadBatch = 202,
  kTooLarge = 203,
  kBadChain = 204,
  kBadHandle = 205,
  kBadQuery = 206,
  kBadDeadline = 207,
  kUnreadableMessage = 208,
  kBadIdentity = 209,
  kWeakPrefixHash = 210,
  kAliasTaken = 211,
  kFeatureNotInEffect = 212,
  kUnknownNamespace = 213,
  kNotFound = 214,
  kNotAllowed = 215,
  kOtherProtocol = 216,
  kUnknownCall = 217,

  kUnavailable = 300,
  kDraining = 301,
  kOverloaded = 302,
  kReceiveBudget = 303,
  kStagingFull = 304,
  kNamespacesFull = 305,
  kDeadline = 306,
  kCancelled = 307,
  kLogFull = 308,

  kInternal = 400,
  kDataLoss = 401,
  kDeviceError = 402,
  kDeviceOffline = 403,
  kNotDurable = 404,

  kNoGateway = 501,
  kBreakerOpen = 502,
  kGatewaySilent = 503,
  kConnectionLost = 504,
  kGrpcLibrary = 505,
  kLibrary = 506,
  kUsedAfterFork = 507,
  kLeasesFull = 508,

  kConnectorOff = 601,
  kSelfTestFailed = 602,
  kLoadPolicyFail = 603,
  kUnsupportedModel = 604,
  kWeightsUnknown = 605,
  kConnectorSetting = 606,
  kUnsupportedLayout = 607,
  kBlocksNotSaved = 608,
  kLoadFailed = 609,
  kLoraSkipped = 610,
  kEngineAlone = 611,
  kEngineRefused = 612,
};

struct ErrorEntry {
  ErrorId id;
  std::string_view name;  // of the enumerator, in words with '-'
  std::string_view cause;
  std::string_view remedy;
};

// By number.
std::span<const ErrorEntry> Errors();

// "KVG101".
std::string ErrorText(ErrorId id);

// The one of "KVG101" or "kvg101"; null: there is none.
const ErrorEntry* FindError(std::string_view text);

// `text` with " [KVG101]" at its end; as it is when it ends with an id already: the first one, of
// where the error was found, knows most.
std::string Tagged(ErrorId id, std::string text);

// The kind of a failure of which nothing but its code is known. REQUIRES: not kOk.
ErrorId ErrorOf(Code code);

// The whole table as the page of docs.
std::string ErrorsMarkdown();

}  // namespace kvgate::wire
