// SPDX-License-Identifier: Apache-2.0
//
// The one table of metrics: every name that is scraped or answered by Admin.Stats, with its help.
// docs/metrics.md and the # HELP lines are made from it. Constant data: thread-safe.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace kvgate::gateway {

// Of Admin.Stats; scraped with "kvgate_" in front, unless a family takes it up.
struct Metric {
  const char* name;
  const char* help;
};

struct MetricSection {
  const char* title;
  const char* note;  // a paragraph before the table, or ""
  std::span<const Metric> metrics;
};

// Scraped only: a series for each of its labels' values, which are bounded.
struct MetricFamily {
  const char* name;
  const char* kind;
  const char* labels;
  const char* help;
  // Counters of Stats that begin so are this family: "get_hits_memory_total" is
  // kvgate_hits_total{tier="memory"}. "" when it is counted here.
  const char* prefix;
};

std::span<const MetricFamily> MetricFamilies();
std::span<const MetricSection> MetricSections();

// Of a name of Stats or of a family; "" when the table does not have it.
const char* MetricHelp(std::string_view name);
bool IsCounter(std::string_view name);

std::string MetricsMarkdown();

}  // namespace kvgate::gateway
