// SPDX-License-Identifier: Apache-2.0
#include "client/cli/top_command.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include "client/cli/admin_client.h"
#include "nlohmann/json.hpp"

namespace kvgate::cli {
namespace {

class Sample {
 public:
  Sample(const Counters& before, const Counters& now, double seconds)
      : before_(before), now_(now), seconds_(seconds) {}

  double Value(const std::string& name) const {
    const auto found = now_.find(name);
    return found == now_.end() ? 0 : found->second;
  }
  double Rate(const std::string& name) const {
    const auto found = before_.find(name);
    const double old = found == before_.end() ? 0 : found->second;
    return seconds_ > 0 ? (Value(name) - old) / seconds_ : 0;
  }

 private:
  const Counters& before_;
  const Counters& now_;
  const double seconds_;
};

template <typename... Args>
std::string Line(const char* format, const Args&... args) {
  char text[256];
  std::snprintf(text, sizeof(text), format, args...);
  return text;
}

double Share(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

}  // namespace

std::vector<std::string> TopLines(const Counters& before, const Counters& now, double seconds) {
  const Sample s(before, now, seconds);
  const auto size = [](double bytes) { return Size(bytes); };
  const double memory = s.Rate("get_hits_memory_total"), disk = s.Rate("get_hits_disk_total");
  const double asked = s.Rate("lookup_keys_total"), held = s.Rate("lookup_keys_held_total");
  return {
      Line("calls/s   lookup %7.0f   get %7.0f   set %7.0f   touch %7.0f   delete %7.0f",
           s.Rate("requests_Lookup_total"), s.Rate("requests_Get_total"),
           s.Rate("requests_Set_total"), s.Rate("requests_Touch_total"),
           s.Rate("requests_Delete_total")),
      Line("lookup/s  keys %9.0f   held %8.0f   (%.1f %%)", asked, held, Share(held, asked)),
      Line("hits/s    memory %7.0f   disk %6.0f   tokens saved/s %.0f", memory, disk,
           s.Rate("hit_tokens_memory_total") + s.Rate("hit_tokens_disk_total")),
      Line("bytes/s   out %10s   (disk %s)   in %10s",
           size(s.Rate("get_bytes_memory_total") + s.Rate("get_bytes_disk_total")).c_str(),
           size(s.Rate("get_bytes_disk_total")).c_str(), size(s.Rate("set_bytes_total")).c_str()),
      Line("misses/s  absent %7.0f   late %6.0f   corrupt %4.0f   I/O error %4.0f",
           s.Rate("get_misses_absent_total"), s.Rate("get_misses_not_ready_total"),
           s.Rate("get_misses_corrupt_total"), s.Rate("get_misses_io_error_total")),
      Line("memory    %s of %s (%.0f %%), %.0f blocks, evicted/s %.0f",
           size(s.Value("memory_used_bytes")).c_str(), size(s.Value("memory_limit_bytes")).c_str(),
           Share(s.Value("memory_used_bytes"), s.Value("memory_limit_bytes")),
           s.Value("memory_blocks"),
           s.Rate("evictions_to_disk_total") + s.Rate("evictions_lost_total")),
      Line("disk      %.0f blocks known, write queue %s of %s, segments reclaimed/s %.2f",
           s.Value("index_entries"), size(s.Value("append_queue_bytes")).c_str(),
           size(s.Value("append_queue_bytes_max")).c_str(), s.Rate("log_reclaimed_segments_total")),
  };
}

int Top(const Context& context, const TopArgs& args) {
  AdminClient admin(context);
  Counters before;
  auto then = std::chrono::steady_clock::now();
  const bool terminal = isatty(STDOUT_FILENO) == 1;
  for (uint32_t picture = 0; args.pictures == 0 || picture <= args.pictures; ++picture) {
    v1::StatsResponse response;
    if (Answer answer = admin.Stats({}, &response); !answer.ok()) {
      return Fail("top", answer.code, answer.message, context);
    }
    Counters now;
    for (const v1::Counter& counter : response.counters()) now[counter.name()] = counter.value();
    const auto at = std::chrono::steady_clock::now();
    if (picture > 0) {
      const auto lines = TopLines(before, now, std::chrono::duration<double>(at - then).count());
      if (context.json) {
        PrintJson(nlohmann::json(lines));
      } else {
        if (terminal) std::fputs("\033[H\033[2J", stdout);
        std::printf("kvgated %s, up %.0f s, %d namespaces\n", response.version().c_str(),
                    static_cast<double>(response.uptime_ms()) / 1000, response.namespaces_size());
        for (const std::string& line : lines) std::puts(line.c_str());
      }
      std::fflush(stdout);
    }
    before = std::move(now);
    then = at;
    if (args.pictures == 0 || picture < args.pictures) {
      std::this_thread::sleep_for(std::chrono::milliseconds(args.interval_ms));
    }
  }
  return kDone;
}

}  // namespace kvgate::cli
