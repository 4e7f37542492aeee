#include "tools/manual.h"

#include <cstdio>
#include <set>
#include <vector>

namespace holdfast {

namespace {

constexpr const char* kManual = "manual";

// In the order in which they are shown, without what is hidden.
std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  std::vector<const CLI::App*> commands;
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    if (!command->get_group().empty()) commands.push_back(command);
  }
  return commands;
}

// Those with a dash; the others have a place.
std::vector<const CLI::Option*> options_of(const CLI::App& app, bool with_dash) {
  std::vector<const CLI::Option*> options;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional() != with_dash) options.push_back(option);
  }
  return options;
}

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

// "-q, --quiet"
std::vector<std::string> names_of(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  return names;
}

std::string join(const std::vector<std::string>& parts, const std::string& between) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : between) + part;
  return text;
}

// roff takes a backslash, and a dot or a quote at the beginning of a line, for its own; a plain
// dash for a hyphen that cannot be searched for.
std::string roff(const std::string& text) {
  std::string out;
  bool begins_line = true;
  for (const char c : text) {
    if (begins_line && (c == '.' || c == '\'')) out += "\\&";
    begins_line = c == '\n';
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out;
}

std::string man_options(const CLI::App& app) {
  std::string page;
  for (const CLI::Option* option : options_of(app, true)) {
    if (option == app.get_help_ptr() && app.get_parent() != nullptr) continue;  // said once
    std::vector<std::string> names;
    for (const std::string& name : names_of(*option)) names.push_back("\\fB" + roff(name) + "\\fR");
    page += ".TP\n" + join(names, ", ");
    if (takes_value(*option)) page += " \\fI" + roff(option->get_type_name()) + "\\fR";
    page += "\n" + roff(option->get_description());
    if (!option->get_envname().empty()) page += " (also $" + roff(option->get_envname()) + ")";
    page += "\n";
  }
  return page;
}

std::string man_command(const CLI::App& command) {
  std::string page = ".SS \"" + roff(command.get_name());
  for (const CLI::Option* place : options_of(command, false)) {
    const std::string name =
        place->get_name(true) + (place->get_items_expected_max() > 1 ? "..." : "");
    page += " " + roff(place->get_required() ? name : "[" + name + "]");
  }
  page += "\"\n" + roff(command.get_description()) + "\n";
  for (const CLI::Option* place : options_of(command, false)) {
    page += ".TP\n\\fI" + roff(place->get_name(true)) + "\\fR\n" + roff(place->get_description()) +
            "\n";
  }
  page += man_options(command);
  const std::string footer = command.get_footer();
  if (!footer.empty()) page += ".PP\n.nf\n" + roff(footer) + "\n.fi\n";
  return page;
}

constexpr const char* kExitCodes =
    ".SH EXIT STATUS\n"
    "0: done. 1: it failed, and the message says why and what to do. 2: the command line or the\n"
    "configuration is wrong. 3: problems were found. 4: there is no such path, moment or state.\n"
    "5: some of it could not be done, and each is named. 6: another process holds the state.\n";
constexpr const char* kEnvironment =
    ".SH ENVIRONMENT\n"
    "Each variable named above may be given as the content of a file, in the variable with "
    "\\fB_FILE\\fR\n"
    "after its name: HOLDFAST_STATE_FILE=/run/secrets/state.\n"
    ".TP\n\\fBHOLDFAST_EXPECT_STATE\\fR\n"
    "1: a state directory without a state is an error, and none is begun there.\n"
    ".TP\n\\fBHOLDFAST_ALERT_WEBHOOK\\fR\n"
    "the address that alerts are sent to, instead of webhook in [alerts].\n"
    ".SH FILES\n"
    ".TP\n/etc/holdfast.toml\nthe service's configuration\n"
    ".TP\n/var/lib/holdfast\nthe state: journal and packs\n"
    ".TP\n/usr/share/doc/holdfast\nguides, formats, an example of a configuration\n";

std::string quoted(const std::string& text) {  // for a shell
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string words_of(const CLI::App& app) {
  std::vector<std::string> words;
  for (const CLI::Option* option : options_of(app, true)) {
    for (const std::string& name : names_of(*option)) words.push_back(name);
  }
  return join(words, " ");
}

std::string command_names(const CLI::App& app, const std::string& between) {
  std::vector<std::string> names;
  for (const CLI::App* command : commands_of(app)) names.push_back(command->get_name());
  return join(names, between);
}

// Options of all commands that are followed by a value, as a shell's pattern.
std::string with_values(const CLI::App& app) {
  std::set<std::string> names;
  const auto add = [&](const CLI::App& from) {
    for (const CLI::Option* option : options_of(from, true)) {
      if (!takes_value(*option)) continue;
      for (const std::string& name : names_of(*option)) names.insert(name);
    }
  };
  add(app);
  for (const CLI::App* command : commands_of(app)) add(*command);
  return join({names.begin(), names.end()}, "|");
}

}  // namespace

CLI::App* add_manual(CLI::App& app, std::string& kind) {
  auto* manual = app.add_subcommand(kManual, "write the manual page or a shell's completion");
  manual->group("");
  manual->add_option("KIND", kind, "man, bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"man", "bash", "zsh", "fish"}));
  return manual;
}

std::string man_page(const CLI::App& app) {
  std::string page = ".TH HOLDFAST 1 \"\" \"holdfast " HOLDFAST_VERSION
                     "\" \"User Commands\"\n"
                     ".SH NAME\nholdfast \\- keeps every version of watched directories\n"
                     ".SH SYNOPSIS\n\\fBholdfast\\fR [\\fIoptions\\fR] \\fIcommand\\fR ...\n"
                     ".SH DESCRIPTION\n" +
                     roff(app.get_description()) +
                     "\n.SH OPTIONS\nThese go before or after the command.\n" + man_options(app) +
                     ".SH COMMANDS\n";
  for (const CLI::App* command : commands_of(app)) page += man_command(*command);
  return page + kExitCodes + kEnvironment;
}

std::string bash_completion(const CLI::App& app) {
  std::string text =
      "# bash completion of holdfast\n"
      "_holdfast() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command= skip= i\n"
      "  COMPREPLY=()\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    if [[ -n $skip ]]; then skip=; continue; fi\n"
      "    case ${COMP_WORDS[i]} in\n"
      "      " +
      with_values(app) +
      ") skip=1 ;;\n"
      "      -*) ;;\n"
      "      *) command=${COMP_WORDS[i]}; break ;;\n"
      "    esac\n"
      "  done\n"
      "  case $before in " +
      with_values(app) +
      ") COMPREPLY=($(compgen -f -- \"$word\")); return ;; esac\n"
      "  local words=" +
      quoted(words_of(app)) +
      "\n"
      "  case $command in\n"
      "    '') words+=" +
      quoted(" " + command_names(app, " ")) + " ;;\n";
  for (const CLI::App* command : commands_of(app)) {
    text += "    " + command->get_name() + ") words+=" + quoted(" " + words_of(*command)) + " ;;\n";
  }
  return text +
         "  esac\n"
         "  if [[ $word == -* || -z $command ]]; then\n"
         "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
         "  else\n"
         "    COMPREPLY=($(compgen -f -- \"$word\"))\n"
         "  fi\n"
         "}\n"
         "complete -o filenames -F _holdfast holdfast\n";
}

std::string zsh_completion(const CLI::App& app) {
  const auto described = [](const std::string& name, const std::string& description) {
    std::string safe;
    for (const char c : name) safe += c == ':' ? std::string("\\:") : std::string(1, c);
    return "    " + quoted(safe + ":" + description) + "\n";
  };
  const auto options = [&](const CLI::App& from) {
    std::string lines;
    for (const CLI::Option* option : options_of(from, true)) {
      for (const std::string& name : names_of(*option)) {
        lines += described(name, option->get_description());
      }
    }
    return lines;
  };
  std::string text =
      "#compdef holdfast\n"
      "_holdfast() {\n"
      "  local command= skip= i\n"
      "  for ((i = 2; i < CURRENT; i++)); do\n"
      "    if [[ -n $skip ]]; then skip=; continue; fi\n"
      "    case $words[i] in\n"
      "      " +
      with_values(app) +
      ") skip=1 ;;\n"
      "      -*) ;;\n"
      "      *) command=$words[i]; break ;;\n"
      "    esac\n"
      "  done\n"
      "  if [[ -n $skip ]]; then _files; return; fi\n"
      "  local -a commands options\n"
      "  options=(\n" +
      options(app) +
      "  )\n"
      "  case $command in\n"
      "  '') commands=(\n";
  for (const CLI::App* command : commands_of(app)) {
    text += described(command->get_name(), command->get_description());
  }
  text += "  ) ;;\n";
  for (const CLI::App* command : commands_of(app)) {
    text += "  " + command->get_name() + ") options+=(\n" + options(*command) + "  ) ;;\n";
  }
  return text +
         "  esac\n"
         "  if [[ -z $command && $words[CURRENT] != -* ]]; then\n"
         "    _describe command commands\n"
         "  elif [[ $words[CURRENT] == -* ]]; then\n"
         "    _describe option options\n"
         "  else\n"
         "    _files\n"
         "  fi\n"
         "}\n"
         "_holdfast \"$@\"\n";
}

std::string fish_completion(const CLI::App& app) {
  std::string text = "# fish completion of holdfast\n";
  const auto options = [&](const CLI::App& from, const std::string& condition) {
    for (const CLI::Option* option : options_of(from, true)) {
      text += "complete -c holdfast" + condition;
      for (const std::string& name : option->get_snames()) text += " -s " + name;
      for (const std::string& name : option->get_lnames()) text += " -l " + name;
      if (takes_value(*option)) text += " -r";
      text += " -d " + quoted(option->get_description()) + "\n";
    }
  };
  options(app, "");
  for (const CLI::App* command : commands_of(app)) {
    text += "complete -c holdfast -n __fish_use_subcommand -f -a " + command->get_name() + " -d " +
            quoted(command->get_description()) + "\n";
    options(*command, " -n " + quoted("__fish_seen_subcommand_from " + command->get_name()));
  }
  return text;
}

int print_manual(const CLI::App& app, const std::string& kind) {
  const std::string text = kind == "man"    ? man_page(app)
                           : kind == "bash" ? bash_completion(app)
                           : kind == "zsh"  ? zsh_completion(app)
                                            : fish_completion(app);
  return std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace holdfast
