// SPDX-License-Identifier: Apache-2.0
#include "gateway/telemetry/call_log.h"

#include <algorithm>
#include <atomic>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/wire/status.h"

namespace kvgate::gateway {
namespace {

constexpr uint32_t kSlowLinesASecond = 5;

std::atomic<uint64_t> g_incarnation{0}, g_requests{0};
std::atomic<int64_t> g_slow_us{1'000'000};

}  // namespace

void SetIncarnation(uint64_t incarnation) { g_incarnation.store(incarnation); }
void SetSlowLimit(absl::Duration limit) { g_slow_us.store(absl::ToInt64Microseconds(limit)); }

uint64_t NextRequest() { return g_requests.fetch_add(1, std::memory_order_relaxed) + 1; }

std::string RequestId(uint64_t request) {
  return absl::StrCat(absl::Hex(g_incarnation.load(), absl::kZeroPad16), "-", request);
}

void CallTimes::StoreAsked(absl::Time now) {
  asked_ = now;
  asked_by_ = std::this_thread::get_id();
}

void CallTimes::StoreAnswered(absl::Time now) {
  answered_ = now;
  store_read_ = asked_by_ != std::this_thread::get_id();
}

absl::Duration CallTimes::before_store(absl::Time end) const {
  return std::min(asked_, end) - arrival_;
}
absl::Duration CallTimes::in_store(absl::Time end) const {
  return std::min(answered_, end) - std::min(asked_, end);
}
absl::Duration CallTimes::answering(absl::Time end) const {
  return std::min(handed_over_, end) - std::min(answered_, end);
}
absl::Duration CallTimes::sending(absl::Time end) const {
  return end - std::min(handed_over_, end);
}

storage::Tier FarthestTier(const std::vector<storage::GetResult>& results) {
  auto farthest = storage::Tier::kNone;
  for (const storage::GetResult& result : results) farthest = std::max(farthest, result.tier);
  return farthest;
}

bool IsSlow(const EndedCall& call) {
  const int64_t limit = g_slow_us.load(std::memory_order_relaxed);
  return limit > 0 && call.end - call.times.arrival() >= absl::Microseconds(limit);
}

LogFields SlowFields(const EndedCall& call) {
  const auto ms = [](absl::Duration d) {
    return absl::StrFormat("%.1f", absl::ToDoubleMilliseconds(d));
  };
  const absl::Time end = call.end;
  return {{"id", RequestId(call.request)},
          {"door", DoorName(call.door)},
          {"rpc", RpcName(call.rpc)},
          {"code", std::string(wire::CodeName(static_cast<wire::Code>(call.code)))},
          {"ms", ms(end - call.times.arrival())},
          {"before_store_ms", ms(call.times.before_store(end))},
          {"store_ms", ms(call.times.in_store(end))},
          {"answer_ms", ms(call.times.answering(end))},
          {"sending_ms", ms(call.times.sending(end))}};
}

void LogIfSlow(const EndedCall& call) {
  if (!IsSlow(call)) return;
  static auto* const limit = new LogLimit(kSlowLinesASecond);
  LogLimited(limit, LogLevel::kWarning, "slow call", SlowFields(call));
}

}  // namespace kvgate::gateway
