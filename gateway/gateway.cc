// SPDX-License-Identifier: Apache-2.0
#include "gateway/gateway.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "gateway/core/namespace_table.h"
#include "gateway/core/tokens.h"
#include "gateway/local/door.h"
#include "gateway/logging.h"
#include "gateway/memory_parts.h"
#include "gateway/namespace_watch.h"
#include "gateway/service/answer_timer.h"
#include "gateway/service/grpc_server.h"
#include "gateway/service/services.h"
#include "gateway/service/worker_pool.h"
#include "gateway/start_checks.h"
#include "gateway/telemetry/call_log.h"
#include "gateway/telemetry/telemetry.h"
#include "gateway/version.h"
#include "proto/wire/error_id.h"
#include "proto/wire/key.h"
#include "storage/base/clock.h"
#include "storage/io/file_util.h"
#include "storage/store.h"

namespace kvgate::gateway {
namespace {

constexpr size_t kWorkers = 2, kWorkerQueueMax = 256;
constexpr absl::Duration kAnswersAtStop = absl::Milliseconds(500);
constexpr absl::Duration kReadyWait = absl::Seconds(1);

absl::Status CannotListen(const absl::Status& why) {
  return absl::Status(why.code(),
                      wire::Tagged(wire::ErrorId::kAddressTaken, std::string(why.message())));
}

// A line for each, as far as its kind has not had its lines of this second.
void LogStoreEvent(const storage::StoreEvent& event) {
  static std::array<LogLimit, storage::kEventKinds> limits{LogLimit(10), LogLimit(10), LogLimit(10),
                                                           LogLimit(10), LogLimit(10), LogLimit(10),
                                                           LogLimit(10), LogLimit(10)};
  LogFields fields;
  for (const auto& [name, value] : event.details) fields.push_back({name, value});
  const auto level = static_cast<LogLevel>(event.level);
  LogLimited(&limits[static_cast<size_t>(event.kind)], level, "store: " + event.text, fields);
}
static_assert(static_cast<int>(storage::EventLevel::kInfo) == static_cast<int>(LogLevel::kInfo));

class GatewayImpl final : public Gateway {
 public:
  explicit GatewayImpl(const Config& config) : config_(config) {}
  ~GatewayImpl() override;

  absl::Status StartAll();
  absl::Status Stop(absl::Duration limit) override;
  absl::Status Reload() override;
  void Probe() override { (void)telemetry_->Snapshot(""); }
  absl::Status Failure() const override {
    absl::MutexLock lock(&loading_mu_);
    return load_failure_;
  }
  std::string ReadyLine() const override;

 private:
  std::string GrpcSocket(const std::string& tenant) const {
    return SocketPath(config_, "grpc", tenant);
  }
  std::string LocalSocket(const std::string& tenant) const {
    return SocketPath(config_, "local", tenant);
  }

  absl::Status CheckAndLock();
  absl::Status LoadTokens();
  absl::Status OpenStore();
  void OnLoaded(const absl::Status& status);
  bool LocalDoorsAllowed() const { return gateway::LocalDoorsAllowed(config_); }
  absl::Status StartLocalDoors();
  absl::Status StartGrpcDoors();
  absl::Status StartMetrics();
  absl::Status AddGrpcDoor(const GrpcServerOptions& options);
  uint64_t UnsentBytesMax() const;
  void LogLimits() const;

  const Config config_;
  std::optional<storage::LockFile> run_lock_;
  storage::RealClock clock_;
  std::unique_ptr<storage::Store> store_;
  std::unique_ptr<Tokens> tokens_;  // null: no door asks for one
  std::unique_ptr<NamespaceTable> namespaces_;
  std::unique_ptr<Telemetry> telemetry_;
  std::unique_ptr<NamespaceWatch> watch_;
  std::vector<std::unique_ptr<LocalDoor>> local_doors_;
  std::atomic<bool> draining_{false};
  UnsentGauge unsent_ = std::make_shared<UnsentCount>();
  std::shared_ptr<ReceiveTotals> received_ = std::make_shared<ReceiveTotals>();
  std::unique_ptr<WorkerPool> workers_;
  std::unique_ptr<AnswerTimer> answers_;
  ServiceDeps deps_;
  std::vector<std::unique_ptr<GrpcServer>> grpc_doors_;
  std::string metrics_address_;
  bool stopped_ = false;

  mutable absl::Mutex loading_mu_;
  bool loaded_ ABSL_GUARDED_BY(loading_mu_) = false;
  absl::Status load_failure_ ABSL_GUARDED_BY(loading_mu_);
};

absl::Status GatewayImpl::StartAll() {
  using Step = absl::Status (GatewayImpl::*)();
  constexpr Step kSteps[] = {&GatewayImpl::CheckAndLock,   &GatewayImpl::LoadTokens,
                             &GatewayImpl::OpenStore,      &GatewayImpl::StartLocalDoors,
                             &GatewayImpl::StartGrpcDoors, &GatewayImpl::StartMetrics};
  for (Step step : kSteps) {
    if (absl::Status status = (this->*step)(); !status.ok()) return status;
  }
  LogLimits();
  // A start from little is whole before anybody is told of it.
  loading_mu_.LockWhenWithTimeout(absl::Condition(&loaded_), kReadyWait);
  if (!loaded_) Log(LogLevel::kInfo, "serving; blocks on disk are still being read in");
  const absl::Status failure = load_failure_;
  loading_mu_.Unlock();
  return failure;
}

void GatewayImpl::OnLoaded(const absl::Status& status) {
  absl::MutexLock lock(&loading_mu_);
  loaded_ = true;
  if (status.ok() || absl::IsCancelled(status)) return;
  load_failure_ = status;
  kill(getpid(), SIGTERM);
}

absl::Status GatewayImpl::LoadTokens() {
  if (config_.tokens_file.empty()) return absl::OkStatus();
  std::vector<std::string> tenants = config_.tenants;
  if (!config_.grpc_tcp.empty()) tenants.push_back(config_.grpc_tcp_tenant);
  absl::StatusOr<std::unique_ptr<Tokens>> tokens = Tokens::Load(config_.tokens_file, tenants);
  if (!tokens.ok()) return tokens.status();
  tokens_ = *std::move(tokens);
  return absl::OkStatus();
}

absl::Status GatewayImpl::Reload() {
  if (tokens_ == nullptr) return absl::OkStatus();
  if (absl::Status status = tokens_->Reload(); !status.ok()) return status;
  for (const auto& door : local_doors_) door->RecheckTokens();
  return absl::OkStatus();
}

absl::Status GatewayImpl::CheckAndLock() {
  absl::StatusOr<StartFindings> found = CheckStart(config_);
  if (!found.ok()) return found.status();
  for (const std::string& warning : found->warnings) Log(LogLevel::kWarning, warning);
  // A killed predecessor lets go of its locks a little after it is gone: those are waited for.
  for (const absl::Status& status : found->in_use) {
    if (absl::IsAlreadyExists(status)) return status;
  }
  if (absl::Status s = PrepareStart(config_); !s.ok()) return s;
  // Two daemons that start at once both see dead sockets: one of them gets the lock.
  auto lock = storage::LockFile::Acquire(config_.run_dir + "/kvgated.lock");
  if (!lock.ok()) return lock.status();
  run_lock_ = *std::move(lock);
  return absl::OkStatus();
}

absl::Status GatewayImpl::OpenStore() {
  const absl::Time begin = clock_.Now();
  storage::StoreOptions options = StoreOptionsOf(config_);
  options.log.events = LogStoreEvent;
  options.serve_while_loading = true;
  absl::StatusOr<std::unique_ptr<storage::Store>> store = storage::Store::Open(options, &clock_);
  if (!store.ok()) return store.status();
  store_ = *std::move(store);
  store_->WhenLoaded([this](const absl::Status& status) { OnLoaded(status); });
  namespaces_ = std::make_unique<NamespaceTable>(
      store_.get(),
      NamespaceTable::Options{.namespaces_max = config_.namespaces_max, .local_door = true});
  SetIncarnation(namespaces_->incarnation());
  telemetry_ = std::make_unique<Telemetry>();
  telemetry_->AddSource(
      [this](const storage::CounterVisitor& visitor) { store_->VisitCounters(visitor); });
  if (tokens_ != nullptr) {
    telemetry_->AddSource(
        [this](const storage::CounterVisitor& visitor) { tokens_->VisitCounters(visitor); });
  }
  watch_ = std::make_unique<NamespaceWatch>(store_.get(), NamespaceWatch::kInterval, LogNoHits);
  telemetry_->AddSource([this](const storage::CounterVisitor& visitor) {
    visitor("namespaces_without_hits", static_cast<double>(watch_->without_hits()));
  });
  telemetry_->AddSource([unsent = unsent_](const storage::CounterVisitor& visitor) {
    visitor("grpc_unsent_bytes", static_cast<double>(unsent->bytes()));
  });
  telemetry_->AddSource([received = received_](const storage::CounterVisitor& visitor) {
    const auto add = [&visitor](const char* name, const auto& value) {
      visitor(name, static_cast<double>(value.load(std::memory_order_relaxed)));
    };
    add("grpc_set_bytes_promised", received->promised_bytes);
    add("grpc_set_bytes_handled", received->handled_bytes);
    add("grpc_offer_keys_refused_total", received->keys_refused);
    add("grpc_sets_refused_total", received->sets_refused);
    add("grpc_unknown_tickets_total", received->unknown_tickets);
  });
  Log(LogLevel::kInfo,
      absl::StrFormat("store open after %.3f s: disk %s by %s",
                      absl::ToDoubleSeconds(clock_.Now() - begin), namespaces_->facts().disk_mode,
                      namespaces_->facts().disk_engine));
  return absl::OkStatus();
}

absl::Status GatewayImpl::StartLocalDoors() {
  if (!LocalDoorsAllowed()) {
    Log(LogLevel::kWarning,
        "no local doors: tenants must not see each other's memory, and it is one pool; clients "
        "use gRPC");
    return absl::OkStatus();
  }
  for (const std::string& tenant : config_.tenants) {
    LocalDoorOptions options;
    options.socket_path = LocalSocket(tenant);
    options.tenant = tenant;
    options.tokens = tokens_.get();
    options.server_version = Version();
    options.clients_max = kLocalClientsMax;
    options.staging_bytes_total = config_.staging_bytes_total() / config_.tenants.size();
    // Leased bytes cannot be evicted: one client must not hold the pool. 64 MiB is one value.
    options.lease_bytes_max =
        std::max<uint64_t>(64ull << 20, StoreOptionsOf(config_).memory.bytes_max / 4);
    auto door =
        LocalDoor::Start(options, &clock_, store_.get(), namespaces_.get(), telemetry_.get());
    if (!door.ok()) return door.status();
    local_doors_.push_back(*std::move(door));
  }
  telemetry_->AddSource([this](const storage::CounterVisitor& visitor) {
    for (const auto& door : local_doors_) door->VisitCounters(visitor);
  });
  return absl::OkStatus();
}

absl::Status GatewayImpl::AddGrpcDoor(const GrpcServerOptions& options) {
  auto door = GrpcServer::Start(options, deps_);
  if (!door.ok()) return CannotListen(door.status());
  grpc_doors_.push_back(*std::move(door));
  return absl::OkStatus();
}

// Of one door: together a quarter of the pool, in a small one more: two whole messages, but never
// more than half of it.
uint64_t GatewayImpl::UnsentBytesMax() const {
  const uint64_t memory = store_->facts().memory_bytes_max;
  const uint64_t doors = config_.tenants.size() + (config_.grpc_tcp.empty() ? 0 : 1);
  return std::max(memory / 4, std::min(memory / 2, 2 * wire::kPayloadBytesMax)) / doors;
}

absl::Status GatewayImpl::StartGrpcDoors() {
  workers_ = std::make_unique<WorkerPool>(kWorkers, kWorkerQueueMax);
  deps_.clock = &clock_;
  deps_.store = store_.get();
  deps_.namespaces = namespaces_.get();
  deps_.telemetry = telemetry_.get();
  answers_ = std::make_unique<AnswerTimer>();
  deps_.workers = workers_.get();
  deps_.tokens = tokens_.get();
  deps_.answers = answers_.get();
  deps_.draining = &draining_;
  deps_.unsent = unsent_;
  deps_.received = received_;
  deps_.unsent_bytes_max = UnsentBytesMax();
  deps_.server_version = Version();
  deps_.data_dirs = config_.data_dirs;
  deps_.local_socket = [this](const std::string& tenant) {
    return LocalDoorsAllowed() ? LocalSocket(tenant) : std::string();
  };

  if (!config_.grpc_tcp.empty()) {
    GrpcServerOptions tcp;
    tcp.tcp = config_.grpc_tcp;
    tcp.tenant = config_.grpc_tcp_tenant;
    tcp.receive_bytes_max = config_.receive_bytes;
    if (absl::Status s = AddGrpcDoor(tcp); !s.ok()) return s;
  }
  for (const std::string& tenant : config_.tenants) {
    GrpcServerOptions unix_door;
    unix_door.unix_path = GrpcSocket(tenant);
    unix_door.unix_mode = 0666;  // the directory's mode decides who connects
    unix_door.tenant = tenant;
    unix_door.receive_bytes_max = config_.receive_bytes;
    if (absl::Status s = AddGrpcDoor(unix_door); !s.ok()) return s;
  }
  GrpcServerOptions admin;
  admin.unix_path = AdminSocketPath(config_);
  admin.unix_mode = 0600;
  admin.admin = true;
  admin.receive_bytes_max = kAdminReceiveBytes;
  return AddGrpcDoor(admin);
}

absl::Status GatewayImpl::StartMetrics() {
  if (config_.metrics.empty()) return absl::OkStatus();
  absl::StatusOr<int> port = telemetry_->Serve(config_.metrics);
  if (!port.ok()) return CannotListen(port.status());
  const std::string host = config_.metrics.substr(0, config_.metrics.rfind(':'));
  metrics_address_ = absl::StrCat(host, ":", *port);
  return storage::WriteFileAtomically(config_.run_dir + "/metrics.port", absl::StrCat(*port, "\n"));
}

// One line a limit, and their sum: what the process may come to hold.
void GatewayImpl::LogLimits() const {
  for (const MemoryPart& part : MemoryParts(config_)) {
    Log(LogLevel::kInfo, absl::StrCat("limit ", part.name, " ", FormatBytes(part.bytes)));
  }
  Log(LogLevel::kInfo, absl::StrCat("limit sum ", FormatBytes(MemorySum(config_)), ", disk ",
                                    FormatBytes(store_->facts().disk_made_with_bytes), " over ",
                                    config_.data_dirs.size(), " directories"));
}

std::string GatewayImpl::ReadyLine() const {
  std::string line = "ready";
  const auto add = [&line](const char* name, const std::string& value) {
    absl::StrAppend(&line, " ", name, "=", value.empty() ? "off" : value);
  };
  add("grpc", GrpcSocket(config_.tenants.front()));
  add("local", LocalDoorsAllowed() ? LocalSocket(config_.tenants.front()) : "");
  add("admin", AdminSocketPath(config_));
  add("metrics", metrics_address_);
  if (const int port = grpc_doors_.front()->tcp_port(); port != 0) {
    const std::string host = config_.grpc_tcp.substr(0, config_.grpc_tcp.rfind(':'));
    add("tcp", absl::StrCat(host, ":", port));
  }
  return absl::StrCat(line,
                      " incarnation=", absl::Hex(namespaces_->incarnation(), absl::kZeroPad16));
}

absl::Status GatewayImpl::Stop(absl::Duration limit) {
  if (stopped_) return absl::OkStatus();
  stopped_ = true;
  const absl::Time by = clock_.Now() + limit;
  const auto left = [&] { return std::max(by - clock_.Now(), absl::ZeroDuration()); };
  draining_.store(true);
  for (const auto& door : grpc_doors_) door->Drain();
  // A call may wait for a disk that hangs, for as long as its client said. The store answers what
  // still waits when it is closed: early enough for the answers to be sent within the limit.
  absl::Notification doors_closed;
  std::thread closer([&] {
    const absl::Duration patience = limit - std::min(limit / 4, kAnswersAtStop);
    if (store_ == nullptr || doors_closed.WaitForNotificationWithTimeout(patience)) return;
    absl::Status closed = store_->Close(absl::ZeroDuration());
    if (!closed.ok()) Log(LogLevel::kWarning, absl::StrCat("stop: ", closed.message()));
  });
  for (auto it = grpc_doors_.rbegin(); it != grpc_doors_.rend(); ++it) (*it)->Stop(left());
  if (workers_ != nullptr) workers_->Stop();
  for (auto it = local_doors_.rbegin(); it != local_doors_.rend(); ++it) (*it)->Stop(left());
  doors_closed.Notify();
  closer.join();
  // After the doors: nobody asks for counters of what is about to go.
  if (telemetry_ != nullptr) telemetry_->Stop();
  if (!metrics_address_.empty()) {
    absl::Status removed = storage::RemovePath(config_.run_dir + "/metrics.port");
    if (!removed.ok()) Log(LogLevel::kWarning, std::string(removed.message()));
  }
  if (store_ == nullptr) return absl::OkStatus();
  return store_->Close(std::max(left(), absl::Seconds(1)));
}

GatewayImpl::~GatewayImpl() {
  absl::Status status = Stop(absl::ZeroDuration());
  if (!status.ok()) Log(LogLevel::kError, absl::StrCat("stop: ", status.message()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Gateway>> Gateway::Start(const Config& config) {
  auto gateway = std::make_unique<GatewayImpl>(config);
  if (absl::Status status = gateway->StartAll(); !status.ok()) return status;
  return std::unique_ptr<Gateway>(std::move(gateway));
}

}  // namespace kvgate::gateway
