// JsonFields: how small files of the state directory are written and read back: one line of JSON
// with a checksum, its fields given once, for both ways. Values only; any thread.
//
//   template <class Fields, class Job> void fields_of(Fields& fields, Job& job) {
//     fields.text("id", job.id); … }       with a JsonReader or a JsonWriter
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/path.h"
#include "base/types.h"
#include "service/query.h"

namespace holdfast {

using JsonWords = std::span<const char* const>;  // an enum's, by its numbers

// Reads fields, in any order. What is not there, or not of its type, makes the whole unreadable.
class JsonReader {
 public:
  explicit JsonReader(const Json& json) : json_(json) {}
  void text(const char* key, std::string& value) {
    const Json* found = find(key, &Json::is_string);
    if (found != nullptr) value = found->get<std::string>();
  }
  void bytes(const char* key, std::string& value) {
    std::string encoded;
    text(key, encoded);
    take_bytes(encoded, value);
  }
  void bytes(const char* key, std::vector<std::string>& values) {
    const Json* found = find(key, &Json::is_array);
    if (found == nullptr) return;
    for (const Json& item : *found) {
      values.emplace_back();
      take_bytes(item.is_string() ? item.get<std::string>() : "%", values.back());
    }
  }
  template <class Number>
  void number(const char* key, Number& value) {
    const bool is_signed = std::is_signed_v<Number>;
    const Json* found = find(key, is_signed ? &Json::is_number_integer : &Json::is_number_unsigned);
    if (found != nullptr) value = found->get<Number>();
  }
  template <class Enum>
  void word(const char* key, Enum& value, JsonWords words) {
    std::string found;
    text(key, found);
    const auto at = std::find(words.begin(), words.end(), found);
    good_ = good_ && at != words.end();
    if (good_) value = static_cast<Enum>(at - words.begin());
  }
  bool good() const { return good_; }

 private:
  const Json* find(const char* key, bool (Json::*is_of_type)() const noexcept) {
    const auto at = json_.find(key);  // the end, of what is no object
    if (at != json_.end() && ((*at).*is_of_type)()) return &*at;
    good_ = false;
    return nullptr;
  }
  void take_bytes(const std::string& encoded, std::string& value) {
    const auto decoded = percent_decode(encoded);
    good_ = good_ && decoded.ok();
    if (decoded.ok()) value = *decoded;
  }
  const Json& json_;
  bool good_ = true;
};

// The same calls write.
class JsonWriter {
 public:
  void text(const char* key, const std::string& value) { json[key] = value; }
  void bytes(const char* key, const std::string& value) { json[key] = percent_encode(value); }
  void bytes(const char* key, const std::vector<std::string>& values) {
    json[key] = Json::array();
    for (const std::string& value : values) json[key].push_back(percent_encode(value));
  }
  template <class Number>
  void number(const char* key, Number value) {
    json[key] = value;
  }
  template <class Enum>
  void word(const char* key, Enum value, JsonWords words) {
    json[key] = words[static_cast<size_t>(value)];
  }
  Json json;
};

// With the field `checksum` over all others, as a line. Who reads it encodes what was read again:
// it is damaged where that is not the same.
inline std::string sealed_json(Json json) {
  const ContentHash hash = content_hash(json.dump());
  json["checksum"] = "xxh3:" + to_hex(hash.bytes.data(), hash.bytes.size());
  return json_line(json);
}

}  // namespace holdfast
