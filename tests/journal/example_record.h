// The record that docs/formats/record.md walks through byte by byte.
#pragma once

#include "journal/record.h"

namespace holdfast {

inline Record example_record() {
  Record record;
  record.seq = {1234};
  record.time_ns = record.wall_ns = 1'795'183'387'500'000'000;  // 2026-11-20T14:03:07.5Z
  record.boottime_ns = 86'400'000'000'000;
  record.boot = 3;
  record.kind = RecordKind::kCreate;
  record.type = FileType::kFile;
  record.flags = kFlagMtimeSet;
  record.root = {1};
  record.node = {42};
  record.parent = {7};
  record.name = "report.txt";
  record.stat.mode = 0100644;
  record.stat.size = 11;
  record.stat.mtime_ns = 1'795'183'380'000'000'000;
  record.stat.ctime_ns = record.stat.btime_ns = 1'795'183'387'400'000'000;
  record.stat.inode = 131'073;
  record.stat.uid = record.stat.gid = 1000;
  for (size_t i = 0; i < record.hash.bytes.size(); ++i) {
    record.hash.bytes[i] = static_cast<uint8_t>(0xa0 + i);
  }
  record.content.kind = ContentKind::kChunk;
  for (size_t i = 0; i < record.content.id.bytes.size(); ++i) {
    record.content.id.bytes[i] = static_cast<uint8_t>(0xc0 + i);
  }
  record.prev = {1200};
  return record;
}

}  // namespace holdfast
