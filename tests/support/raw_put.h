// A content given to a service over its socket, as any program could, without our own client.
#pragma once

#include <string>

#include "base/fd.h"

namespace holdfast {

class RawPut {
 public:
  RawPut(const std::string& state, const std::string& path_and_parameters);
  bool send(const std::string& bytes);  // false: nobody reads any more
  std::string end();                    // what the service answers: status line, headers, body
  void break_off() { fd_.reset(); }

 private:
  Fd fd_;
};

// All of it at once; the body of the answer.
std::string put_content(const std::string& state, const std::string& path_and_parameters,
                        const std::string& bytes);

}  // namespace holdfast
