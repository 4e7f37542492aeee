// TextBody: a request's body that is a text in memory. One thread.
#pragma once

#include <algorithm>
#include <string>

#include "service/api.h"

namespace holdfast {

class TextBody final : public ApiBody {
 public:
  explicit TextBody(std::string text) : text_(std::move(text)) {}
  Result<size_t> read(char* out, size_t size) override {
    const size_t got = text_.copy(out, std::min(size, text_.size() - at_), at_);
    at_ += got;
    return got;
  }

 private:
  const std::string text_;
  size_t at_ = 0;
};

}  // namespace holdfast
