#include "service/config_reader.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "journal/time_spec.h"

namespace holdfast {

namespace {

constexpr int64_t kCountMax = 1'000'000;

// Levenshtein's distance: the least number of letters to insert, remove or replace.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

std::string in_quotes(std::string_view text) { return "\"" + std::string(text) + "\""; }

// toml++ gives line 0 for what has no place of its own in the file.
unsigned line_of_region(const toml::source_region& region) {
  return std::max(1U, static_cast<unsigned>(region.begin.line));
}

std::string joined(std::initializer_list<std::string_view> words) {
  std::string list;
  for (std::string_view word : words) {
    if (!list.empty()) list += ", ";
    list += word;
  }
  return list;
}

std::optional<double> unit_bytes(std::string_view unit) {
  struct Unit {
    std::string_view name;
    double bytes;
  };
  static constexpr Unit kUnits[] = {{"", 1},
                                    {"B", 1},
                                    {"kB", 1e3},
                                    {"KB", 1e3},
                                    {"MB", 1e6},
                                    {"GB", 1e9},
                                    {"TB", 1e12},
                                    {"KiB", 1024},
                                    {"MiB", 1048576.0},
                                    {"GiB", 1073741824.0},
                                    {"TiB", 1099511627776.0}};
  for (const Unit& known : kUnits) {
    if (known.name == unit) return known.bytes;
  }
  return std::nullopt;
}

}  // namespace

std::optional<uint64_t> parse_rate_bytes(std::string_view text) {
  if (!text.ends_with("/s")) return std::nullopt;
  const auto parsed = parse_size_bytes(text.substr(0, text.size() - 2));
  return parsed && *parsed > 0 ? parsed : std::nullopt;
}

std::optional<uint64_t> parse_size_bytes(std::string_view text) {
  double number = 0;
  const auto [rest, problem] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (problem != std::errc{}) return std::nullopt;
  std::string_view unit = text.substr(static_cast<size_t>(rest - text.data()));
  if (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  const std::optional<double> factor = unit_bytes(unit);
  if (!factor) return std::nullopt;
  // Written so that a NaN, which compares false with everything, is refused too.
  const double bytes = number * *factor;
  if (!(bytes >= 0 && bytes < 9e18)) return std::nullopt;
  return static_cast<uint64_t>(bytes);
}

std::string_view nearest_word(std::string_view word,
                              std::initializer_list<std::string_view> known) {
  constexpr size_t kWordMax = 64;  // the distance costs the product of both lengths
  if (word.size() > kWordMax) return {};
  std::string_view nearest;
  size_t least = std::max<size_t>(2, word.size() / 3) + 1;
  for (std::string_view candidate : known) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < least && distance < candidate.size()) {
      least = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

ConfigSection::ConfigSection(const toml::table& table, std::string title, const std::string& file)
    : table_(table), title_(std::move(title)), file_(file) {}

unsigned ConfigSection::line() const { return line_of_region(table_.source()); }

unsigned ConfigSection::line_of(std::string_view key) const {
  for (const auto& [name, node] : table_) {
    if (name.str() == key) return line_of_region(name.source());
  }
  return line();
}

Error ConfigSection::complain(std::string_view key, const std::string& problem) const {
  std::string message = file_ + ":" + std::to_string(line_of(key)) + ": " + std::string(key);
  if (!title_.empty()) message += " in " + title_;
  return make_error(ErrorCode::kUsage, message + " " + problem);
}

Error ConfigSection::wrong_type(std::string_view key, const std::string& wanted) const {
  const toml::node* node = find(key);
  std::string found = "a value of another type";
  if (node->is_string()) found = "a text";
  if (node->is_integer()) found = "an integer";
  if (node->is_floating_point()) found = "a number with a fraction";
  if (node->is_boolean()) found = "true or false";
  if (node->is_array()) found = "a list";
  if (node->is_table()) found = "a table";
  if (node->is_date() || node->is_time() || node->is_date_time()) found = "a date or time";
  return complain(key, "has to be " + wanted + ", and it is " + found);
}

Status ConfigSection::allow_only(std::initializer_list<std::string_view> known) const {
  // The table is sorted by key; the complaint should be about the first one in the file.
  const toml::key* unknown = nullptr;
  for (const auto& [key, node] : table_) {
    if (std::find(known.begin(), known.end(), key.str()) != known.end()) continue;
    if (unknown == nullptr || key.source().begin < unknown->source().begin) unknown = &key;
  }
  if (unknown == nullptr) return {};
  const std::string_view nearest = nearest_word(unknown->str(), known);
  const std::string fix =
      nearest.empty() ? "known are: " + joined(known) : "did you mean " + in_quotes(nearest) + "?";
  return make_error(ErrorCode::kUsage,
                    file_ + ":" + std::to_string(line_of_region(unknown->source())) +
                        ": unknown key " + in_quotes(unknown->str()) +
                        (title_.empty() ? std::string() : " in " + title_) + "; " + fix);
}

Result<std::optional<std::string>> ConfigSection::text(std::string_view key) const {
  const toml::node* node = find(key);
  if (node == nullptr) return std::optional<std::string>();
  const auto* value = node->as_string();
  if (value == nullptr) return wrong_type(key, "a text in quotes");
  if (value->get().empty()) return complain(key, "is empty; give a value or remove the line");
  if (value->get().find('\0') != std::string::npos) {
    return complain(key, "contains a NUL character; remove it");
  }
  return std::optional<std::string>(value->get());
}

Result<std::string> ConfigSection::required_text(std::string_view key,
                                                 std::string_view example) const {
  TRY_ASSIGN(std::optional<std::string> value, text(key));
  if (!value) {
    return complain(
        key, "is missing; add a line like: " + std::string(key) + " = " + in_quotes(example));
  }
  return std::move(*value);
}

Result<std::vector<std::string>> ConfigSection::texts(std::string_view key) const {
  std::vector<std::string> values;
  const toml::node* node = find(key);
  if (node == nullptr) return values;
  const std::string wanted = "a list of texts, like [\"one\", \"two\"]";
  const toml::array* list = node->as_array();
  if (list == nullptr) return wrong_type(key, wanted);
  for (const toml::node& item : *list) {
    const auto* value = item.as_string();
    if (value == nullptr) return complain(key, "has to be " + wanted + ", and an item is no text");
    if (value->get().empty()) return complain(key, "has an empty item; remove it");
    if (value->get().find('\0') != std::string::npos) {
      return complain(key, "has an item with a NUL character; remove it");
    }
    values.push_back(value->get());
  }
  return values;
}

Result<std::vector<std::string>> ConfigSection::required_texts(std::string_view key,
                                                               std::string_view example) const {
  TRY_ASSIGN(std::vector<std::string> values, texts(key));
  if (values.empty()) {
    return complain(key, "is missing or empty; add a line like: " + std::string(key) + " = " +
                             std::string(example));
  }
  return values;
}

Result<std::optional<uint32_t>> ConfigSection::count(std::string_view key) const {
  const toml::node* node = find(key);
  if (node == nullptr) return std::optional<uint32_t>();
  const auto* value = node->as_integer();
  if (value == nullptr) return wrong_type(key, "an integer without quotes");
  if (value->get() < 0 || value->get() > kCountMax) {
    return complain(key, "is " + std::to_string(value->get()) + "; it has to be from 0 to " +
                             std::to_string(kCountMax));
  }
  return std::optional<uint32_t>(static_cast<uint32_t>(value->get()));
}

Result<std::optional<int64_t>> ConfigSection::duration_ns(std::string_view key) const {
  TRY_ASSIGN(const std::optional<std::string> value, text(key));
  if (!value) return std::optional<int64_t>();
  const Result<int64_t> parsed = parse_duration_ns(*value);
  if (!parsed.ok() || *parsed <= 0) {
    return complain(
        key, "is " + in_quotes(*value) + "; it has to be a time like \"30m\", \"48h\" or \"7d\"");
  }
  return std::optional<int64_t>(*parsed);
}

Result<std::optional<uint64_t>> ConfigSection::size_bytes(std::string_view key) const {
  TRY_ASSIGN(const std::optional<std::string> value, text(key));
  if (!value) return std::optional<uint64_t>();
  const std::optional<uint64_t> parsed = parse_size_bytes(*value);
  if (!parsed || *parsed == 0) {
    return complain(
        key, "is " + in_quotes(*value) + "; it has to be a size like \"500MB\" or \"1.5GiB\"");
  }
  return parsed;
}

Result<std::optional<uint64_t>> ConfigSection::rate_bytes(std::string_view key) const {
  TRY_ASSIGN(const std::optional<std::string> value, text(key));
  if (!value) return std::optional<uint64_t>();
  const std::optional<uint64_t> parsed = parse_rate_bytes(*value);
  if (!parsed) {
    return complain(key, "is " + in_quotes(*value) + "; it has to be a rate like \"50MB/s\"");
  }
  return parsed;
}

Result<std::string> ConfigSection::required_absolute_path(std::string_view key) const {
  TRY_ASSIGN(std::string path, required_text(key, "/an/absolute/directory"));
  if (path.front() != '/') {
    return complain(key,
                    "is " + in_quotes(path) + "; it has to be absolute, as in \"/data/uploads\"");
  }
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

Result<std::optional<ConfigSection>> ConfigSection::section(std::string_view key) const {
  const toml::node* node = find(key);
  if (node == nullptr) return std::optional<ConfigSection>();
  const std::string title = "[" + std::string(key) + "]";
  if (!node->is_table()) return wrong_type(key, "one section, written " + title);
  return std::optional<ConfigSection>(std::in_place, *node->as_table(), title, file_);
}

Result<std::vector<ConfigSection>> ConfigSection::sections(std::string_view key) const {
  std::vector<ConfigSection> found;
  const toml::node* node = find(key);
  if (node == nullptr) return found;
  const std::string title = "[[" + std::string(key) + "]]";
  const toml::array* list = node->as_array();
  if (list == nullptr) return wrong_type(key, "a section with double brackets, " + title);
  for (const toml::node& item : *list) {
    if (!item.is_table()) return complain(key, "has to be sections, each written " + title);
    found.emplace_back(*item.as_table(), title, file_);
  }
  return found;
}

}  // namespace holdfast
