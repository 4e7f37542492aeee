#include "service/repository.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/fs.h"

namespace holdfast {

namespace {

using nlohmann::json;

constexpr uint32_t kFormat = 1;
constexpr size_t kPrefixDigits = 8;
constexpr std::string_view kPackSuffix = ".pack";
constexpr size_t kPackNameBytes = kPrefixDigits + 1 + 10 + kPackSuffix.size();

bool from_hex(const std::string& text, uint8_t* out, size_t size) {
  if (text.size() != size * 2) return false;
  for (size_t i = 0; i < size; ++i) {
    const std::string pair = text.substr(i * 2, 2);
    if (pair.find_first_not_of("0123456789abcdef") != std::string::npos) return false;
    out[i] = static_cast<uint8_t>(std::stoul(pair, nullptr, 16));
  }
  return true;
}

json header_json(const RepositoryInfo& info) {
  json header;
  header["format"] = info.format;
  header["id"] = to_hex(info.id.data(), info.id.size());
  header["key"] = to_hex(info.key.data(), info.key.size());
  header["created_ns"] = info.created_ns;
  header["chunk_id"] = "blake2b-256-keyed";
  header["content_hash"] = "xxh3-128";
  header["chunker"] = "fastcdc-gear64-keyed";
  header["compression"] = "zstd";
  return header;
}

}  // namespace

Result<RepositoryInfo> read_repository(const std::string& path) {
  TRY_ASSIGN(const std::string text, read_whole_file(path, 64 * 1024));
  const json header = json::parse(text, nullptr, false);
  const Error damaged =
      make_error(ErrorCode::kDamaged, path +
                                          " is damaged; stop the service and run holdfast rebuild: "
                                          "the header of every pack says the same");
  if (!header.is_object() || !header.contains("format") || !header["format"].is_number_unsigned()) {
    return damaged;
  }
  RepositoryInfo info;
  info.format = header["format"].get<uint32_t>();
  if (info.format > kFormat) {
    return make_error(ErrorCode::kUnsupported,
                      "the state has format " + std::to_string(info.format) +
                          ", this version of holdfast knows up to " + std::to_string(kFormat) +
                          ": use the newer version that wrote it; if there never was one, " + path +
                          " is damaged: move it away and run holdfast rebuild");
  }
  const bool whole = header.contains("id") && header["id"].is_string() && header.contains("key") &&
                     header["key"].is_string() && header.contains("created_ns") &&
                     header["created_ns"].is_number_integer() &&
                     from_hex(header["id"].get<std::string>(), info.id.data(), info.id.size()) &&
                     from_hex(header["key"].get<std::string>(), info.key.data(), info.key.size());
  if (!whole) return damaged;
  info.created_ns = header["created_ns"].get<int64_t>();
  return info;
}

Status write_repository(const std::string& path, const RepositoryInfo& info) {
  return write_file_durably(path, header_json(info).dump(2) + "\n", 0600);
}

Result<RepositoryInfo> create_repository(const std::string& path, const Clock& clock) {
  RepositoryInfo info;
  info.format = kFormat;
  info.created_ns = clock.wall_ns();
  random_bytes(info.id.data(), info.id.size());
  random_bytes(info.key.data(), info.key.size());
  TRY(write_repository(path, info));
  return info;
}

std::optional<std::string> repository_flaw(const std::string& path, const RepositoryInfo& info) {
  const auto text = read_whole_file(path, 64 * 1024);
  if (!text.ok()) return text.error().message;
  const json found = json::parse(*text, nullptr, false);
  if (!found.is_object()) return path + " is damaged";
  const json expected = header_json(info);
  for (const auto& [name, value] : expected.items()) {
    const auto field = found.find(name);
    if (field == found.end()) return path + " lacks the field '" + name + "'";
    if (*field != value) return path + ": the field '" + name + "' is not what it was";
  }
  return std::nullopt;
}

std::string pack_prefix(const RepositoryInfo& info) {
  return to_hex(info.id.data(), kPrefixDigits / 2);
}

Result<std::vector<std::string>> pack_prefixes(const std::string& packs_dir) {
  std::vector<std::string> prefixes;
  auto dir = open_directory(packs_dir);
  if (!dir.ok() && dir.error().code == ErrorCode::kNotFound) return prefixes;
  if (!dir.ok()) return dir.error();
  TRY_ASSIGN(const auto names, list_names(dir->get()));
  for (const std::string& name : names) {
    const bool is_pack = name.size() == kPackNameBytes && name[kPrefixDigits] == '-' &&
                         name.ends_with(kPackSuffix) &&
                         name.find_first_not_of("0123456789abcdef") == kPrefixDigits;
    if (is_pack) prefixes.push_back(name.substr(0, kPrefixDigits));
  }
  std::sort(prefixes.begin(), prefixes.end());
  prefixes.erase(std::unique(prefixes.begin(), prefixes.end()), prefixes.end());
  return prefixes;
}

Result<RepositoryInfo> repository_of_packs(const std::string& packs_dir) {
  TRY_ASSIGN(const auto prefixes, pack_prefixes(packs_dir));
  if (prefixes.empty()) {
    return make_error(ErrorCode::kNotFound, "there are no packs in " + packs_dir);
  }
  if (prefixes.size() > 1) {
    return make_error(ErrorCode::kDamaged,
                      "the packs in " + packs_dir + " are of several repositories (" + prefixes[0] +
                          ", " + prefixes[1] + "): move those away that do not belong here");
  }
  TRY_ASSIGN(const auto storage, DirectoryPackStorage::open(packs_dir, prefixes[0]));
  TRY_ASSIGN(const auto packs, storage->list());
  std::string why = "they have other names";
  for (const uint32_t pack : packs) {
    const auto bytes = storage->read(pack, 0, kPackHeaderBytes);
    const auto header = bytes.ok() ? decode_pack_header(*bytes) : Result<PackHeader>(bytes.error());
    if (!header.ok()) {
      why = header.error().message;
      continue;
    }
    const RepositoryInfo info{kFormat, header->repository_id, header->key,
                              header->repository_created_ns};
    if (pack_prefix(info) == prefixes[0]) return info;  // and no stranger under its name
  }
  return make_error(ErrorCode::kDamaged, "no pack in " + packs_dir + " has a sound header: " + why);
}

}  // namespace holdfast
