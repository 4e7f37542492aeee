// diff and log of a path against a model, over random histories: what they leave out by reading
// only what the records in between are about, nobody must miss.
#include "service/differ.h"

#include "service/below.h"
#include "tests/service/history_fixture.h"

namespace holdfast {
namespace {

struct Lines : ApiSink {
  bool write(std::string_view bytes) override {
    text += bytes;
    return true;
  }
  bool cancelled() override { return false; }
  std::string text;
};

struct DiffFixture : HistoryFixture {
  using Paths = HistoryFixture::Paths;

  // "change path from also", as diff has them.
  std::set<std::string> found(uint64_t a, uint64_t b, const std::string& path, uint64_t touched) {
    const auto read = must(env->begin_read());
    Query query(state, *read);
    Lines lines;
    Differ differ(*state.journal, *read, query, lines, {a}, {b});
    must(differ.prepare(touched));
    must(differ.compare({query.roots().at(0), path}));
    std::set<std::string> all;
    for (size_t at = 0; at < lines.text.size();) {
      const size_t end = lines.text.find('\n', at);
      const Json json = Json::parse(lines.text.substr(at, end - at));
      at = end + 1;
      const std::string line =
          json["change"].get<std::string>() + " " + json["path"].get<std::string>() + " " +
          json.value("from", std::string()) + " " + json.value("also", std::string());
      INFO(line << " is told twice");
      REQUIRE(all.insert(line).second);
    }
    return all;
  }

  static std::string change_of(const Record& was, const Record& is) {
    if (was.seq == is.seq) return "";
    if (was.type != is.type || was.hash != is.hash) return "modified";
    const bool times = is.type != FileType::kDir && was.stat.mtime_ns != is.stat.mtime_ns;
    return was.stat.mode != is.stat.mode || times ? "attrib" : "";
  }
  static std::string parent_of(const std::string& path) {
    return path.find('/') == path.npos ? "" : path.substr(0, path.rfind('/'));
  }
  static std::string name_of(const std::string& path) {
    return path.find('/') == path.npos ? path : path.substr(path.rfind('/') + 1);
  }
  // Where the node was at the other moment, if it is renamed.
  static std::string other_path(const std::string& path, const Paths& here, const Paths& there) {
    const Version& version = here.at(path);
    std::string found;
    for (const auto& [other, other_version] : there) {
      if (other_version.node == version.node && other_version.record.stat.nlink == 1) found = other;
    }
    const bool one_name = version.record.type == FileType::kDir || version.record.stat.nlink == 1;
    return one_name && !found.empty() && !here.contains(found) && !there.contains(path) ? found
                                                                                        : "";
  }
  // Whether it has the same name in the same directory, and that was renamed; then, where it was.
  static std::string along_from(const std::string& path, const Paths& here, const Paths& there) {
    const std::string parent = parent_of(path);
    if (parent.empty()) return "";
    const std::string was_in = other_path(parent, here, there);
    if (was_in.empty()) return "";
    const auto was = there.find(was_in + "/" + name_of(path));
    return was != there.end() && was->second.node == here.at(path).node ? was->first : "";
  }

  std::set<std::string> expected(uint64_t a, uint64_t b) {
    const Paths &was = moments.at(a), &is = moments.at(b);
    std::set<std::string> all;
    for (const auto& [path, version] : is) {
      const auto before = was.find(path);
      if (before != was.end()) {
        const std::string change = change_of(before->second.record, version.record);
        if (!change.empty()) all.insert(change + " " + path + "  ");
        continue;
      }
      const std::string along = along_from(path, is, was);
      const std::string from = along.empty() ? other_path(path, is, was) : along;
      if (from.empty()) {
        all.insert("added " + path + "  ");
        continue;
      }
      const std::string also = change_of(was.at(from).record, version.record);
      if (along.empty() || !also.empty()) all.insert("renamed " + path + " " + from + " " + also);
    }
    for (const auto& [path, version] : was) {
      if (is.contains(path) || !along_from(path, was, is).empty()) continue;
      if (other_path(path, was, is).empty()) all.insert("removed " + path + "  ");
    }
    return all;
  }

  // What one has and the other has not.
  static std::string differing(const std::set<std::string>& wanted,
                               const std::set<std::string>& found) {
    std::string text;
    for (const std::string& line : wanted)
      text += found.contains(line) ? "" : "wanted " + line + "\n";
    for (const std::string& line : found)
      text += wanted.contains(line) ? "" : "found " + line + "\n";
    return text;
  }

  // Those that are about the path or what is below it, or was there before.
  static std::set<std::string> below_path(const std::set<std::string>& lines,
                                          const std::string& path) {
    std::set<std::string> some;
    for (const std::string& line : lines) {
      const size_t at = line.find(' ') + 1, from = line.find(' ', at) + 1;
      const auto is_below = [&](const std::string& text) {
        return text == path || text.starts_with(path + "/");
      };
      if (is_below(line.substr(at, from - 1 - at)) ||
          is_below(line.substr(from, line.find(' ', from) - from))) {
        some.insert(line);
      }
    }
    return some;
  }
};

}  // namespace

TEST_CASE_METHOD(DiffFixture, "diff tells what a model tells, whichever way it looks", "[diff]") {
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  random.seed(seed);
  run(1200);
  std::vector<uint64_t> seqs;
  for (const auto& [seq, paths] : moments) seqs.push_back(seq);
  size_t renames = 0;
  for (int i = 0; i < 400; ++i) {
    const size_t first = below(seqs.size());
    const size_t span = i % 4 == 0 ? seqs.size() : 12;
    const size_t last = std::min(first + below(span), seqs.size() - 1);
    const bool back = i % 5 == 0;
    const uint64_t a = seqs[back ? last : first], b = seqs[back ? first : last];
    INFO("@" << a << " to @" << b);
    const auto lines = expected(a, b);
    REQUIRE(differing(lines, found(a, b, "", 1'000'000)) == "");
    REQUIRE(differing(lines, found(a, b, "", 0)) == "");
    for (const std::string& line : lines) renames += line.starts_with("renamed ") ? 1 : 0;
  }
  REQUIRE(renames > 100);
}

TEST_CASE_METHOD(DiffFixture, "log of a path reads all that is about it", "[log]") {
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  random.seed(seed);
  run(1500);
  const auto read = must(env->begin_read());
  Query query(state, *read);
  size_t found_some = 0, read_all = 0;
  for (int i = 0; i < 300; ++i) {
    const Paths& paths =
        std::next(moments.begin(), static_cast<long>(below(moments.size())))->second;
    if (paths.empty()) continue;
    const std::string path =
        std::next(paths.begin(), static_cast<long>(below(paths.size())))->first;
    const uint64_t first = 1 + below(records.size()), last = first + below(records.size());
    INFO(path << " from @" << first << " to @" << last);
    const auto lives = must(query.lives({query.roots().at(0), path}));
    const auto gathered =
        must(sequences_below(*state.journal, *read, lives, {first}, {last}, 1'000'000));
    REQUIRE(gathered);
    REQUIRE(std::is_sorted(gathered->begin(), gathered->end()));
    for (const Record& record : records) {
      if (record.seq.value < first || record.seq.value > last) continue;
      const std::string place = query.place(record).second;
      if (place != path && !place.starts_with(path + "/")) continue;
      INFO("@" << record.seq.value << " " << place);
      REQUIRE(std::binary_search(gathered->begin(), gathered->end(), record.seq));
      ++found_some;
    }
    read_all += gathered->size();
  }
  REQUIRE(found_some > 100);
  REQUIRE(read_all < found_some * 3);  // and little else
  const auto lives = must(query.lives({query.roots().at(0), ""}));
  REQUIRE_FALSE(must(sequences_below(*state.journal, *read, lives, {1}, {~0ull}, 100)));
}

TEST_CASE_METHOD(DiffFixture, "diff of a path tells of renames into it and out of it", "[diff]") {
  const NodeId in = JournalFixture::create(root, "in", 50, FileType::kDir);
  const NodeId out = JournalFixture::create(root, "out", 51, FileType::kDir);
  const NodeId file = JournalFixture::create(out, "file", 52),
               other = JournalFixture::create(in, "other", 53);
  const NodeId dir = JournalFixture::create(out, "dir", 54, FileType::kDir);
  JournalFixture::create(dir, "x", 55);
  const uint64_t a = head().seq.value;
  append(rename_record(file, out, "file", in, "came", 52));
  append(rename_record(other, in, "other", out, "went", 53));
  append(rename_record(dir, out, "dir", in, "dir", 54, FileType::kDir));
  const uint64_t b = head().seq.value;
  commit();
  for (const uint64_t touched : {uint64_t{0}, uint64_t{1000}}) {
    const auto lines = found(a, b, "in", touched);
    REQUIRE(lines == std::set<std::string>{"renamed in/came out/file attrib",
                                           "renamed in/dir out/dir ",
                                           "renamed out/went in/other attrib"});
    REQUIRE(below_path(lines, "in") == lines);
    REQUIRE(found(a, b, "out", touched) == lines);
    REQUIRE(found(a, b, "in/came", touched) ==
            std::set<std::string>{"renamed in/came out/file attrib"});
    REQUIRE(found(b, a, "out/file", touched) ==
            std::set<std::string>{"renamed out/file in/came attrib"});
  }
}

}  // namespace holdfast
