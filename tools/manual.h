// The manual page and the shells' completions, made of the same words as --help.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace holdfast {

// `holdfast manual man|bash|zsh|fish`; not among the commands that --help lists.
CLI::App* add_manual(CLI::App& app, std::string& kind);

std::string man_page(const CLI::App& app);  // holdfast(1), for man
std::string bash_completion(const CLI::App& app);
std::string zsh_completion(const CLI::App& app);
std::string fish_completion(const CLI::App& app);

int print_manual(const CLI::App& app, const std::string& kind);

}  // namespace holdfast
