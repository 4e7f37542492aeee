#include "bench/bench.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "base/fs.h"
#include "bench/generate.h"
#include "bench/trees.h"

namespace holdfast::bench {

namespace {

// How large the generated trees are. U and D come to about 1.3 GB and 480 MB.
struct Sizes {
  uint64_t small_files, uploads, rows;
};
constexpr Sizes kFull = {200'000, 1'000, 1'080'000};
constexpr Sizes kSmoke = {400, 12, 3'000};

}  // namespace

void say(const std::string& text) { std::fprintf(stderr, "bench: %s\n", text.c_str()); }

void settle() { ::sync(); }

void remove_early(const std::string& path) {
  std::error_code failed;
  std::filesystem::remove_all(path, failed);  // what stays is removed at the end
}

Status warm(const std::string& tree) {
  TRY(run_pipeline("tar -C " + shell_word(tree) + " -c . | cat >/dev/null"));
  return {};
}

void pause(const Options& options, double seconds) {
  if (!options.smoke) std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

Bench::Bench(Options options, std::string work)
    : options_(std::move(options)), work_(std::move(work)), report_(!options_.smoke) {
  if (!options_.peers) return;
  peers_ = installed_peers(work_ + "/peers");
  if (peers_.empty()) say("neither restic nor borg is installed: both are left out");
  for (const Peer& peer : peers_) report_.note("peers", peer.name(), peer.version());
}

std::string Bench::fresh(const std::string& name) {
  return work_ + "/" + name + "-" + std::to_string(++used_[name]);
}

bool Bench::wants_tree(const std::string& name) const {
  const auto& trees = options_.trees;
  return trees.empty() || std::find(trees.begin(), trees.end(), name) != trees.end();
}

uint64_t Bench::database_rows() const { return (options_.smoke ? kSmoke : kFull).rows; }

std::vector<std::string> Bench::command(const std::string& state,
                                        const std::vector<std::string>& arguments) const {
  std::vector<std::string> all{options_.program, "--state", state, "--quiet"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return all;
}

Result<Corpus*> Bench::corpus(const std::string& name) {
  Corpus& corpus = corpora_[name];
  if (!corpus.path.empty()) return &corpus;
  corpus.name = name;
  TRY(make(corpus));
  TRY_ASSIGN(const uint64_t files, file_count(corpus.path));
  report_.note("trees", name, Json{{"files", files}, {"bytes", tree_bytes(corpus.path)}});
  // A slow first reading would count for whoever comes first.
  TRY(warm(corpus.path));
  return &corpus;
}

Status Bench::make(Corpus& corpus) {
  const Sizes& sizes = options_.smoke ? kSmoke : kFull;
  say("making " + corpus.name);
  const std::string path = fresh("tree-" + corpus.name);
  if (corpus.name == "edited") {
    TRY_ASSIGN(const Corpus* original, this->corpus("K"));
    TRY(run_command({"cp", "-a", original->path, path}));
  } else if (corpus.name == "K" && !options_.smoke) {
    TRY_ASSIGN(corpus.path, unpack_linux(options_.archive, path));
    return {};
  } else if (corpus.name == "K") {
    TRY(make_text_tree(path, sizes.small_files, 20));
    TRY(add_odd_files(path));
  } else if (corpus.name == "S") {
    TRY(make_text_tree(path, sizes.small_files, sizes.small_files / 100));
  } else if (corpus.name == "U") {
    TRY(make_uploads(path, sizes.uploads));
  } else if (corpus.name == "D") {
    TRY(make_directories(path, 0755));
    TRY(make_database(path + "/app.sqlite", sizes.rows));
  } else {
    return make_error(ErrorCode::kUsage, "there is no tree '" + corpus.name + "'");
  }
  corpus.path = path;
  return {};
}

Result<std::string> Bench::repository(const Peer& peer, const Corpus& corpus) {
  std::string& known = repositories_[peer.name() + " " + corpus.name];
  if (!known.empty()) return known;
  const std::string repository = fresh("repository");
  TRY(peer.init(repository));
  say(peer.name() + ", first backup of " + corpus.name + ", not measured");
  TRY(peer.backup(repository, corpus.path, "first"));
  known = repository;
  return repository;
}

void Bench::keep_repository(const Peer& peer, const Corpus& corpus, const std::string& repository) {
  std::string& known = repositories_[peer.name() + " " + corpus.name];
  if (!known.empty()) remove_early(known);
  known = repository;
}

Result<Corpus*> Bench::ingested(const std::string& name) {
  TRY_ASSIGN(Corpus* const corpus, this->corpus(name));
  if (!corpus->state.empty()) return corpus;
  say("first ingest of " + name + ", not measured");
  const std::string state = fresh("state-" + name);
  ServiceRun service;
  TRY(service.start(options_.program, state, corpus->path));
  TRY(service.stop());
  corpus->state = state;
  return corpus;
}

}  // namespace holdfast::bench
