// SPDX-License-Identifier: Apache-2.0
#include "gateway/telemetry/telemetry.h"

#include <arpa/inet.h>
#include <prometheus/collectable.h>
#include <prometheus/counter.h>
#include <prometheus/exposer.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>
#include <map>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "gateway/core/text.h"
#include "gateway/telemetry/metric_table.h"
#include "proto/wire/status.h"

namespace kvgate::gateway {
namespace {

constexpr std::array<const char*, kDoors> kDoorNames = {"grpc", "local", "admin"};
constexpr std::array<const char*, kRpcs> kRpcNames = {
    "Open", "Lookup", "Offer", "Get",  "Set",   "Touch",   "Delete",
    "Pin",  "Unpin",  "Stats", "Scan", "Hello", "Explain", "Requests"};
constexpr int kCodes = 17;
constexpr std::array<const char*, 3> kTierNames = {"none", "memory", "disk"};
constexpr int kTiers = static_cast<int>(kTierNames.size());

// Where a server on host:port can be reached from here; no family for what is not an IPv4 number.
sockaddr_in ListenAddress(const std::string& host_port, int port) {
  sockaddr_in address{};
  const std::string host = host_port.substr(0, host_port.rfind(':'));
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) return {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

// Connects and goes. Best effort: who was not there to hear it has ended already.
void Knock(const sockaddr_in& address) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  (void)connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  close(fd);
}

// From 10 µs to 10 s; what a local memory hit and a hung disk take lie inside.
const prometheus::Histogram::BucketBoundaries& SecondsBuckets() {
  static const auto* const buckets = new prometheus::Histogram::BucketBoundaries{
      10e-6, 30e-6, 100e-6, 300e-6, 1e-3, 3e-3, 10e-3, 30e-3, 0.1, 0.3, 1.0, 3.0, 10.0};
  return *buckets;
}

// The family that takes up a counter of a source, if one does.
const MetricFamily* FamilyOf(std::string_view name) {
  if (!IsCounter(name)) return nullptr;
  for (const MetricFamily& family : MetricFamilies()) {
    const std::string_view prefix = family.prefix;
    if (prefix.empty() || name.substr(0, prefix.size()) != prefix) continue;
    if (name.size() > prefix.size() + std::string_view("_total").size()) return &family;
  }
  return nullptr;
}

// Pulls the sources at scrape time.
class SourceCollector final : public prometheus::Collectable {
 public:
  void Add(CounterSource source) {
    absl::MutexLock lock(&mu_);
    sources_.push_back(std::move(source));
  }

  // With what follows from what the sources tell.
  void Visit(const storage::CounterVisitor& visitor) const {
    std::vector<CounterSource> sources;
    {
      absl::MutexLock lock(&mu_);
      sources = sources_;
    }
    double tokens_saved = 0;
    const auto derive = [&](std::string_view name, double value) {
      if (name == "recompute_saved_us_total") return visitor("seconds_saved_total", value / 1e6);
      if (absl::StartsWith(Sv(name), "hit_tokens_")) tokens_saved += value;
      visitor(name, value);
    };
    for (const CounterSource& source : sources) source(derive);
    visitor("tokens_saved_total", tokens_saved);
  }

  std::vector<prometheus::MetricFamily> Collect() const override {
    std::map<std::string, prometheus::MetricFamily> families;
    Visit([&families](std::string_view name, double value) { AddValue(name, value, &families); });
    std::vector<prometheus::MetricFamily> result;
    result.reserve(families.size());
    for (auto& [name, family] : families) result.push_back(std::move(family));
    return result;
  }

 private:
  static void AddValue(std::string_view name, double value,
                       std::map<std::string, prometheus::MetricFamily>* families) {
    const bool counter = IsCounter(name);
    std::string family_name = absl::StrCat("kvgate_", Sv(name));
    const char* help = MetricHelp(name);
    prometheus::ClientMetric metric;
    if (const MetricFamily* known = FamilyOf(name); known != nullptr) {
      family_name = known->name;
      help = known->help;
      std::string value(name.substr(std::string_view(known->prefix).size()));
      value.resize(value.size() - std::string_view("_total").size());
      metric.label.push_back({known->labels, std::move(value)});
    }
    if (counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    prometheus::MetricFamily& family = (*families)[family_name];
    family.name = family_name;
    family.help = help;
    family.type = counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
    family.metric.push_back(std::move(metric));
  }

  mutable absl::Mutex mu_;
  std::vector<CounterSource> sources_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

const char* DoorName(Door door) { return kDoorNames[static_cast<size_t>(door)]; }
const char* RpcName(Rpc rpc) { return kRpcNames[static_cast<size_t>(rpc)]; }

struct Telemetry::Impl {
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  std::shared_ptr<SourceCollector> sources = std::make_shared<SourceCollector>();
  prometheus::Family<prometheus::Counter>& requests = prometheus::BuildCounter()
                                                          .Name("kvgate_requests_total")
                                                          .Help(MetricHelp("kvgate_requests_total"))
                                                          .Register(*registry);
  prometheus::Family<prometheus::Counter>& bytes =
      prometheus::BuildCounter()
          .Name("kvgate_request_bytes_total")
          .Help(MetricHelp("kvgate_request_bytes_total"))
          .Register(*registry);
  prometheus::Family<prometheus::Histogram>& seconds =
      prometheus::BuildHistogram()
          .Name("kvgate_request_seconds")
          .Help(MetricHelp("kvgate_request_seconds"))
          .Register(*registry);
  prometheus::Family<prometheus::Histogram>& waits =
      prometheus::BuildHistogram()
          .Name("kvgate_get_wait_seconds")
          .Help(MetricHelp("kvgate_get_wait_seconds"))
          .Register(*registry);

  // Made at the first call of their kind; never removed.
  std::array<std::atomic<prometheus::Counter*>, kDoors * kRpcs * kCodes> by_code{};
  std::array<std::atomic<prometheus::Histogram*>, kDoors * kRpcs> by_rpc{};
  std::array<prometheus::Counter*, kDoors> bytes_in{}, bytes_out{};
  std::array<prometheus::Histogram*, kTiers> get_waits{}, lookup_waits{};

  std::atomic<uint64_t> hints_prompt_tokens{0}, hints_output_tokens{0};
  std::atomic<uint64_t> hints_turns{0}, hints_finished{0};

  void VisitHints(const storage::CounterVisitor& visitor) const {
    const auto visit = [&visitor](std::string_view name, const std::atomic<uint64_t>& counter) {
      visitor(name, static_cast<double>(counter.load(std::memory_order_relaxed)));
    };
    visit("hints_prompt_tokens_total", hints_prompt_tokens);
    visit("hints_output_tokens_total", hints_output_tokens);
    visit("hints_turns_total", hints_turns);
    visit("hints_finished_total", hints_finished);
  }

  sockaddr_in listens{};  // of `exposer`; set before Stop can find it

  absl::Mutex mu;
  std::unique_ptr<prometheus::Exposer> exposer ABSL_GUARDED_BY(mu);

  prometheus::Counter* Requests(int door, int rpc, int code) {
    auto& slot = by_code[(door * kRpcs + rpc) * kCodes + code];
    prometheus::Counter* counter = slot.load(std::memory_order_acquire);
    if (counter != nullptr) return counter;
    // Add gives the same counter for the same labels, so a race stores one pointer twice.
    counter = &requests.Add({{"door", kDoorNames[door]},
                             {"rpc", kRpcNames[rpc]},
                             {"code", std::string(wire::CodeName(static_cast<wire::Code>(code)))}});
    slot.store(counter, std::memory_order_release);
    return counter;
  }

  prometheus::Histogram* Seconds(int door, int rpc) {
    auto& slot = by_rpc[door * kRpcs + rpc];
    prometheus::Histogram* histogram = slot.load(std::memory_order_acquire);
    if (histogram != nullptr) return histogram;
    histogram =
        &seconds.Add({{"door", kDoorNames[door]}, {"rpc", kRpcNames[rpc]}}, SecondsBuckets());
    slot.store(histogram, std::memory_order_release);
    return histogram;
  }
};

Telemetry::Telemetry() : impl_(std::make_unique<Impl>()) {
  AddSource([impl = impl_.get()](const storage::CounterVisitor& v) { impl->VisitHints(v); });
  for (int door = 0; door < kDoors; ++door) {
    impl_->bytes_in[door] = &impl_->bytes.Add({{"door", kDoorNames[door]}, {"direction", "in"}});
    impl_->bytes_out[door] = &impl_->bytes.Add({{"door", kDoorNames[door]}, {"direction", "out"}});
  }
  for (int tier = 0; tier < kTiers; ++tier) {
    const auto add = [&](const char* rpc) {
      return &impl_->waits.Add({{"rpc", rpc}, {"tier", kTierNames[tier]}}, SecondsBuckets());
    };
    impl_->get_waits[tier] = add("Get");
    impl_->lookup_waits[tier] = add("Lookup");
  }
}

Telemetry::~Telemetry() { Stop(); }

void Telemetry::RecordCall(Door door, Rpc rpc, absl::StatusCode code, absl::Duration took,
                           uint64_t bytes_in, uint64_t bytes_out) {
  const int d = static_cast<int>(door), r = static_cast<int>(rpc);
  int c = static_cast<int>(code);
  if (c < 0 || c >= kCodes) c = static_cast<int>(absl::StatusCode::kUnknown);
  impl_->Requests(d, r, c)->Increment();
  impl_->Seconds(d, r)->Observe(absl::ToDoubleSeconds(took));
  if (bytes_in > 0) impl_->bytes_in[d]->Increment(static_cast<double>(bytes_in));
  if (bytes_out > 0) impl_->bytes_out[d]->Increment(static_cast<double>(bytes_out));
}

void Telemetry::RecordWait(Rpc rpc, storage::Tier tier, absl::Duration waited) {
  const auto& waits = rpc == Rpc::kGet ? impl_->get_waits : impl_->lookup_waits;
  const int t = std::min(static_cast<int>(tier), kTiers - 1);
  waits[t]->Observe(absl::ToDoubleSeconds(waited));
}

void Telemetry::RecordHints(const storage::Hints& hints) {
  const auto add = [](std::atomic<uint64_t>& counter, uint64_t value) {
    if (value != 0) counter.fetch_add(value, std::memory_order_relaxed);
  };
  add(impl_->hints_prompt_tokens, hints.prompt_tokens);
  add(impl_->hints_output_tokens, hints.output_tokens);
  add(impl_->hints_turns, hints.turn);
  add(impl_->hints_finished, hints.finished ? 1 : 0);
}

void Telemetry::AddSource(CounterSource source) { impl_->sources->Add(std::move(source)); }

std::vector<std::pair<std::string, double>> Telemetry::Snapshot(std::string_view prefix) const {
  std::vector<std::pair<std::string, double>> counters;
  impl_->sources->Visit([&](std::string_view name, double value) {
    if (name.substr(0, prefix.size()) == prefix) counters.emplace_back(std::string(name), value);
  });
  for (int rpc = 0; rpc < kRpcs; ++rpc) {
    double calls = 0;
    for (int i = 0; i < kDoors * kCodes; ++i) {
      const auto* counter = impl_->by_code[((i / kCodes) * kRpcs + rpc) * kCodes + i % kCodes].load(
          std::memory_order_acquire);
      if (counter != nullptr) calls += counter->Value();
    }
    const std::string name = absl::StrCat("requests_", kRpcNames[rpc], "_total");
    if (absl::StartsWith(name, Sv(prefix))) counters.emplace_back(name, calls);
  }
  return counters;
}

absl::StatusOr<int> Telemetry::Serve(const std::string& host_port) {
  absl::MutexLock lock(&impl_->mu);
  // civetweb reports a taken port by throwing; this is where that ends.
  try {
    auto exposer = std::make_unique<prometheus::Exposer>(host_port, 2);
    exposer->RegisterCollectable(impl_->registry);
    exposer->RegisterCollectable(impl_->sources);
    const std::vector<int> ports = exposer->GetListeningPorts();
    if (ports.empty()) return absl::InternalError("metrics: the server names no port");
    impl_->exposer = std::move(exposer);
    impl_->listens = ListenAddress(host_port, ports.front());
    return ports.front();
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("metrics: cannot listen on ", host_port, ": ",
                                               error.what(),
                                               "; choose another address with --metrics"));
  }
}

void Telemetry::Stop() {
  std::unique_ptr<prometheus::Exposer> exposer;
  {
    absl::MutexLock lock(&impl_->mu);
    exposer = std::move(impl_->exposer);
  }
  if (exposer == nullptr) return;
  // civetweb looks whether it should end when somebody connects, else every 2 s.
  absl::Notification ended;
  std::thread knocker([&ended, address = impl_->listens] {
    do Knock(address);
    while (!ended.WaitForNotificationWithTimeout(absl::Milliseconds(5)));
  });
  exposer.reset();
  ended.Notify();
  knocker.join();
}

}  // namespace kvgate::gateway
